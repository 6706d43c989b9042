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
  /** Ephemeral id → the node it is shown under, of what runs now. */
  readonly running: Map<string, string>
  /** Sum of each node's part, 0 to 1 each. */
  done: number
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

/** A fold over a graph of these nodes; with none given, nodes count as they appear. */
export const init = (nodeIds: Iterable<string> = []): State => ({
  nodes: new Map([...nodeIds].map((id) => [id, waiting(id)])),
  running: new Map(),
  done: 0,
  fraction: 0,
  stage: "waiting"
})

/** How many nodes a server may make up before more of them are no longer told apart. */
const maxNodes = 100_000

const node = (state: State, id: string): Mutable<NodeState> => {
  const known = state.nodes.get(id)
  if (known !== undefined) return known
  const fresh = waiting(id)
  if (state.nodes.size < maxNodes) state.nodes.set(id, fresh)
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
  state.done += part(entry) - before
}

/** Never back, and never 1 before the ending says so. */
const advance = (state: State): void => {
  const size = state.nodes.size
  const now = size === 0 ? 0 : Math.min(state.done / size, 0.999)
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

export const snapshot = (state: State): Snapshot => ({
  fraction: state.fraction,
  stage: state.stage,
  nodes: [...state.nodes.values()].map((entry) => ({ ...entry })),
  running: [...new Set(state.running.values())]
})
