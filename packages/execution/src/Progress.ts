/**
 * How far a run is: a fold of its events, per node and as one number for the whole graph that never goes back and is
 * exactly 1 at completion, whatever was cached, looped, expanded or skipped.
 */
import type { ExecutionEvent } from "./ExecutionEvent.ts"

/** One node of the prompt; expanded nodes count for the node they are shown under. */
export interface NodeState {
  readonly nodeId: string
  readonly state: "waiting" | "running" | "finished" | "cached"
  /** Steps done of `max`, in the node's own unit; 0 of 1 where the node reports none. */
  readonly value: number
  readonly max: number
  /** How often it began: above 1 in loops. */
  readonly starts: number
  /** `elapsed` of the run when it began first and ended last, milliseconds; null where it did not. */
  readonly startedMs: number | null
  readonly finishedMs: number | null
}

/** A reading; plain data that shares nothing with the fold. */
export interface Snapshot {
  /** Of the whole graph, 0 to 1. */
  readonly fraction: number
  readonly stage: "waiting" | "running" | "completed" | "failed" | "cancelled"
  readonly nodes: ReadonlyArray<NodeState>
  /** Nodes now running, by the id they are shown under. */
  readonly running: ReadonlyArray<string>
}

type Mutable<A> = { -readonly [Key in keyof A]: A[Key] }

/** Owned and updated in place by its one driver. */
export interface State {
  readonly nodes: Map<string, Mutable<NodeState>>
  /** What nodes weigh in the whole, and what those weigh of which nothing is said. */
  readonly weights: ReadonlyMap<string, number> | undefined
  readonly otherWeight: number
  /** Ephemeral id → the node it is shown under, of what runs now. */
  readonly running: Map<string, string>
  /** Sums over the nodes by weight: of all, of what is done, and of that what was cached. */
  size: number
  done: number
  cached: number
  fraction: number
  stage: Snapshot["stage"]
}

const waiting = (nodeId: string): Mutable<NodeState> => ({
  nodeId,
  state: "waiting",
  value: 0,
  max: 1,
  starts: 0,
  startedMs: null,
  finishedMs: null
})

const average = (weights: ReadonlyMap<string, number>): number => {
  let sum = 0
  for (const weight of weights.values()) sum += weight
  return weights.size === 0 ? 1 : sum / weights.size
}

const weightOf = ({ otherWeight, weights }: Pick<State, "otherWeight" | "weights">, id: string): number =>
  weights?.get(id) ?? otherWeight

/**
 * A fold over a graph of these nodes; with none given, nodes count as they appear. `weights`: how much each counts in the
 * whole, such as the milliseconds it is thought to take; positive numbers in any unit. Default: one as much as the other.
 */
export const init = (nodeIds: Iterable<string> = [], weights?: ReadonlyMap<string, number>): State => {
  const state: State = {
    nodes: new Map([...nodeIds].map((id) => [id, waiting(id)])),
    weights,
    otherWeight: weights === undefined ? 1 : average(weights),
    running: new Map(),
    size: 0,
    done: 0,
    cached: 0,
    fraction: 0,
    stage: "waiting"
  }
  for (const id of state.nodes.keys()) state.size += weightOf(state, id)
  return state
}

/** How many nodes a server may make up before more of them are no longer told apart. */
const maxNodes = 100_000

const node = (state: State, id: string): Mutable<NodeState> => {
  const known = state.nodes.get(id)
  if (known !== undefined) return known
  const fresh = waiting(id)
  if (state.nodes.size < maxNodes) {
    state.nodes.set(id, fresh)
    state.size += weightOf(state, id)
  }
  return fresh
}

/** What this node adds to the sum: a running node never counts as done. */
const part = (entry: NodeState): number => {
  if (entry.state === "finished" || entry.state === "cached") return 1
  const ratio = entry.value / entry.max
  // Servers send NaN: it is no progress.
  return entry.state === "running" && ratio > 0 ? Math.min(ratio, 1) * 0.99 : 0
}

const update = (state: State, entry: Mutable<NodeState>, change: Partial<NodeState>): void => {
  const before = part(entry)
  Object.assign(entry, change)
  const weight = weightOf(state, entry.nodeId)
  state.done += (part(entry) - before) * weight
  if (change.state === "cached") state.cached += (1 - before) * weight
}

/** Never back, and never 1 before the ending says so. */
const advance = (state: State): void => {
  const now = state.size === 0 ? 0 : Math.min(state.done / state.size, 0.999)
  if (now > state.fraction) state.fraction = now
}

const isRunning = (state: State, id: string): boolean => {
  for (const shown of state.running.values()) if (shown === id) return true
  return false
}

const finish = (state: State, stage: "failed" | "cancelled"): void => {
  state.stage = stage
  state.running.clear()
}

/** Takes one event; duplicates and late ones change nothing for the worse. */
export const step = (state: State, event: ExecutionEvent): State => {
  if (state.stage !== "waiting" && state.stage !== "running") return state
  switch (event._tag) {
    case "Started":
      state.stage = "running"
      break
    case "NodesCached":
      state.stage = "running"
      for (const id of event.nodeIds) update(state, node(state, id), { state: "cached", value: 1, max: 1 })
      break
    case "NodeStarted": {
      state.stage = "running"
      const entry = node(state, event.displayId)
      state.running.set(event.nodeId, event.displayId)
      update(state, entry, {
        state: "running",
        starts: entry.starts + 1,
        startedMs: entry.startedMs ?? event.elapsed,
        ...(entry.state === "running" ? {} : { value: 0, max: 1 })
      })
      break
    }
    case "NodeProgress": {
      const entry = node(state, event.displayId)
      if (entry.state === "running" || entry.state === "waiting") {
        state.running.set(event.nodeId, event.displayId)
        update(state, entry, {
          state: "running",
          value: event.value,
          max: event.max,
          startedMs: entry.startedMs ?? event.elapsed
        })
      }
      break
    }
    case "NodeFinished": {
      state.running.delete(event.nodeId)
      const entry = node(state, event.displayId)
      if (!isRunning(state, event.displayId) && entry.state !== "cached") {
        update(state, entry, { state: "finished", value: entry.max, finishedMs: event.elapsed })
      }
      break
    }
    case "Completed":
      state.stage = "completed"
      state.running.clear()
      state.fraction = 1
      return state
    case "Failed":
      finish(state, "failed")
      return state
    case "Cancelled":
      finish(state, "cancelled")
      return state
    default:
      return state
  }
  advance(state)
  return state
}

/** How much of the work is done that was not cached, 0 to 1: what has taken time, of all that takes any. */
export const workDone = ({ cached, done, size, stage }: State): number => {
  if (stage === "completed") return 1
  const work = size - cached
  return work <= 0 ? 0 : Math.min(Math.max((done - cached) / work, 0), 1)
}

export const snapshot = (state: State): Snapshot => ({
  fraction: state.fraction,
  stage: state.stage,
  nodes: [...state.nodes.values()].map((entry) => ({ ...entry })),
  running: [...new Set(state.running.values())]
})
