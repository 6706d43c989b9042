/**
 * Where the time of one run went: a fold of its events, node by node. Right for nodes that run at once, loops, expanded
 * nodes, gaps, and runs that failed, were cancelled or lost. Durations are differences of `elapsed`, so that no jump of a
 * wall clock changes them and none is negative.
 */
import { type Ending, type ExecutionEvent, type Gap, isTransient, Via } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { node as nodeOf, type Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Schema from "effect/Schema"
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"
import { ColdSurcharge } from "./ColdSurcharge.ts"
import * as CriticalPath from "./CriticalPath.ts"
import * as Sweep from "./internal/sweep.ts"
import { NodeProfile, type NodeState } from "./NodeProfile.ts"

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
 * - `coldSurchargeMs`: an estimate that the caller adds; see `ColdSurcharge`.
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
  coldSurchargeMs: Schema.NullOr(ColdSurcharge)
})
export type Profile = typeof Profile.Type

/** Node ids that are told apart, beside those of the workflow: a server may make up any number. */
export const maxNodes = 20_000

type Moment = "submittedMs" | "startedMs" | "startedAtMs" | "clockOffsetMs"

/** Owned and updated in place by its one driver. Bounded by the number of nodes, however many events come. */
export interface State extends Record<Moment, number | null> {
  readonly workflow: Workflow | undefined
  readonly chain: CriticalPath.Order | undefined
  readonly sweep: Sweep.Sweep
  readonly entries: Map<string, Sweep.Entry>
  readonly order: Array<string>
  readonly gaps: { socket: number; consumer: number; attached: number }
  runId: RunId | null
  backend: BackendId | null
  ending: Ending | null
  /** Of the last lifecycle event: what is not beyond it was heard before. */
  sequence: number
  /** Of the last gap that was this subscriber's own, which counts no sequence. */
  gapSequence: number
  /** Lifecycle events were missed. */
  lossy: boolean
  /** Nothing was heard of any node since the connection was not whole. */
  blind: boolean
  /** When a node was heard of again: what begins at this very moment began before. */
  resumedMs: number | null
  startInferred: boolean
  unlistedStarts: number
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
  gapSequence: -1,
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

interface Named {
  readonly nodeId: string
  readonly displayId?: string
  readonly parentId?: string | null
  readonly classType?: string | null
}

/** The node by that id, made if nobody has heard of it; undefined beyond the cap. */
const entryOf = (state: State, named: Named, otherwise: NodeState): Sweep.Entry | undefined => {
  const { entries, workflow } = state
  const { nodeId } = named
  const known = entries.get(nodeId)
  if (known !== undefined) {
    known.classType ??= named.classType ?? null
    known.parentId ??= named.parentId ?? null
    return known
  }
  const own = workflow === undefined ? undefined : nodeOf(workflow, nodeId)
  if (own === undefined && entries.size >= maxNodes) return undefined
  const title = own?._meta?.["title"]
  const made = Sweep.entry(nodeId, named.displayId ?? nodeId, otherwise, {
    parentId: named.parentId ?? null,
    classType: named.classType ?? own?.class_type ?? null,
    title: typeof title === "string" ? title : null
  })
  entries.set(nodeId, made)
  return made
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

/**
 * The node that expanded into this one: as the server says, else the nearest one whose id this one's begins with, for
 * `executing` does not say it, and ids of expanded nodes are made that way.
 */
const parentOf = ({ entries }: State, { displayId, nodeId, parentId }: Named): Sweep.Entry | undefined => {
  if (parentId !== null && parentId !== undefined) return entries.get(parentId)
  if (displayId === undefined || displayId === nodeId) return undefined
  let end = nodeId.length
  // The parent is three parts shorter as a rule; a hostile id has millions.
  for (let tries = 0; tries < 16 && end > 0; tries++) {
    end = nodeId.lastIndexOf(".", end - 1)
    if (end <= 0) break
    const parent = entries.get(nodeId.slice(0, end))
    if (parent !== undefined) return parent
  }
  return undefined
}

const startNode = (state: State, named: Named): Sweep.Entry | undefined => {
  const parent = parentOf(state, named)
  const entry = entryOf(state, { ...named, parentId: parent?.nodeId ?? named.parentId ?? null }, "running")
  if (entry === undefined) {
    state.unlistedStarts++
    return undefined
  }
  if (entry.executions === 0) state.order.push(entry.nodeId)
  Sweep.start(state.sweep, entry, parent)
  if (state.resumedMs === state.sweep.now) entry.inferred = true
  return entry
}

const finishNode = (state: State, named: Named): void => {
  const known = state.entries.get(named.nodeId)
  if (known !== undefined && known.openSince !== null) return Sweep.finish(state.sweep, known, "executed")
  if (known !== undefined) {
    known.inferred ||= state.lossy
    return
  }
  // Without a start it had the result of its double in the same prompt, unless its start is what was missed.
  if (state.lossy) ranUnseen(state, named)
  else entryOf(state, named, "cached")
}

const ranUnseen = (state: State, named: Named): void => {
  const entry = entryOf(state, named, "executed")
  if (entry === undefined) return
  entry.executions = Math.max(1, entry.executions)
  entry.endMs = state.sweep.now
  entry.durationMs = null
  entry.inferred = true
}

type Reading = Extract<ExecutionEvent, { readonly _tag: "NodeProgress" }>

const onProgress = (state: State, event: Reading): void => {
  const { max, value } = event
  const { now } = state.sweep
  // An older reading, told again.
  if (!(event.elapsed >= now)) return
  let entry = state.entries.get(event.nodeId)
  if (entry === undefined && state.lossy) {
    entry = startNode(state, event)
    if (entry !== undefined) entry.inferred = true
  }
  // Servers send NaN.
  if (entry === undefined || !Number.isFinite(value) || !Number.isFinite(max)) return
  const last = entry.progress
  if (last === null) {
    entry.progress = { value, max, steps: Math.max(0, value), timed: 0, timedMs: 0, atMs: now }
    return
  }
  const more = value - last.value
  if (now === last.atMs && more <= 0) return
  if (more >= 0) {
    last.steps += more
    last.timed += more
    last.timedMs += now - last.atMs
  } else last.steps += Math.max(0, value)
  last.value = value
  last.max = max
  last.atMs = now
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

/** Whether an error that names the one is about the other: what a node expanded into fails under its own name. */
const names = (nodeId: string, other: string): boolean => other === nodeId || other.startsWith(`${nodeId}.`)

const onFailed = (state: State, ending: Extract<Ending, { readonly _tag: "Failed" }>): void => {
  const { reason } = ending.error
  const nodeId = "nodeId" in reason ? reason.nodeId : null
  if (nodeId === null) return
  const guilty = [...state.sweep.open].filter((entry) => names(nodeId, entry.nodeId))
  for (const entry of guilty) Sweep.finish(state.sweep, entry, "failed")
  if (guilty.length > 0) return
  const named = { nodeId, classType: "classType" in reason ? reason.classType : null }
  const entry = entryOf(state, named, "failed")
  if (entry === undefined) return
  entry.state = "failed"
  entry.inferred = true
  if (entry.executions === 0) entry.durationMs = null
}

const onEnding = (state: State, ending: Ending): void => {
  if (ending._tag === "Failed") onFailed(state, ending)
  for (const entry of [...state.sweep.open]) {
    Sweep.finish(state.sweep, entry, ending._tag === "Completed" ? "executed" : "running")
    entry.inferred = true
  }
  state.ending = ending
  // Where events were missed, silence says nothing.
  if (state.lossy || state.workflow === undefined) return
  for (const nodeId of Object.keys(state.workflow.nodes)) entryOf(state, { nodeId }, "skipped")
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
      for (const nodeId of event.nodeIds) entryOf(state, { nodeId }, "cached")
      break
    case "NodeStarted":
      hear(state)
      startNode(state, event)
      break
    case "NodeProgress":
      hear(state)
      onProgress(state, event)
      break
    case "NodeOutput":
      hear(state)
      if (state.entries.has(event.nodeId)) break
      // After a gap nobody can tell a replayed record from that of a node that ran unseen.
      if (event.cached && !state.lossy) entryOf(state, event, "cached")
      else ranUnseen(state, event)
      break
    case "NodeFinished":
      hear(state)
      finishNode(state, event)
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

const stepsOf = ({ progress }: Sweep.Entry): NodeProfile["progress"] =>
  progress === null ? null : {
    value: progress.value,
    max: progress.max,
    steps: progress.steps,
    stepsPerSecond: progress.timed > 0 && progress.timedMs > 0 ? progress.timed / progress.timedMs * 1_000 : null
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
  const nodes = [...state.entries.values()].map((entry): NodeProfile => {
    const exclusiveMs = Sweep.exclusiveOf(sweep, entry)
    return {
      nodeId: entry.nodeId,
      displayId: entry.displayId,
      parentId: entry.parentId,
      classType: entry.classType,
      title: entry.title,
      state: entry.state,
      executions: entry.executions,
      startMs: entry.startMs,
      endMs: entry.endMs,
      durationMs: Sweep.durationOf(sweep, entry),
      exclusiveMs,
      share: executionMs === null || executionMs === 0 ? 0 : Math.min(1, exclusiveMs / executionMs),
      progress: stepsOf(entry),
      parallelWith: [...entry.parallelWith ?? []],
      inferred: entry.inferred
    }
  })
  const cached = nodes.filter((node) => node.state === "cached").length
  const began = nodes.filter((node) => node.executions > 0).length
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
    slowest: nodes.filter(({ durationMs }) => (durationMs ?? 0) > 0)
      .toSorted((a, b) => (b.durationMs ?? 0) - (a.durationMs ?? 0)).slice(0, 5).map(({ nodeId }) => nodeId),
    cacheRate: cached + began === 0 ? null : cached / (cached + began),
    criticalPath: state.chain === undefined
      ? null
      : CriticalPath.longest(state.chain, (nodeId) => Sweep.busyOf(sweep, nodeId)),
    coldSurchargeMs: null
  }
}

/** The profile of a stream of events, told once it ends. */
export const sink = (workflow?: Workflow): Sink.Sink<Profile, ExecutionEvent> =>
  Sink.map(
    Sink.reduceArray(
      () => init(workflow),
      (state, events: ReadonlyArray<ExecutionEvent>) => events.reduce(step, state)
    ),
    snapshot
  )

/**
 * The profile while it grows. Latest wins: whoever reads slowly gets the profile of now and none of those before, and holds
 * up nobody. The last one is of all events.
 */
export const live = <E, R>(
  events: Stream.Stream<ExecutionEvent, E, R>,
  workflow?: Workflow
): Stream.Stream<Profile, E, R> =>
  Stream.suspend(() => {
    const state = init(workflow)
    return events.pipe(
      Stream.mapArray((batch) => [batch.reduce(step, state)] as const),
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.map(snapshot)
    )
  })
