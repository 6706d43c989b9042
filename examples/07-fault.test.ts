/**
 * What your service does when something goes wrong: the fault is a value, the fake server plays it, and its ledger says
 * what really ran, whatever anybody was told.
 */
import { ComfyClient } from "@effect-comfyui/client/ComfyClient"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { expectCompleted, expectFailed } from "@effect-comfyui/testing/Expect"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

/** All events of a run that takes ten minutes. */
const draw = Effect.flatMap(ComfyClient, (comfy) => Stream.runCollect(comfy.run(Workflows.slow({ seconds: 600 }))))

describe("a run of ten minutes", () => {
  it.effect("is sent once, though the answer to its POST was lost", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.dropAnswer, { times: 1 }))
      expectCompleted(yield* ComfyTest.advanceWhile(draw))
      assert.strictEqual((yield* server.ledger).prompts.length, 1)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("is followed to its end, though the socket broke and a proxy refused new ones", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      const drawing = yield* Effect.forkChild(draw, { startImmediately: true })
      yield* ComfyTest.advanceUntil(Effect.map(server.ledger, ({ nodes }) => nodes.length > 0))
      yield* server.inject(Fault.refuseUpgrades({ status: 403 }))
      yield* server.cutSockets()
      const completed = expectCompleted(yield* ComfyTest.advanceWhile(Fiber.join(drawing)))
      // Learnt by asking, because no socket could tell.
      assert.strictEqual(completed.via, "http")
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("fails in a way that says whose fault it was", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* server.inject(Fault.on(Fault.any, Fault.respond(Fault.badGateway), { forMs: 60_000 }))
      const { by, status } = expectFailed(yield* ComfyTest.advanceWhile(draw), "Unreachable")
      assert.deepStrictEqual([by, status], ["proxy", 502])
    }).pipe(Effect.provide(ComfyTest.layer())))
})
