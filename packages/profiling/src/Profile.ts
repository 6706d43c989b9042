/**
 * Where the time of one run went: a fold of its events, node by node. Right for nodes that run at once, loops, expanded
 * nodes, gaps, and runs that failed, were cancelled or lost. Durations are differences of `elapsed`, so that no jump of a
 * wall clock changes them and none is negative.
 */
import { type Ending, type ExecutionEvent, type Gap, isTransient, Via } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Schema from "effect/Schema"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import * as ColdSurcharge from "./ColdSurcharge.ts"
import * as CriticalPath from "./CriticalPath.ts"
import type * as Estimates from "./Estimates.ts"
import * as Lift from "./internal/lift.ts"
import * as Nodes from "./internal/nodes.ts"
import * as Sweep from "./internal/sweep.ts"
import { NodeProfile } from "./NodeProfile.ts"

/**
 * A run. Times are milliseconds on its monotonic clock, 0 at the submission (or attach); null where they did not come or
 * were not seen.
 *
 * - `startedAtMs`: when it started, epoch milliseconds by the server's clock where that was told, else by ours;
 *   `clockOffsetMs` is the server's clock minus ours, null where the server did not tell the time.
 * - `queueMs`: from the server's acceptance to the start; `executionMs`: from the start to the end, or to now;
 *   `totalMs`: from 0 to the end, or to now; `idleMs`: that part of the execution in which no node ran.
 * - `queueInferred`, `executionInferred`: a start or an end was not seen when it happened.
 * - `order`: ids as they began first; `slowest`: the five longest, longest first; `cacheRate`: cached nodes among those that
 *   were cached or began, null without any.
 * - `criticalPath`: the longest chain along the links of the workflow, expanded nodes counted for the node they are shown
 *   under; null without a workflow.
 * - `gaps`: how often events were missed, by cause. `reason`: of a failure, the tag of its error.
 * - `unlistedStarts`: starts of nodes beyond the 20,000 ids that are told apart; their time counts as idle.
 * - `coldSurchargeMs`: an estimate, null until `withColdSurcharge` adds it.
 */
export const Profile = Schema.Struct({
  runId: Schema.NullOr(RunId),
  backend: Schema.NullOr(BackendId),
  state: Schema.Literals(["waiting", "running", "completed", "failed", "cancelled"]),
  via: Schema.NullOr(Via),
  reason: Schema.NullOr(Schema.String),
  startedAtMs: Schema.NullOr(Schema.Finite),
  clockOffsetMs: Schema.NullOr(Schema.Finite),
  submittedMs: Schema.NullOr(Schema.Finite),
  startedMs: Schema.NullOr(Schema.Finite),
  queueMs: Schema.NullOr(Schema.Finite),
  executionMs: Schema.NullOr(Schema.Finite),
  totalMs: Schema.Finite,
  idleMs: Schema.Finite,
  queueInferred: Schema.Boolean,
  executionInferred: Schema.Boolean,
  gaps: Schema.Struct({ socket: Schema.Int, consumer: Schema.Int, attached: Schema.Int }),
  nodes: Schema.Array(NodeProfile),
  unlistedStarts: Schema.Int,
  order: Schema.Array(Schema.String),
  slowest: Schema.Array(Schema.String),
  cacheRate: Schema.NullOr(Schema.Finite),
  criticalPath: Schema.NullOr(CriticalPath.CriticalPath),
  coldSurchargeMs: Schema.NullOr(ColdSurcharge.ColdSurcharge)
})
export type Profile = typeof Profile.Type

type Moment = "submittedMs" | "startedMs" | "startedAtMs" | "clockOffsetMs"

/** Owned and updated in place by its one driver. Bounded by the number of nodes, however many events come. */
export interface State extends Nodes.Nodes, Record<Moment, number | null> {
  readonly chain: CriticalPath.Order | undefined
  readonly gaps: { socket: number; consumer: number; attached: number }
  runId: RunId | null
  backend: BackendId | null
  ending: Ending | null
  /** Of the last lifecycle event: what is not beyond it was heard before. */
  sequence: number
  /** Of the last gap that was this subscriber's own, which counts no sequence. */
  gapSequence: number
  /** Nothing was heard of any node since the connection was not whole. */
  blind: boolean
  startInferred: boolean
}

/** A profile of nothing yet. With the workflow it knows titles, skipped nodes and the critical path. */
export const init = (workflow?: Workflow): State => ({
  workflow,
  chain: workflow === undefined ? undefined : CriticalPath.order(workflow),
  sweep: Sweep.make(workflow === undefined ? [] : Object.keys(workflow.nodes)),
  entries: new Map(),
  order: [],
  gaps: { socket: 0, consumer: 0, attached: 0 },
  runId: null,
  backend: null,
  ending: null,
  submittedMs: null,
  startedMs: null,
  startedAtMs: null,
  clockOffsetMs: null,
  sequence: -1,
  gapSequence: -2,
  lossy: false,
  blind: false,
  resumedMs: null,
  startInferred: false,
  unlistedStarts: 0
})

/** Somebody else's, heard before, or after the end. */
const isForeign = (state: State, event: ExecutionEvent): boolean => {
  if (state.ending !== null || (state.runId !== null && state.runId !== event.runId)) return true
  if (isTransient(event)) return event.sequence < state.sequence
  if (event._tag === "Gap" && event.cause === "consumer") {
    return event.sequence < state.sequence || event.sequence <= state.gapSequence
  }
  return event.sequence <= state.sequence
}

const begin = (state: State, inferred: boolean): void => {
  if (state.startedMs !== null) return
  state.startedMs = state.sweep.now
  state.startInferred = inferred
  state.sweep.counting = true
}

/** A node is heard of: the run goes on, and what was missed is over. */
const hear = (state: State): void => {
  begin(state, true)
  if (!state.blind) return
  state.blind = false
  state.resumedMs = state.sweep.now
}

const onGap = (state: State, { cause, lifecycle, sequence }: Gap): void => {
  state.gaps[cause]++
  if (cause === "consumer") {
    state.gapSequence = sequence
    if (lifecycle === 0) return
  } else state.blind = true
  state.lossy = true
  for (const entry of state.sweep.open) entry.inferred = true
}

const onEnding = (state: State, ending: Ending): void => {
  if (ending._tag === "Failed") Nodes.onFailed(state, ending)
  for (const entry of [...state.sweep.open]) {
    Sweep.finish(state.sweep, entry, ending._tag === "Completed" ? "executed" : "running")
    entry.inferred = true
  }
  state.ending = ending
  // Where events were missed, silence says nothing.
  if (state.lossy || state.workflow === undefined) return
  for (const nodeId of Object.keys(state.workflow.nodes)) Nodes.entryOf(state, { nodeId }, "skipped")
}

/**
 * Takes one event. What was heard before, is of another run, or comes after the ending changes nothing, so that the whole
 * list at once, event by event, or with repetitions gives the same profile.
 */
export const step = (state: State, event: ExecutionEvent): State => {
  if (isForeign(state, event)) return state
  const { sweep } = state
  state.runId ??= event.runId
  state.backend ??= event.backend
  if (!isTransient(event)) state.sequence = event.sequence
  Sweep.advance(sweep, event.elapsed)
  switch (event._tag) {
    case "Submitted":
      state.submittedMs ??= sweep.now
      break
    case "Started":
      begin(state, state.lossy && event.serverAt === null)
      state.startedAtMs ??= event.serverAt ?? event.at
      if (event.serverAt !== null) state.clockOffsetMs ??= event.serverAt - event.at
      break
    case "NodesCached":
      begin(state, true)
      for (const nodeId of event.nodeIds) Nodes.entryOf(state, { nodeId }, "cached")
      break
    case "NodeStarted":
      hear(state)
      Nodes.startNode(state, event)
      break
    case "NodeProgress":
      hear(state)
      Nodes.onProgress(state, event)
      break
    case "NodeOutput":
      hear(state)
      if (state.entries.has(event.nodeId)) break
      // After a gap nobody can tell a replayed record from that of a node that ran unseen.
      if (event.cached && !state.lossy) Nodes.entryOf(state, event, "cached")
      else Nodes.ranUnseen(state, event)
      break
    case "NodeFinished":
      hear(state)
      Nodes.finishNode(state, event)
      break
    case "Gap":
      onGap(state, event)
      break
    case "Completed":
    case "Failed":
    case "Cancelled":
      onEnding(state, event)
      break
    default:
      break
  }
  return state
}

/** Takes an ending that was decided elsewhere, as by a pool whose patience ran out; it has no place in the run's sequence. */
export const conclude = (state: State, ending: Ending): State => {
  if (state.ending !== null || (state.runId !== null && state.runId !== ending.runId)) return state
  state.runId ??= ending.runId
  state.backend ??= ending.backend
  Sweep.advance(state.sweep, ending.elapsed)
  onEnding(state, ending)
  return state
}

const stateOf = ({ ending, startedMs }: State): Profile["state"] => {
  switch (ending?._tag) {
    case "Completed":
      return "completed"
    case "Failed":
      return "failed"
    case "Cancelled":
      return "cancelled"
    case undefined:
      return startedMs === null ? "waiting" : "running"
  }
}

/** A reading; plain data that shares nothing with the fold. Linear in the number of nodes. */
export const snapshot = (state: State): Profile => {
  const { ending, startedMs, submittedMs, sweep } = state
  const executionMs = startedMs === null ? null : sweep.now - startedMs
  const nodes = Nodes.read(state, executionMs)
  let [cached, began] = [0, 0]
  const timed: Array<NodeProfile> = []
  for (const node of nodes) {
    if (node.state === "cached") cached++
    if (node.executions > 0) began++
    if (node.durationMs !== null && node.durationMs > 0) timed.push(node)
  }
  return {
    runId: state.runId,
    backend: state.backend,
    state: stateOf(state),
    via: ending?.via ?? null,
    reason: ending?._tag === "Failed" ? ending.error.reason._tag : null,
    startedAtMs: state.startedAtMs,
    clockOffsetMs: state.clockOffsetMs,
    submittedMs,
    startedMs,
    queueMs: submittedMs === null || startedMs === null ? null : Math.max(0, startedMs - submittedMs),
    executionMs,
    totalMs: sweep.now,
    idleMs: sweep.idleMs,
    queueInferred: state.startInferred,
    executionInferred: state.startInferred || (state.lossy && ending?.via === "http"),
    gaps: { ...state.gaps },
    nodes,
    unlistedStarts: state.unlistedStarts,
    order: [...state.order],
    slowest: timed.toSorted((a, b) => (b.durationMs ?? 0) - (a.durationMs ?? 0)).slice(0, 5).map(({ nodeId }) =>
      nodeId
    ),
    cacheRate: cached + began === 0 ? null : cached / (cached + began),
    criticalPath: state.chain === undefined
      ? null
      : CriticalPath.longest(state.chain, (nodeId) => Sweep.busyOf(sweep, nodeId)),
    coldSurchargeMs: null
  }
}

/**
 * The profile of a run that was cold, with what that is thought to have cost beside warm runs of its key: null while there is
 * nothing to compare with. Whether a run was cold is for the caller to know.
 */
export const withColdSurcharge = (profile: Profile, estimates: Estimates.State, key: AffinityKey): Profile => ({
  ...profile,
  coldSurchargeMs: profile.backend === null ? null : ColdSurcharge.estimate(estimates, profile.backend, key)
})

/** The profile of a stream of events, told once it ends. */
export const sink = (workflow?: Workflow): Sink.Sink<Profile, ExecutionEvent> =>
  Lift.sink({ init: () => init(workflow), step, snapshot })

/**
 * The profile while it grows. Latest wins: whoever reads slowly gets the profile of now and none of those before, and holds
 * up nobody. The last one is of all events.
 */
export const live = <E, R>(
  events: Stream.Stream<ExecutionEvent, E, R>,
  workflow?: Workflow
): Stream.Stream<Profile, E, R> => Lift.live(events, { init: () => init(workflow), step, snapshot })
