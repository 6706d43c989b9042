import { Pool } from "@effect-comfyui/pool/Pool"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { all, layerFleet } from "./support/fleet.ts"

it.effect("a tenant is charged the time its jobs took, not what was thought when they were submitted", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    // Nobody knows yet that these take ten minutes: estimated as short, six of them fit a round.
    const film = yield* Effect.forEach(
      [0, 1, 2, 3, 4, 5, 6, 7],
      (n) => pool.submit(Workflows.slow({ seconds: 600 + n }), { tenant: "film" })
    )
    yield* ComfyTest.advanceUntil(Effect.map(pool.snapshot, ({ running }) => running === 1))
    const picture = yield* pool.submit(Workflows.picture(), { tenant: "shop" })
    yield* all(picture)
    const statuses = yield* Effect.forEach(film, ({ status }) => status)
    assert.strictEqual(statuses.filter(({ _tag }) => _tag === "Ended").length, 1)
  }).pipe(Effect.provide(layerFleet(1))))

it("a tenant without jobs that is owed time does not save it up", () => {
  const state = ReadySet.init()
  ReadySet.correct(state, "quick", 10_000, 1_000)
  assert.deepStrictEqual(ReadySet.snapshot(state).tenants, [])
  ReadySet.correct(state, "slow", 10_000, 60_000)
  assert.deepStrictEqual(ReadySet.snapshot(state).tenants, [
    { tenant: "slow", ready: 0, delayed: 0, oldest: null, balanceMs: -50_000 }
  ])
})
