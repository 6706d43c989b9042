// Where the time of a pool's jobs went.
import { Pool } from "@effect-comfyui/pool/Pool"
import type { JobProfile } from "@effect-comfyui/profiling/JobProfile"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, layerFleet } from "./support/fleet.ts"
import * as Process from "./support/process.ts"

describe("a pool that is asked for profiles", () => {
  it.effect("has one of each job, open or ended, with its waits and all its attempts", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const heard: Array<JobProfile> = []
      yield* Effect.forkScoped(
        Stream.runForEach(pool.profiles.finished, (profile) => Effect.sync(() => void heard.push(profile))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      const first = yield* pool.submit(Workflows.slow({ seconds: 30 }), { tenant: "a" })
      const second = yield* pool.submit(Workflows.slow({ seconds: 5 }), { tenant: "b" })
      yield* TestClock.adjust("10 seconds")
      const open = Option.getOrThrow(yield* pool.profiles.get(first.id))
      assert.deepInclude(open, { state: "running", queueMs: 0 })
      assert.strictEqual(Option.getOrThrow(yield* pool.profiles.get(second.id)).state, "queued")
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.kill
      yield* server.restart
      for (const job of [first, second]) yield* all(job)
      const done = Option.getOrThrow(yield* pool.profiles.get(first.id))
      assert.deepInclude(done, { state: "succeeded", decidedBy: 2 })
      assert.deepStrictEqual(done.attempts.map(({ reason }) => reason), ["Lost", null])
      const [, last] = done.attempts
      const slow = last?.run.nodes.find(({ nodeId }) => nodeId === "2")
      assert.approximately(slow?.durationMs ?? 0, 30_000, 50)
      assert.isAbove(Option.getOrThrow(yield* pool.profiles.get(second.id)).queueMs ?? 0, 10_000)
      assert.deepStrictEqual(heard.map(({ jobId }) => jobId).toSorted(), [first.id, second.id].toSorted())
      const { tenants, servers } = yield* pool.profiles.statistics.get
      assert.strictEqual(JSON.stringify(tenants).includes("\"a\""), true)
      assert.strictEqual(JSON.stringify(servers).includes("gpu-1"), true)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))

  it.effect("counts nothing that ended in another process", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      const job = yield* first.pool.submit(Workflows.picture())
      yield* all(job)
      yield* first.close
      const second = yield* Process.start(1, { profiles: true })
      const again = yield* second.pool.get(job.id)
      assert.strictEqual((yield* again.status)._tag, "Ended")
      assert.isTrue(Option.isNone(yield* second.pool.profiles.get(job.id)))
      assert.strictEqual(JSON.stringify(yield* second.pool.profiles.statistics.get).includes("gpu-1"), false)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

it.effect("a pool that is not asked has none", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const job = yield* pool.submit(Workflows.picture())
    yield* all(job)
    assert.isTrue(Option.isNone(yield* pool.profiles.get(job.id)))
    assert.deepStrictEqual(Array.from(yield* Stream.runCollect(pool.profiles.finished)), [])
  }).pipe(Effect.provide(layerFleet(1))))
