// Memory of servers that is given back: on command, and of those that nobody needs.
import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { fleet, ready as known, requests, server } from "./support/ask.ts"
import { all, idOf } from "./support/fleet.ts"

const freed = (n: number) => Effect.map(requests(n), (all) => all.filter((one) => one.endsWith("/free")).length)

const each = Effect.all([freed(1), freed(2), freed(3)])

describe("memory of servers", () => {
  it.effect("is freed on command: of one, or of all that are reached; those that took it are counted", () =>
    Effect.gen(function*() {
      const pool = yield* known
      yield* (yield* server(3)).kill
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* pool.servers.free(idOf(2)), 1)
      assert.deepStrictEqual(yield* each, [0, 1, 0])
      assert.strictEqual(yield* pool.servers.free(), 2)
      assert.deepStrictEqual(yield* each, [1, 2, 0])
      assert.strictEqual(yield* pool.servers.free(idOf(3)), 0)
    }).pipe(fleet(3)))

  it.effect("is kept, however long nobody needs a server, unless the pool is told otherwise", () =>
    Effect.gen(function*() {
      yield* known
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* each, [0, 0, 0])
    }).pipe(fleet(3)))

  it.effect("is freed once of what stands idle for so long, and again after its next run", () =>
    Effect.gen(function*() {
      const pool = yield* known
      yield* TestClock.adjust("9 minutes")
      yield* all(yield* pool.submit(Workflows.slow({ seconds: 30 }), { prefer: [idOf(1)] }))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(yield* each, [0, 1, 1])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(yield* each, [1, 1, 1])
      yield* all(yield* pool.submit(Workflows.picture(), { prefer: [idOf(1)] }))
      yield* TestClock.adjust("11 minutes")
      assert.deepStrictEqual(yield* each, [2, 1, 1])
    }).pipe(fleet(3, { pool: { freeMemory: { idleFor: "10 minutes" } } })))
})
