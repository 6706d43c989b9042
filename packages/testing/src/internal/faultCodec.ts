// Faults as JSON: bytes are `{"base64": "…"}`, everything else stands as it is. Numbers have caps, so that nothing that
// comes over a wire can ask for more than a machine has.
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { FaultData, FrameMatchData, MatchData } from "../FaultData.ts"

const text = Schema.String
const ms = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))
const signedMs = Schema.Finite.check(Schema.isBetween({ minimum: -1e12, maximum: 1e12 }))
const count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e9 }))
const size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 256 * 1024 * 1024 }))
const few = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 10_000 }))
const chance = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const status = Schema.Int.check(Schema.isBetween({ minimum: 200, maximum: 599 }))

const bytes = Schema.Struct({ base64: Schema.Uint8ArrayFromBase64 }).pipe(
  Schema.decodeTo(
    Schema.Uint8Array,
    SchemaTransformation.transform({ decode: ({ base64 }) => base64, encode: (base64) => ({ base64 }) })
  )
)

const schedule = Schema.Struct({
  times: Schema.optionalKey(count),
  skip: Schema.optionalKey(count),
  afterMs: Schema.optionalKey(ms),
  forMs: Schema.optionalKey(ms),
  probability: Schema.optionalKey(chance)
})

const response = Schema.Struct({
  status,
  headers: Schema.optionalKey(Schema.Record(text, text)),
  body: Schema.optionalKey(Schema.Union([text, bytes]))
})

const joined = Schema.Literals(["All", "Either"])

const match: Schema.Codec<MatchData, unknown> = Schema.Union([
  Schema.TaggedStruct("Any", {}),
  Schema.TaggedStruct("Method", { method: text }),
  Schema.TaggedStruct("Path", { pattern: text }),
  Schema.TaggedStruct("Header", { name: text, value: Schema.optionalKey(text) }),
  Schema.TaggedStruct("BodyIncludes", { text }),
  Schema.TaggedStruct("BodyOver", { bytes: size }),
  Schema.Struct({ _tag: joined, matches: Schema.Array(Schema.suspend(() => match)) })
])

const pace = Schema.Union([
  Schema.Struct({ overMs: ms }),
  Schema.Struct({ bytesPerMs: Schema.Finite.check(Schema.isGreaterThan(0)) })
])

const action = Schema.Union([
  Schema.TaggedStruct("Respond", { response }),
  Schema.TaggedStruct("DropRequest", {}),
  Schema.TaggedStruct("DropAnswer", {}),
  Schema.TaggedStruct("ReplaceAnswer", { response }),
  Schema.TaggedStruct("Hang", { done: Schema.Boolean }),
  Schema.TaggedStruct("Kill", { done: Schema.Boolean }),
  Schema.TaggedStruct("CutBody", { bytes: size, how: Schema.Literals(["reset", "end", "badChunk"]) }),
  Schema.TaggedStruct("StallBody", { bytes: size }),
  Schema.TaggedStruct("DelayRequest", { ms }),
  Schema.TaggedStruct("HoldAnswer", { ms }),
  Schema.TaggedStruct("SlowHeaders", { overMs: ms }),
  Schema.TaggedStruct("SlowBody", { pace }),
  Schema.TaggedStruct("PadBody", { bytes: size }),
  Schema.TaggedStruct("AnswerWithin", { ms, response })
])

const upgrade = Schema.Union([
  Schema.TaggedStruct("Refuse", { response }),
  Schema.TaggedStruct("Reset", {}),
  Schema.TaggedStruct("Hang", {}),
  Schema.TaggedStruct("Deaf", {})
])

/** A frame to be sent. */
export const frame = Schema.Union([text, Schema.TaggedStruct("Raw", { bytes }), bytes])

const frameMatch: Schema.Codec<FrameMatchData, unknown> = Schema.Union([
  Schema.TaggedStruct("AnyFrame", {}),
  Schema.TaggedStruct("Event", { types: Schema.Array(text) }),
  Schema.TaggedStruct("Binary", { event: Schema.optionalKey(Schema.Int) }),
  Schema.TaggedStruct("TextIncludes", { text }),
  Schema.Struct({ _tag: joined, matches: Schema.Array(Schema.suspend(() => frameMatch)) })
])

const path = Schema.Array(text)

const frameAction = Schema.Union([
  Schema.TaggedStruct("Drop", {}),
  Schema.TaggedStruct("Delay", { ms }),
  Schema.TaggedStruct("Duplicate", { copies: few }),
  Schema.TaggedStruct("Reorder", { window: few, withinMs: ms }),
  Schema.TaggedStruct("Insert", {
    frames: Schema.Array(frame),
    where: Schema.Literals(["before", "after", "instead"])
  }),
  Schema.TaggedStruct("Truncate", { length: size }),
  Schema.TaggedStruct("SetField", { path, json: text }),
  Schema.TaggedStruct("OmitField", { path }),
  Schema.TaggedStruct("Replay", {}),
  Schema.TaggedStruct("CutSocket", {}),
  Schema.TaggedStruct("KillServer", {})
])

const nodeMatch = Schema.Struct({
  classType: Schema.optionalKey(text),
  nodeId: Schema.optionalKey(text),
  promptId: Schema.optionalKey(text),
  inputIncludes: Schema.optionalKey(text)
})

const when = Schema.Union([Schema.Literals(["before", "after"]), Schema.Struct({ progress: count })])

const nodeAction = Schema.Union([
  Schema.TaggedStruct("Silent", { ms }),
  Schema.TaggedStruct("Slower", { factor: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e6 })) }),
  Schema.TaggedStruct("Uninterruptible", {}),
  Schema.TaggedStruct("StallServer", { ms }),
  Schema.TaggedStruct("Raise", { type: text, message: text, when }),
  Schema.TaggedStruct("PoisonGpu", { when }),
  Schema.TaggedStruct("KillProcess", { when }),
  Schema.TaggedStruct("KillWorker", { when })
])

/** Every fault that is data. */
export const fault: Schema.Codec<FaultData, unknown> = Schema.Union([
  Schema.TaggedStruct("OnRequest", { match, action, schedule }),
  Schema.TaggedStruct("OnFrame", { match: frameMatch, action: frameAction, schedule }),
  Schema.TaggedStruct("OnNode", { match: nodeMatch, action: nodeAction, schedule }),
  Schema.TaggedStruct("OnUpgrade", { action: upgrade, schedule }),
  Schema.TaggedStruct("LoseInterrupts", { schedule }),
  Schema.TaggedStruct("DiskFull", { schedule }),
  Schema.TaggedStruct("DeleteOutputs", { schedule }),
  Schema.TaggedStruct("Flap", {
    what: Schema.Literals(["network", "process", "stall"]),
    upMs: ms,
    downMs: ms,
    schedule
  }),
  Schema.TaggedStruct("SkewClock", { ms: signedMs, schedule }),
  Schema.TaggedStruct("IdleCut", {
    socketsMs: Schema.optionalKey(ms),
    keepAliveMs: Schema.optionalKey(ms),
    schedule
  })
])
