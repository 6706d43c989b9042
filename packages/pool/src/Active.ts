/** A claimed job on its way: what its attempt is, and what its run has shown so far. */
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Deferred from "effect/Deferred"
import type * as Job from "./Job.ts"
import type { OpenRun } from "./JobHead.ts"
import type { Claim } from "./JobQueue.ts"
import type * as Member from "./Member.ts"
import * as Residency from "./Residency.ts"

/** What a run showed while it went on: whether it began, and what it found in the server's cache. */
export interface Shown {
  accepted: boolean
  startedAt: number | undefined
  began: boolean
  found: "outputs" | "loader" | null | undefined
  /** Nodes that the server had cached, and whose files it may have written long ago. */
  readonly cached: Set<string>
}

/** A claimed job on its way. */
export interface Active {
  readonly entry: Job.Entry
  /** A new one where the lease ran out and nobody else had taken the job. */
  claim: Claim
  readonly member: Member.Member
  readonly run: OpenRun
  /** The run was there before: it is watched, not sent. */
  readonly isLeft: boolean
  readonly shown: Shown
  /** It is taken back for another server. */
  recalled: boolean
  /** The server said that it left the queue unstarted. */
  neverRan: boolean
  /** Somebody wants its run ended. */
  readonly asked: Deferred.Deferred<void>
  /** Being ended by us: done when the server has said what that did. */
  ending: Deferred.Deferred<void> | undefined
}

/** A job that was claimed for this member. */
export const activate = (
  entry: Job.Entry,
  claim: Claim,
  member: Member.Member,
  run: OpenRun,
  isLeft = false
): Active => ({
  entry,
  claim,
  member,
  run,
  isLeft,
  shown: { accepted: isLeft, startedAt: undefined, began: false, found: undefined, cached: new Set() },
  recalled: false,
  neverRan: false,
  asked: Deferred.makeUnsafe(),
  ending: undefined
})

/** Takes in what the run shows. */
export const show = ({ claim, shown }: Active, events: ReadonlyArray<ExecutionEvent>): void => {
  for (const event of events) {
    if (event._tag === "Submitted") shown.accepted = true
    else if (event._tag === "Started") shown.startedAt ??= event.elapsed
    else if (event._tag === "NodesCached") {
      for (const nodeId of event.nodeIds) shown.cached.add(nodeId)
      shown.found = Residency.found(claim.payload.workflow, new Set(event.nodeIds))
    } else if (event._tag === "NodeOutput" && event.cached) shown.cached.add(event.nodeId)
    else if (event._tag === "NodeStarted") shown.began = true
  }
}

/** Whether runs of this job may cost money there, or on any of these servers. */
export const isPaid = (entry: Job.Entry, ...members: ReadonlyArray<Member.Member>): boolean =>
  entry.options.paid ??
    members.some(({ backend, capabilities }) =>
      backend?.paid === true || capabilities !== undefined && !entry.kind.need.classes.isDisjointFrom(capabilities.paid)
    )
