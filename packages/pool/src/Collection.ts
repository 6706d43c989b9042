/**
 * What becomes of a job whose run has succeeded: with a sink it is settled when its files are there, and where they cannot
 * be had, as the loss is. The server is free meanwhile, and the claim is kept.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import { FilesError } from "@effect-comfyui/execution/Files"
import type { Outputs } from "@effect-comfyui/execution/Outputs"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import { readTime } from "@effect-comfyui/execution/Time"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Active } from "./Active.ts"
import * as Collect from "./Collect.ts"
import * as Failover from "./Failover.ts"
import { changedPrefix } from "./FilePrefix.ts"
import { holdMs } from "./internal/hold.ts"
import type * as Job from "./Job.ts"
import type { Follows, Policy } from "./Outcome.ts"
import type { Sink } from "./Sink.ts"

/** Where files go, and who is told. */
export interface Options {
  readonly sinks: ReadonlyMap<string, Sink>
  readonly policy: Policy
  readonly tellJob: (entry: Job.Entry, told: ReadonlyArray<Job.Told>, at?: number) => void
}

/** For the attempts of a pool. */
export interface Collection {
  /** What follows for the job, once its files are where they belong; all else but a success follows as it is. */
  readonly follow: (one: Active, paid: boolean, follows: Follows) => Effect.Effect<Follows>
}

/** The workflow as it is sent: with other names for its files where those of the last run were gone. */
export const workflowOf = ({ prefix }: Job.Entry, workflow: Workflow): Workflow =>
  prefix === null ? workflow : changedPrefix(workflow, prefix) ?? workflow

const reasonOf = ({ message, reason }: FilesError): Reason => {
  switch (reason._tag) {
    case "Unreachable":
    case "Unauthorized":
      return reason
    default:
      return { _tag: "Unreachable", by: "proxy", status: null, cause: message }
  }
}

/** Another run may find its files; those of this one were there before it, and are gone. */
const mayRunAgain = ({ entry, claim }: Active, { reason }: PoolError): boolean =>
  reason._tag === "OutputsGone" && reason.cached && entry.prefix === null &&
  changedPrefix(claim.payload.workflow, "again") !== null

/** Collects for the jobs of a pool. */
export const make = Effect.fnUntraced(function*(
  { policy, sinks, tellJob }: Options
): Effect.fn.Return<Collection> {
  const clock = yield* Clock.Clock
  const now = () => readTime(clock).now

  /** What went wrong for good. */
  const after = Effect.fnUntraced(function*(
    one: Active,
    paid: boolean,
    error: PoolError | FilesError
  ): Effect.fn.Return<Follows> {
    const { entry, member: { facts: { id: server } }, run: { runId } } = one
    const { executions } = entry
    if (error instanceof PoolError) {
      if (mayRunAgain(one, error) && !paid) {
        entry.prefix = runId.slice(0, 8)
        return { _tag: "Release", delayMs: 0, ledger: entry.ledger }
      }
      return error.reason._tag === "CollectFailed"
        ? { _tag: "DeadLetter", told: { _tag: "DeadLettered", error, executions } }
        : { _tag: "Settle", told: { _tag: "JobFailed", error, executions } }
    }
    const reason = reasonOf(error)
    const attempt: Failover.Attempt = {
      server,
      reason,
      accepted: true,
      paid,
      anotherKeyBefore: false,
      storageOut: false
    }
    const ledger = Failover.record(entry.ledger, attempt)
    const verdict = Failover.decide(attempt, ledger, policy.failover, yield* Random.next)
    const why = new ExecutionError({ reason, runId, backend: server })
    switch (verdict._tag) {
      case "Retry":
        return {
          _tag: "Release",
          delayMs: Math.ceil(verdict.delayMs),
          ledger: Failover.follow(ledger, verdict, undefined)
        }
      case "GiveUp":
        return { _tag: "Settle", told: { _tag: "JobFailed", error: why, executions } }
      case "DeadLetter":
        return { _tag: "DeadLetter", told: { _tag: "DeadLettered", error: why, executions } }
    }
  })

  /** A server that is away for a while still has them: it is waited for as for a run of it. */
  const bring = Effect.fnUntraced(function*(one: Active, sink: Sink, outputs: Outputs) {
    const { entry, member, run: { runId, startedAt }, shown } = one
    const { backend, permits } = member
    if (backend === undefined) return []
    const ranMs = Math.max(0, readTime(clock).at - startedAt)
    const until = now() + holdMs(ranMs)
    const collected = Collect.collect({
      backend,
      outputs,
      cachedNodes: shown.cached,
      sink,
      jobId: entry.id,
      runId,
      permits
    })
    const isAway = (error: PoolError | FilesError): boolean =>
      error instanceof FilesError && error.reason._tag === "Unreachable" && now() < until
    return yield* Effect.retry(collected, { while: isAway })
  })

  return {
    follow: Effect.fnUntraced(function*(one, paid, follows) {
      if (follows._tag !== "Settle" || follows.told._tag !== "JobSucceeded") return follows
      const { entry, member } = one
      const { collect } = entry.options
      if (collect === null) return follows
      const { told } = follows
      const sink = sinks.get(collect)
      if (sink === undefined) {
        const cause = "the pool has no sink of this name"
        const error = new PoolError({ reason: { _tag: "CollectFailed", sink: collect, file: "", cause } })
        return { _tag: "DeadLetter", told: { _tag: "DeadLettered", error, executions: told.executions } }
      }
      const since = now()
      member.collecting++
      entry.isCollected = true
      const brought = yield* Effect.result(bring(one, sink, told.outputs)).pipe(
        Effect.ensuring(Effect.sync(() => {
          member.collecting--
          entry.isCollected = false
        }))
      )
      if (brought._tag === "Failure") return yield* after(one, paid, brought.failure)
      const receipts = brought.success
      const files = [...new Map(receipts.map((receipt) => [receipt.location, receipt])).values()]
      const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
      tellJob(entry, [{ _tag: "Collected", sink: sink.name, files: files.length, bytes, ms: now() - since }])
      return { _tag: "Settle", told: { ...told, receipts } }
    })
  }
})
