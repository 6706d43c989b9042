/**
 * What was decided about one job, and on what evidence: a list that grows with its placements and never while it only
 * waits. It is kept with the job, in this process; it names nodes, servers and figures, never what a prompt says.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { Time } from "@effect-comfyui/execution/Time"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Schema from "effect/Schema"
import type { Notice } from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import type { Decision } from "./Router.ts"

/** Names and figures. */
export const Evidence = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
export type Evidence = typeof Evidence.Type

/** Servers by what spoke against them: at most 100 in all, `more` are not named. */
export const Others = Schema.Struct({
  groups: Schema.Array(Schema.Struct({ why: Schema.String, servers: Schema.Array(BackendId) })),
  more: Schema.Int
})
export type Others = typeof Others.Type

/** On every step: epoch milliseconds. */
const common = { at: Schema.Finite }

/**
 * It was the first to be placed, and the router thought it better to wait: `times` in a row, last at `lastAt`, until
 * `until` at most (epoch milliseconds; null: until something changes).
 */
export const Waited = Schema.TaggedStruct("Waited", {
  ...common,
  lastAt: Schema.Finite,
  times: Schema.Int,
  until: Schema.NullOr(Schema.Finite),
  why: Evidence
})
/** A server was chosen: the router's reasons, and those against the others at that moment; null where nobody chose. */
export const Placed = Schema.TaggedStruct("Placed", {
  ...common,
  number: Schema.Int,
  runId: RunId,
  server: BackendId,
  why: Evidence,
  others: Schema.NullOr(Others)
})
/** A breaker opened or closed on the server where it ran, for all or for its workflow. `until`: epoch milliseconds. */
export const Blocked = Schema.TaggedStruct("Blocked", {
  ...common,
  server: BackendId,
  scope: Schema.Literals(["server", "workflow"]),
  until: Schema.Finite,
  cause: Schema.String
})
export const Unblocked = Schema.TaggedStruct("Unblocked", {
  ...common,
  server: BackendId,
  scope: Schema.Literals(["server", "workflow"])
})
/**
 * An attempt ended: as what, on what evidence, and what followed. `recalled`: it waited on a busy server and was taken back
 * for an idle one.
 */
export const AttemptEnded = Schema.TaggedStruct("AttemptEnded", {
  ...common,
  number: Schema.Int,
  ending: Schema.String,
  evidence: Evidence,
  verdict: Schema.String,
  recalled: Schema.Boolean
})
/**
 * It would have been tried again after `retryInMs`, which is past its `deadline` (epoch milliseconds): it ended then, with
 * what its last attempt failed with.
 */
export const OutOfTime = Schema.TaggedStruct("OutOfTime", {
  ...common,
  retryInMs: Schema.Finite,
  deadline: Schema.Finite
})
/** Its files are in their sink. */
export const Collected = Schema.TaggedStruct("Collected", {
  ...common,
  sink: Schema.String,
  files: Schema.Int,
  bytes: Schema.Finite,
  ms: Schema.Finite
})
/** The job ended; `reason` where it did badly. */
export const Ended = Schema.TaggedStruct("Ended", {
  ...common,
  ending: Schema.String,
  reason: Schema.NullOr(Schema.String)
})

/** One step on the way of a job. */
export const Step = Schema.Union([Waited, Placed, Blocked, Unblocked, AttemptEnded, OutOfTime, Collected, Ended])
export type Step = typeof Step.Type

/** Owned and updated in place by its pool: at most {@link Defaults.explain} steps. */
export interface Trail {
  readonly steps: Array<Step>
  /** Steps that are not there any more: the first and the last ones are kept. */
  dropped: number
  /** What spoke against the other servers when the run of this id was placed. */
  weighed: { readonly runId: RunId; readonly others: Others } | undefined
}

/** Who has a trail: made with its first step. */
export interface Owner {
  trail: Trail | undefined
}

const { first, steps: most } = Defaults.explain

const trailOf = (owner: Owner): Trail => owner.trail ??= { steps: [], dropped: 0, weighed: undefined }

/** Adds a step. */
export const add = (owner: Owner, step: Step): void => {
  const trail = trailOf(owner)
  trail.steps.push(step)
  if (trail.steps.length <= most) return
  trail.steps.splice(first, 1)
  trail.dropped++
}

type Wait = Extract<Decision, { readonly _tag: "Wait" }>

/** How long a router waits from now at most, milliseconds; null: until something changes. */
export const waitMs = ({ until }: Wait, now: number): number | null =>
  until === null || !Number.isFinite(until) ? null : Math.max(0, until - now)

/** A router that waits says so each time it is asked: of the same reasons in a row the last time is kept. */
export const waited = (
  owner: Owner,
  { at, now }: Time,
  decision: Wait
): void => {
  const { why } = decision
  const ms = waitMs(decision, now)
  const until = ms === null ? null : at + ms
  const last = owner.trail?.steps.at(-1)
  if (last?._tag !== "Waited" || last.why["reason"] !== why["reason"]) {
    return add(owner, { _tag: "Waited", at, lastAt: at, times: 1, until, why })
  }
  owner.trail?.steps.splice(-1, 1, { ...last, lastAt: at, times: last.times + 1, until, why })
}

/** A server is chosen for a run: it will be told of once the job is claimed. */
export const weighed = (owner: Owner, runId: RunId, others: Others): void => {
  trailOf(owner).weighed = { runId, others }
}

/** A breaker opened or closed where the job runs; that of another workflow is none of its business. */
export const noticed = (owner: Owner, key: AffinityKey, notice: Notice, { at, now }: Time): void => {
  const { server } = notice
  if (notice.key !== null && notice.key !== key) return
  const scope = notice.key === null ? "server" : "workflow"
  add(
    owner,
    notice._tag === "Blocked"
      ? { _tag: "Blocked", at, server, scope, until: at + notice.until - now, cause: notice.cause }
      : { _tag: "Unblocked", at, server, scope }
  )
}

/** Its deadline decided. `deadlineAt`: monotonic milliseconds. */
export const outOfTime = (owner: Owner, retryInMs: number, deadlineAt: number, { at, now }: Time): void =>
  add(owner, { _tag: "OutOfTime", at, retryInMs, deadline: at + deadlineAt - now })

const maxText = 200

const text = (value: string | null): string => (value ?? "").slice(0, maxText)

/** What of a reason is no prompt's and no server's free text. */
export const evidenceOf = (reason: Reason): Evidence => {
  switch (reason._tag) {
    case "NodeFailed":
    case "OutOfMemory":
    case "GpuPoisoned":
    case "DiskFull": {
      const { classType, exceptionType, nodeId } = reason
      return { nodeId: text(nodeId), classType: text(classType), exceptionType: text(exceptionType) }
    }
    case "Rejected":
      return {
        by: reason.by,
        type: text(reason.type),
        nodeIds: text(reason.complaints.map(({ nodeId }) => nodeId).join(", "))
      }
    case "MissingCapability":
      return { classes: text(reason.classes.join(", ")), models: text(reason.models.join(", ")) }
    case "Lost":
    case "WorkerStuck":
      return { evidence: text(reason.evidence) }
    case "StartTimeout":
    case "TotalTimeout":
      return { limitMs: reason.limitMs }
    case "NodeTimeout":
      return { nodeId: text(reason.nodeId), limitMs: reason.limitMs }
    case "DeadlineExceeded":
      return { deadline: reason.deadline }
    case "Unreachable":
      return { by: reason.by, ...reason.status === null ? {} : { status: reason.status } }
    case "RateLimited":
      return reason.retryAfterMs === null ? {} : { retryAfterMs: reason.retryAfterMs }
    case "Unauthorized":
      return { status: reason.status }
    case "ProtocolViolation":
      return { kind: text(reason.kind) }
    case "Cancelled":
      return { by: reason.by }
    default:
      return {}
  }
}

const evidence = (ending: Ending): Evidence =>
  ending._tag === "Failed"
    ? evidenceOf(ending.error.reason)
    : ending._tag === "Cancelled"
    ? { by: ending.by }
    : { via: ending.via }

/** Takes what everybody was told of the job. `run`: that of the attempt it is in. */
export const told = (
  owner: Owner,
  event: JobEvent,
  run: { readonly number: number; readonly runId: RunId } | undefined
) => {
  const { at } = event
  if (isJobEnding(event)) {
    return add(owner, {
      _tag: "Ended",
      at,
      ending: event._tag,
      reason: event._tag === "JobFailed" || event._tag === "DeadLettered" ? event.error.reason._tag : null
    })
  }
  switch (event._tag) {
    case "Placed": {
      if (run === undefined) return
      const { number, runId } = run
      const { server, why } = event
      const weighed = owner.trail?.weighed
      const others = weighed?.runId === runId ? weighed.others : null
      add(owner, { _tag: "Placed", at, number, runId, server, why, others })
      if (owner.trail !== undefined) owner.trail.weighed = undefined
      return
    }
    case "AttemptEnded": {
      const { ending, number, verdict } = event
      const name = ending._tag === "Failed" ? ending.error.reason._tag : ending._tag
      const recalled = ending._tag === "Cancelled" && ending.by === "us" && verdict === "another-server"
      return add(owner, {
        _tag: "AttemptEnded",
        at,
        number,
        ending: name,
        evidence: evidence(ending),
        verdict,
        recalled
      })
    }
    case "Collected": {
      const { bytes, files, ms, sink } = event
      return add(owner, { _tag: "Collected", at, sink, files, bytes, ms })
    }
    default:
  }
}
