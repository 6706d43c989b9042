import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending, ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { JobId, RunId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Job from "@effect-comfyui/pool/Job"
import { check } from "@effect-comfyui/pool/JobOptions"
import * as MetricFold from "@effect-comfyui/pool/MetricFold"
import * as Need from "@effect-comfyui/pool/Need"
import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { server } from "./support/heads.ts"

const runId = RunId.make("11111111-1111-4111-8111-111111111111")
const backend = server("a")
const executions = { atLeast: 0, atMost: 1 }

/** A job in its first attempt. */
const jobOf = (why: Job.AttemptRecord["why"]) => {
  const { options } = Result.getOrThrow(check({ tenant: "shop" }))
  const kind = { affinity: "a1:a" as const, placement: "", need: Need.of(Workflows.picture(), options), jobs: 1 }
  const entry = Job.make({
    id: JobId.make("job"),
    options,
    kind,
    content: null,
    submittedAt: 1_000,
    deadlineAt: Number.POSITIVE_INFINITY
  })
  Job.attempted(entry, { runId, server: backend, startedAt: 3_000, why })
  return entry
}

/** What these add, each a second after the other. */
const after = (entry: Job.Entry, ...told: ReadonlyArray<Job.Told>) => {
  const state = MetricFold.init()
  const lines = told.flatMap((one, index) => {
    const now = index * 1_000
    return Job.tell(entry, [one], 3_000 + now).flatMap((event) =>
      MetricFold.ofJob(state, entry, event, now).map(({ labels, name, value }) =>
        [name.replace("comfy_", ""), ...Object.values(labels), value].join(" ")
      )
    )
  })
  assert.isAtMost(state.startedAt.size, 1)
  return lines
}

const common = { runId, backend, sequence: 0, at: 0, elapsed: 0 }
const started: ExecutionEvent = { _tag: "Started", ...common, serverAt: null }
const failed = (reason: Reason): Ending => ({
  _tag: "Failed",
  ...common,
  via: "http",
  error: new ExecutionError({ reason, runId, backend })
})

describe("what an event adds", () => {
  it("an attempt of which nobody knows whether the server took it, and the dead letter that follows", () => {
    const ambiguous: Reason = { _tag: "SubmitAmbiguous", promptId: "p", cause: "cut" }
    const why = { policy: "p", warm: true, forced: true }
    const error = new PoolError({ reason: { _tag: "MaybeExecuted", cause: "cut" } })
    assert.deepStrictEqual(
      after(
        jobOf(why),
        { _tag: "Placed", server: backend, why },
        { _tag: "AttemptEnded", number: 1, ending: failed(ambiguous), verdict: "dead-letter", executions },
        { _tag: "DeadLettered", error, executions }
      ),
      [
        "placements_total p true forced 1",
        "job_wait_seconds shop 2",
        "attempts_total dead-letter SubmitAmbiguous 1",
        "submits_ambiguous_total a 1",
        "jobs_ended_total shop DeadLettered 1",
        "executions_total at_least 0",
        "executions_total at_most 1",
        "jobs_failed_total DeadLettered MaybeExecuted 1",
        "jobs_maybe_executed_total shop 1"
      ]
    )
  })

  it("a run from its start to its end, and its gaps", () => {
    const why = { policy: "p", prefetched: true }
    assert.deepStrictEqual(
      after(
        jobOf(why),
        { _tag: "Placed", server: backend, why },
        { _tag: "Attempt", number: 1, event: started },
        {
          _tag: "Attempt",
          number: 1,
          event: { _tag: "Gap", ...common, cause: "consumer", lifecycle: 1, progress: 0, previews: 0 }
        },
        {
          _tag: "AttemptEnded",
          number: 1,
          ending: failed({ _tag: "Lost", evidence: "" }),
          verdict: "another-server",
          executions
        }
      ).slice(2),
      ["gaps_total a consumer 1", "attempts_total another-server Lost 1", "run_seconds a 2"]
    )
  })

  it("of a run that an earlier process began neither how long it waited nor how long it ran", () => {
    const why = { policy: "recovered", found: "Running" }
    assert.deepStrictEqual(
      after(
        jobOf(why),
        { _tag: "Placed", server: backend, why },
        { _tag: "Attempt", number: 1, event: started },
        { _tag: "AttemptEnded", number: 1, ending: failed({ _tag: "Closed" }), verdict: "give-up", executions }
      ),
      ["placements_total recovered unknown recovered 1", "attempts_total give-up Closed 1"]
    )
  })
})
