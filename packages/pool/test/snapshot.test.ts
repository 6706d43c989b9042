import { JobId } from "@effect-comfyui/execution/Ids"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { layerFleet } from "./support/fleet.ts"
import { series, total } from "./support/metrics.ts"
import * as Process from "./support/process.ts"

const isRunning = (pool: Pool["Service"]) =>
  ComfyTest.advanceUntil(Effect.map(pool.snapshot, ({ running }) => running === 1))

describe("the pool at a glance", () => {
  it.effect("has what waits of each tenant and since when, and how many retries are left", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* pool.submit(Workflows.slow({ seconds: 600 }), { tenant: "film" })
      yield* isRunning(pool)
      const submittedAt = yield* Clock.currentTimeMillis
      yield* pool.submit(Workflows.picture(), { tenant: "shop" })
      yield* TestClock.adjust("10 seconds")
      yield* pool.submit(Workflows.picture({ color: 2 }), { tenant: "shop" })
      yield* TestClock.adjust("1 millis")
      const { collecting, recovering, retries, suspects, tenants } = yield* pool.snapshot
      const shop = tenants.find(({ tenant }) => tenant === "shop")
      assert.deepInclude(shop, { ready: 2, delayed: 0, oldestAt: submittedAt })
      assert.deepStrictEqual({ collecting, recovering, suspects }, { collecting: 0, recovering: 0, suspects: [] })
      assert.deepStrictEqual(retries, { jobs: 1, retries: 0, left: 5 })
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("counts runs that were left and are asked for", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      yield* first.pool.submit(Workflows.slow({ seconds: 60 }))
      yield* isRunning(first.pool)
      yield* TestClock.adjust("1 second")
      yield* first.close
      yield* (yield* ComfyTest.serverOf("gpu-1")).kill
      const second = yield* Process.start(1)
      yield* ComfyTest.advanceUntil(Effect.map(second.pool.snapshot, ({ recovering }) => recovering === 1))
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

describe("pools on one queue", () => {
  it.effect("count the end of a job that both know once, where it ended", () =>
    Effect.gen(function*() {
      const [early, late] = [new Map(), new Map()]
      const first = yield* Effect.provideService(Process.start(1, { metrics: true }), Metric.MetricRegistry, early)
      const id = JobId.make("poster")
      yield* first.pool.submit(Workflows.slow({ seconds: 60 }), { id })
      yield* isRunning(first.pool)
      const second = yield* Effect.provideService(Process.start(1, { metrics: true }), Metric.MetricRegistry, late)
      const job = yield* second.pool.get(id)
      yield* ComfyTest.advanceWhile(Stream.runDrain(job.events()))
      const ended = Effect.map(series, (all) => total(all, "comfy_jobs_ended_total"))
      assert.strictEqual(yield* Effect.provideService(ended, Metric.MetricRegistry, early), 1)
      assert.strictEqual(yield* Effect.provideService(ended, Metric.MetricRegistry, late), 0)
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})
