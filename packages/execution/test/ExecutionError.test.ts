import { attributions, bounded, ExecutionError, Reason } from "@effect-comfyui/execution/ExecutionError"
import { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { at, backend, failed, preview, runId, submitted } from "./support.ts"

const throughJson = <A, I>(schema: Schema.Codec<A, I>, value: A): A =>
  Schema.decodeUnknownSync(Schema.toCodecJson(schema))(
    JSON.parse(JSON.stringify(Schema.encodeSync(Schema.toCodecJson(schema))(value)))
  )

describe("ExecutionError", () => {
  it.effect.prop("survives JSON with its reason, whatever the reason is", [Reason], ([reason]) =>
    Effect.sync(() => {
      const error = new ExecutionError({ reason, runId, backend })
      const back = throughJson(ExecutionError, error)
      assert.strictEqual(back.reason._tag, error.reason._tag)
      assert.strictEqual(back.message, error.message)
      assert.isNotEmpty(error.message)
      assert.deepStrictEqual(error.attribution, attributions[reason._tag])
    }))

  it("reads every reason one way", () => {
    const tags = Reason.members.map((member) => member.fields._tag.schema.literal)
    assert.deepStrictEqual(Object.keys(attributions).toSorted(), tags.toSorted())
    assert.strictEqual(attributions.OutOfMemory.breaker, "none")
    assert.strictEqual(attributions.GpuPoisoned.breaker, "server")
    assert.strictEqual(attributions.Cancelled.category, "caller")
  })

  it("cuts what others chose", () => {
    assert.strictEqual(bounded("abcdef", 3), "abc…")
    assert.strictEqual(bounded("abc", 3), "abc")
  })
})

describe("events across a process", () => {
  it("survive JSON: errors, big seeds and pictures", () => {
    const seeded: ExecutionEvent = {
      _tag: "Submitted",
      ...at(0),
      promptId: runId,
      number: null,
      seeds: [{ nodeId: "3", inputName: "seed", value: 18_446_744_073_709_551_615n }]
    }
    assert.deepStrictEqual(throughJson(ExecutionEvent, seeded), seeded)
    assert.deepStrictEqual(throughJson(ExecutionEvent, preview(0, 5)), preview(0, 5))
    const error = throughJson(ExecutionEvent, failed(4))
    assert.isTrue(error._tag === "Failed" && error.error instanceof ExecutionError)
    const job: JobEvent = {
      _tag: "Attempt",
      jobId: JobEvent.members[0].fields.jobId.make("order-7"),
      sequence: 3,
      at: 5,
      number: 1,
      event: submitted
    }
    assert.deepStrictEqual(throughJson(JobEvent, job), job)
  })

  it("keep NaN and big integers of a node's own record", () => {
    const output: ExecutionEvent = {
      _tag: "NodeOutput",
      ...at(1),
      nodeId: "9",
      displayId: "9",
      cached: false,
      output: { files: [], texts: ["x"], raw: { text: ["x"], odd: [Number.NaN, 18_446_744_073_709_551_615n] } }
    }
    assert.deepStrictEqual(throughJson(ExecutionEvent, output), output)
  })
})
