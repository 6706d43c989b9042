import { JobId } from "@effect-comfyui/execution/Ids"
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import * as Jobs from "@effect-comfyui/pool/Jobs"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as Submission from "@effect-comfyui/pool/Submission"
import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { layerFleet } from "./support/fleet.ts"

const defaults = { timeouts: { total: "1 minute", queue: "1 hour" }, deadline: "1 day", onAmbiguity: "retry" } as const

const prepared = (wanted: JobOptions) =>
  Effect.map(
    Effect.fromResult(
      Submission.prepare(
        Jobs.make(),
        Workflows.picture(),
        wanted,
        JobId.make("a"),
        { at: 0, now: 0 },
        undefined,
        defaults
      )
    ),
    ({ entry: { options } }) => options
  )

describe("what a pool says for its jobs", () => {
  it.effect("counts limit by limit where a job says nothing", () =>
    Effect.gen(function*() {
      const silent = yield* prepared({})
      assert.strictEqual(silent.onAmbiguity, "retry")
      assert.deepInclude(silent.limits, { totalMs: 60_000, queueMs: 3_600_000, deadlineMs: 86_400_000, startMs: null })
      const own = yield* prepared({ timeouts: { total: "5 minutes" }, deadline: "1 hour", onAmbiguity: "fail" })
      assert.strictEqual(own.onAmbiguity, "fail")
      assert.deepInclude(own.limits, { totalMs: 300_000, queueMs: 3_600_000, deadlineMs: 3_600_000 })
      const pool = yield* Pool.Pool
      const slow = Workflows.slow({ seconds: 120 })
      const jobs = [yield* pool.submit(slow), yield* pool.submit(slow, { timeouts: { total: "10 minutes" } })]
      yield* TestClock.adjust("20 minutes")
      const endings = yield* Effect.forEach(jobs, ({ status }) =>
        Effect.map(status, (now) => now._tag === "Ended" ? now.ending._tag : now._tag))
      assert.deepStrictEqual(endings, ["JobFailed", "JobSucceeded"])
    }).pipe(Effect.provide(layerFleet(2, { pool: { defaults, failover: { serverFaults: 0 } } }))))
})
