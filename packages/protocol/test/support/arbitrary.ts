import type { Json } from "@effect-comfyui/workflow/Json"
import * as fc from "fast-check"

/** Any JSON of a server: big integers, NaN, lone surrogates and prototype names among it. */
export const json: fc.Arbitrary<Json> = fc.letrec<{ json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.double(),
      fc.bigInt().map((value) => value > -(2n ** 53n) && value < 2n ** 53n ? Number(value) : value),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 18446744073709551615n),
      fc.string({ unit: "binary" }),
      fc.constantFrom("\ud83d", "}, \"", "\\", "__proto__", "running")
    ),
    fc.array(tie("json"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("__proto__", "type", "data", "1")), tie("json"), { maxKeys: 4 })
  )
})).json

const wireNames = [
  "status",
  "feature_flags",
  "execution_start",
  "execution_success",
  "execution_cached",
  "progress_state",
  "executing",
  "progress",
  "executed",
  "execution_error",
  "execution_interrupted",
  "logs",
  "crystools.monitor"
]

const members = {
  status: fc.oneof(fc.constant({ exec_info: { queue_remaining: 1 } }), json),
  sid: fc.oneof(fc.string(), json),
  prompt_id: fc.oneof(fc.uuid(), json),
  node: fc.oneof(fc.string(), json),
  display_node: fc.oneof(fc.string(), json),
  nodes: fc.oneof(fc.array(fc.string()), json),
  value: fc.oneof(fc.nat(), json),
  max: fc.oneof(fc.nat(), json),
  output: json,
  timestamp: fc.oneof(fc.nat(), json),
  traceback: fc.oneof(fc.array(fc.string()), json),
  exception_type: fc.oneof(fc.string(), json),
  entries: fc.oneof(fc.array(fc.record({ t: fc.string(), m: fc.string() })), json),
  size: json
}

/** Frames with a core type, most of whose members are right, some wrong, and one unknown. */
export const message: fc.Arbitrary<Json> = fc.record({
  type: fc.constantFrom(...wireNames),
  data: fc.record({ ...members, more: json }, { requiredKeys: [] })
}).map((frame): Json => ({ type: frame.type, data: { ...frame.data } }))
