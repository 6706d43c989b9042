import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as JobOptions from "@effect-comfyui/pool/JobOptions"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"

const problems = (options: JobOptions.JobOptions): ReadonlyArray<string> => {
  const checked = JobOptions.check(options)
  if (Result.isSuccess(checked)) return []
  const { reason } = checked.failure
  return reason._tag === "InvalidOptions" ? reason.problem.split("; ") : [reason._tag]
}

describe("the options of a job", () => {
  it("all have a default", () => {
    const { options: checked } = Result.getOrThrow(JobOptions.check({}))
    assert.deepInclude(checked, { priority: 0, tenant: "", onAmbiguity: "verify", acceptPartial: false })
    assert.deepStrictEqual(checked.limits, {
      queueMs: null,
      startMs: null,
      nodeIdleMs: null,
      totalMs: null,
      deadlineMs: null,
      estimateMs: null
    })
  })

  it("are taken as they are meant", () => {
    const { options: checked } = Result.getOrThrow(JobOptions.check({
      id: JobId.make("poster-7"),
      priority: -1e300,
      deadline: "2 minutes",
      timeouts: { nodeIdle: Duration.infinity },
      exclude: [BackendId.make("gpu-1")]
    }))
    assert.strictEqual(checked.limits.deadlineMs, 120_000)
    assert.strictEqual(checked.limits.nodeIdleMs, JobOptions.unlimitedMs)
    assert.strictEqual(checked.priority, -1e300)
  })

  it("come back from a queue as they went", () => {
    for (
      const given of [
        {},
        {
          priority: 3,
          tenant: "t",
          deadline: Duration.infinity,
          requires: { tags: ["big"], models: ["a.safetensors"] },
          prefer: [BackendId.make("gpu-1")],
          metadata: { order: [1, null, "x"] },
          paid: true
        } as const
      ] satisfies ReadonlyArray<JobOptions.JobOptions>
    ) {
      const { options } = Result.getOrThrow(JobOptions.check(given))
      assert.deepStrictEqual(JobOptions.fromJson(JSON.parse(JSON.stringify(options))), options)
    }
    for (const strange of [null, 7, [], {}, { priority: 1 }]) assert.isUndefined(JobOptions.fromJson(strange))
  })

  it("that mean nothing are all told at once", () => {
    assert.deepStrictEqual(problems({ priority: Number.NaN }), ["priority: NaN is no number"])
    assert.strictEqual(
      problems({
        priority: Number.POSITIVE_INFINITY,
        deadline: Duration.zero,
        timeouts: { queue: -5, start: Number.NaN },
        requires: { vramBytes: -1 },
        idempotencyKey: "",
        tenant: "t".repeat(10_000)
      }).length,
      7
    )
  })
})
