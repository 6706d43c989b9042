/**
 * Tenants share a fleet: one submits a hundred long jobs, the other's single picture does not wait for them. Jobs wait in
 * the pool and not on a server, so whoever had less of the servers' time is next when one is free.
 */
import { Pool, type PoolJob } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { layerPool } from "./support/testPool.ts"

/** A hundred jobs of about ten minutes each, for two servers: more than eight hours of work. */
const submitHundred = Effect.gen(function*() {
  const pool = yield* Pool
  const lengths = Array.from({ length: 100 }, (_, index) => 600 + index)
  const jobs = yield* Effect.forEach(lengths, (seconds) => pool.submit(Workflows.slow({ seconds }), { tenant: "film" }))
  const running = Effect.map(pool.snapshot, (snapshot) => snapshot.running)
  yield* ComfyTest.advanceUntil(Effect.map(running, (count) => count > 0))
  return { jobs, running }
})

const submitPicture = Effect.flatMap(Pool, ({ submit }) => submit(Workflows.picture(), { tenant: "shop" }))

/** How long it waited in the pool; time passes until it is done. */
const secondsWaited = (job: PoolJob) =>
  Effect.gen(function*() {
    const { list } = yield* Pool
    yield* ComfyTest.advanceWhile(job.result)
    const view = (yield* list).find(({ id }) => id === job.id)
    return ((view?.attempts[0]?.startedAt ?? Infinity) - (view?.submittedAt ?? 0)) / 1000
  })

describe("a hundred long jobs of one tenant, and one picture of another", () => {
  it.effect("the picture is next when a server is free", () =>
    Effect.gen(function*() {
      const { jobs } = yield* submitHundred
      const waited = yield* secondsWaited(yield* submitPicture)
      assert.isBelow(waited, 700)
      const stillQueued = (yield* Effect.forEach(jobs, (job) => job.status)).filter(({ _tag }) => _tag === "Queued")
      assert.isAbove(stillQueued.length, 95)
    }).pipe(Effect.provide(layerPool(2))))

  it.effect("no tenant may run on every server: the picture starts at once", () =>
    Effect.gen(function*() {
      const { running } = yield* submitHundred
      assert.strictEqual(yield* running, 1)
      assert.isBelow(yield* secondsWaited(yield* submitPicture), 1)
    }).pipe(Effect.provide(layerPool(2, { maxRunningPerTenant: 1 }))))
})
