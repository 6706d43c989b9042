import { PoolError, PoolReason } from "@effect-comfyui/execution/PoolError"
import { Receipt } from "@effect-comfyui/execution/Receipt"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const throughJson = <A, I>(schema: Schema.Codec<A, I>, value: A): A =>
  Schema.decodeUnknownSync(Schema.toCodecJson(schema))(
    JSON.parse(JSON.stringify(Schema.encodeSync(Schema.toCodecJson(schema))(value)))
  )

describe("PoolError", () => {
  it.effect.prop(
    "survives JSON with its reason, whatever the reason is",
    [PoolReason],
    ([reason]) =>
      Effect.sync(() => {
        const error = new PoolError({ reason })
        const back = throughJson(PoolError, error)
        assert.strictEqual(back.reason._tag, error.reason._tag)
        assert.strictEqual(back.message, error.message)
        assert.isNotEmpty(error.message)
      })
  )

  it("says which files are gone, and why a sink took none", () => {
    const message = (reason: PoolReason) => new PoolError({ reason }).message
    const files = ["a.png [output]", "b.png [output]"]
    assert.strictEqual(
      message({ _tag: "OutputsGone", files, cached: true }),
      "gone from the server, which replayed them from its cache: a.png [output], b.png [output]"
    )
    assert.strictEqual(
      message({ _tag: "OutputsGone", files, cached: false }),
      "gone from the server: a.png [output], b.png [output]"
    )
    assert.strictEqual(
      message({ _tag: "CollectFailed", sink: "/out", file: "a.png [output]", cause: "full: ENOSPC" }),
      "/out did not take a.png [output]: full: ENOSPC"
    )
  })
})

describe("Receipt", () => {
  it.effect.prop("survives JSON", [Receipt], ([receipt]) =>
    Effect.sync(() => {
      const back = throughJson(Receipt, receipt)
      // JSON has one zero.
      assert.deepStrictEqual(back, { ...receipt, sizeBytes: receipt.sizeBytes + 0 })
    }))
})
