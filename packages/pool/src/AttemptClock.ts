/**
 * The policy clocks of one attempt: how long it may take to start, how long a node may say nothing, how long all of it may
 * take. Pure: events and times in, the moment of the next look and at most one verdict out. They say when waiting ends;
 * whether the run was lost, the backend says.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"

/** All in milliseconds; `Infinity` switches a clock off. */
export interface Options {
  /** From acceptance until the first sign of the run, counted only while nothing is ahead of it on its server. */
  readonly startMs: number
  /** Of a node that has not said anything yet: loading a model says nothing. */
  readonly firstProgressMs: number
  /** Between two signs of any node at least … */
  readonly betweenStepsMs: number
  /** … or so many times its median step. */
  readonly stepFactor: number
  /** Silence after which a warning is given, once for each silence. */
  readonly warnMs: number
  /** Of the whole attempt, from its placement. */
  readonly totalMs: number
  /**
   * What is known of this workflow on this server: with it a node may be silent for `max(floorMs, factor × p99)` before
   * its first progress, in the place of `firstProgressMs`, be that shorter or longer.
   */
  readonly known: { readonly p99Ms: number; readonly floorMs: number; readonly factor: number } | undefined
  /** A limit of the job's own in the place of those of nodes. */
  readonly nodeIdleMs: number | undefined
}

interface Node {
  lastStep: number
  steps: number
  /** The last intervals between steps, as many as {@link maxSteps}, oldest overwritten. */
  readonly intervals: Array<number>
}

/** Enough for a median that follows a change of pace. */
const maxSteps = 32

/** Nodes that run at once are few; beyond this the oldest is no longer watched. */
const maxNodes = 1_000

/** Owned and updated in place by its one driver. */
export interface State {
  readonly options: Options
  readonly startedAt: number
  acceptedAt: number | undefined
  /** Nothing is ahead since then; undefined while something is. */
  aheadClearAt: number | undefined
  begun: boolean
  /** The last sign of any node. */
  lastSign: number
  /** This silence was told. */
  warned: boolean
  readonly nodes: Map<string, Node>
}

export const init = (options: Options, now: number): State => ({
  options,
  startedAt: now,
  acceptedAt: undefined,
  aheadClearAt: undefined,
  begun: false,
  lastSign: now,
  warned: false,
  nodes: new Map()
})

/** Plain figures, for people. */
export const snapshot = (state: State) => ({
  begun: state.begun,
  lastSign: state.lastSign,
  nodes: [...state.nodes].map(([nodeId, { steps }]) => ({ nodeId, steps }))
})

/** What the clocks say. `Stuck` in its place is the backend's word. */
export type Verdict =
  | { readonly _tag: "TimedOut"; readonly reason: Extract<Reason, { readonly _tag: "StartTimeout" | "NodeTimeout" }> }
  | { readonly _tag: "TotalTimeout"; readonly limitMs: number }
  | { readonly _tag: "Warn"; readonly nodeId: string | null; readonly silentMs: number }

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const idleLimit = ({ options }: State, node: Node | undefined): number => {
  if (options.nodeIdleMs !== undefined) return options.nodeIdleMs
  if (node !== undefined && node.steps > 0) {
    return Math.max(options.betweenStepsMs, options.stepFactor * median(node.intervals))
  }
  const { known } = options
  return known === undefined ? options.firstProgressMs : Math.max(known.floorMs, known.factor * known.p99Ms)
}

const sign = (state: State, now: number): void => {
  state.begun = true
  state.lastSign = now
  state.warned = false
}

/** Takes an event of the run. */
export const step = (state: State, event: ExecutionEvent, now: number): void => {
  const { nodes } = state
  switch (event._tag) {
    case "Submitted":
      state.acceptedAt = now
      state.aheadClearAt ??= now
      state.lastSign = now
      break
    case "NodeStarted": {
      sign(state, now)
      nodes.delete(event.nodeId)
      nodes.set(event.nodeId, { lastStep: now, steps: 0, intervals: [] })
      if (nodes.size > maxNodes) {
        for (const oldest of nodes.keys()) {
          nodes.delete(oldest)
          break
        }
      }
      break
    }
    case "NodeProgress": {
      sign(state, now)
      const node = nodes.get(event.nodeId)
      if (node === undefined) break
      if (node.steps > 0) node.intervals[(node.steps - 1) % maxSteps] = now - node.lastStep
      node.steps++
      node.lastStep = now
      break
    }
    case "NodeFinished":
      sign(state, now)
      nodes.delete(event.nodeId)
      break
    case "Gap":
      // What was missed may have been a sign: every clock begins anew.
      rearm(state, now)
      break
    case "NodeText":
    case "Preview":
    case "Started":
    case "NodesCached":
    case "NodeOutput":
      sign(state, now)
      break
    default:
      break
  }
}

/** Something is ahead of the run on its server, or nothing is any more. */
export const ahead = (state: State, somethingIs: boolean, now: number): void => {
  state.aheadClearAt = somethingIs ? undefined : state.aheadClearAt ?? now
}

/** Begins every wait anew: after a gap, or when the event loop stood still. */
export const rearm = (state: State, now: number): void => {
  state.lastSign = now
  if (state.aheadClearAt !== undefined) state.aheadClearAt = now
}

const mostPatient = (state: State): { readonly nodeId: string | null; readonly limitMs: number } => {
  let found: { readonly nodeId: string | null; readonly limitMs: number } | undefined
  for (const [nodeId, node] of state.nodes) {
    const limitMs = idleLimit(state, node)
    if (found === undefined || limitMs > found.limitMs) found = { nodeId, limitMs }
  }
  return found ?? { nodeId: null, limitMs: idleLimit(state, undefined) }
}

interface Wait {
  readonly at: number
  readonly verdict: Verdict
}

const sooner = (best: Wait | undefined, wait: Wait): Wait => best === undefined || wait.at < best.at ? wait : best

/** The first of the clocks that runs out, and what it says then. */
export const next = (state: State): Wait | undefined => {
  const { options } = state
  let best: Wait | undefined
  const consider = (at: number, verdict: Verdict): void => {
    if (Number.isFinite(at)) best = sooner(best, { at, verdict })
  }
  const { totalMs } = options
  consider(state.startedAt + totalMs, { _tag: "TotalTimeout", limitMs: totalMs })
  if (state.acceptedAt === undefined) return best
  if (!state.begun) {
    const { startMs } = options
    if (state.aheadClearAt !== undefined) {
      consider(state.aheadClearAt + startMs, {
        _tag: "TimedOut",
        reason: { _tag: "StartTimeout", limitMs: startMs }
      })
    }
    return best
  }
  // A node that holds the interpreter silences all others: what is silent is the run, for as long as its most patient node.
  const patient = mostPatient(state)
  const { limitMs, nodeId } = patient
  consider(state.lastSign + limitMs, { _tag: "TimedOut", reason: { _tag: "NodeTimeout", nodeId, limitMs } })
  if (!state.warned && options.warnMs < limitMs) {
    consider(state.lastSign + options.warnMs, { _tag: "Warn", nodeId, silentMs: options.warnMs })
  }
  return best
}

/** The verdict of a clock that has run out; a warning is given once for each silence. */
export const due = (state: State, now: number): Verdict | undefined => {
  const first = next(state)
  if (first === undefined || first.at > now) return undefined
  if (first.verdict._tag === "Warn") state.warned = true
  return first.verdict
}
