import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet, told } from "./support/fleet.ts"

const reasonOf = (events: ReadonlyArray<JobEvent>) => {
  const last = events.at(-1)
  return last?._tag === "JobFailed" ? last.error.reason : undefined
}

/** A run that leaves nothing idle for an hour. */
const busy = Effect.flatMap(Pool, (pool) =>
  Effect.gen(function*() {
    const job = yield* pool.submit(Workflows.slow({ seconds: 3_600 }), { timeouts: { nodeIdle: "2 hours" } })
    yield* ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"))
    return job
  }))

describe("a job that waits", () => {
  it.effect("beyond its limit in the queue is ended, one that was placed in time is not", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* pool.submit(Workflows.slow({ seconds: 60 }), { timeouts: { queue: "5 seconds" } })
      yield* TestClock.adjust("4 seconds")
      const late = yield* pool.submit(Workflows.picture(), { timeouts: { queue: "5 seconds" } })
      assert.deepStrictEqual(reasonOf(yield* all(late)), { _tag: "QueueTimeout", limitMs: 5_000 })
      assert.deepStrictEqual((yield* pool.list).map(({ status }) => status), ["Ended", "Running"])
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("for a busy server has missed its deadline; for servers that would not take it, it says why each of them", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* busy
      const behind = yield* pool.submit(Workflows.picture(), { deadline: "1 minute" })
      assert.strictEqual(reasonOf(yield* all(behind))?._tag, "DeadlineExceeded")
      yield* pool.servers.pause(idOf(1))
      const nowhere = yield* pool.submit(Workflows.picture(), { deadline: "1 minute" })
      assert.deepStrictEqual(reasonOf(yield* all(nowhere)), {
        _tag: "NoEligibleServer",
        servers: [{ server: "gpu-1", why: "paused" }]
      })
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("for a server of which nobody knows what it can do is told after ten minutes that nobody can run it", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* (yield* ComfyTest.serverOf("gpu-2")).kill
      yield* ComfyTest.advanceUntil(Effect.map(pool.servers.get, ([one]) => one?.version !== null))
      const job = yield* pool.submit(Workflows.rejected)
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual((yield* job.status)._tag, "Queued")
      const reason = reasonOf(yield* all(job))
      assert.strictEqual(reason?._tag, "NoEligibleServer")
      if (reason?._tag === "NoEligibleServer") {
        assert.deepStrictEqual(reason.servers.map(({ server }) => server), ["gpu-1", "gpu-2"])
        assert.strictEqual(reason.servers[1]?.why, "was never reached")
      }
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("while every server is down waits, visible, for one of them", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const servers = yield* Effect.forEach([1, 2], (n) => ComfyTest.serverOf(ComfyTest.nameOf(n)))
      for (const server of servers) yield* server.kill
      const job = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* job.status)._tag, "Queued")
      for (const server of servers) yield* server.restart
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(2))))
})
