import * as Execution from "@effect-comfyui/execution/Execution"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { cancelled, completed, failed, started, submitted } from "./support.ts"

describe("Execution", () => {
  it.effect("result is the success", () =>
    Effect.gen(function*() {
      const success = yield* Execution.result(Stream.make(submitted, started(1, "1"), completed(2)))
      assert.strictEqual(success.sequence, 2)
    }))

  it.effect("result fails with the error of a failure, and with Cancelled for a cancellation", () =>
    Effect.gen(function*() {
      const lost = yield* Effect.flip(Execution.result(Stream.make(submitted, failed(1))))
      assert.strictEqual(lost.reason._tag, "Lost")
      const gone = yield* Effect.flip(Execution.result(Stream.make(submitted, cancelled(1))))
      assert.deepStrictEqual(gone.reason, { _tag: "Cancelled", by: "elsewhere" })
      assert.strictEqual(gone.category, "caller")
    }))

  it.effect("a stream that was cut is no success", () =>
    Effect.gen(function*() {
      const cut = yield* Effect.flip(Execution.result(Stream.make(submitted)))
      assert.strictEqual(cut.reason._tag, "ProtocolViolation")
    }))

  it.effect("retrying the result subscribes anew; a bad ending of orFail leaves by the error channel", () =>
    Effect.gen(function*() {
      let subscriptions = 0
      const flaky = Stream.suspend(() =>
        ++subscriptions < 3 ? Stream.make(submitted, failed(1)) : Stream.make(completed(0))
      )
      yield* Effect.retry(Execution.result(flaky), { times: 5 })
      assert.strictEqual(subscriptions, 3)

      const seen: Array<string> = []
      const error = yield* Execution.orFail(Stream.make(submitted, started(1, "1"), failed(2))).pipe(
        Stream.runForEach((event) => Effect.sync(() => seen.push(event._tag))),
        Effect.flip
      )
      assert.deepStrictEqual(seen, ["Submitted", "NodeStarted"])
      assert.strictEqual(error.reason._tag, "Lost")
      const kept = yield* Stream.runCollect(Execution.orFail(Stream.make(submitted, completed(1))))
      assert.deepStrictEqual(kept.map((event) => event._tag), ["Submitted", "Completed"])
    }))
})
