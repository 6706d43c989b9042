/**
 * Which nodes of a run are running: from `progress_state` where the server sends it (0.3.45 and later, the only source
 * that is right for parallel nodes), else from the order of `executing`.
 */
import type { ProgressNode } from "@effect-comfyui/protocol/ServerMessage"

/** A change of one node, in the order in which it was learnt. */
export type Change =
  | { readonly _tag: "Started"; readonly nodeId: string; readonly displayId: string; readonly parentId: string | null }
  | { readonly _tag: "Finished"; readonly nodeId: string; readonly displayId: string }
  | {
    readonly _tag: "Progress"
    readonly nodeId: string
    readonly displayId: string
    readonly value: number
    readonly max: number
  }

interface Running {
  readonly displayId: string
  /** Last reported by `progress_state` and not yet by `progress`, which repeats it. */
  value: number
  max: number
  repeated: boolean
}

/** Owned and updated in place by its run. */
export interface State {
  readonly running: Map<string, Running>
  readonly finished: Set<string>
  /** Announced as cached: replayed without a start. */
  readonly cached: Set<string>
  readonly display: Map<string, string>
  /** The server sends `progress_state`, so the next `executing` does not end the node before it. */
  statesSeen: boolean
  /** The latest `executing`: whose pictures those without a name are. */
  current: string | undefined
}

export const init = (): State => ({
  running: new Map(),
  finished: new Set(),
  cached: new Set(),
  display: new Map(),
  statesSeen: false,
  current: undefined
})

/** Nodes told apart; a graph that expands beyond it goes on without memory of its oldest nodes. */
const maxNodes = 100_000

const forgetOldest = (state: State): void => {
  if (state.finished.size > maxNodes) state.finished.clear()
  if (state.display.size > maxNodes) state.display.clear()
}

/** The node to show this one under. */
export const displayOf = (state: State, nodeId: string): string => state.display.get(nodeId) ?? nodeId

const begin = (
  state: State,
  nodeId: string,
  displayId: string,
  parentId: string | null,
  changes: Array<Change>
): Running => {
  const running: Running = { displayId, value: 0, max: 1, repeated: false }
  state.running.set(nodeId, running)
  state.finished.delete(nodeId)
  if (displayId !== nodeId) state.display.set(nodeId, displayId)
  changes.push({ _tag: "Started", nodeId, displayId, parentId })
  forgetOldest(state)
  return running
}

const end = (state: State, nodeId: string, displayId: string, changes: Array<Change>): void => {
  state.running.delete(nodeId)
  state.finished.add(nodeId)
  changes.push({ _tag: "Finished", nodeId, displayId })
}

/** `executing` names one node, or null at the end of the prompt. */
export const executing = (
  state: State,
  nodeId: string | null,
  displayId: string | null,
  changes: Array<Change>
): void => {
  state.current = nodeId ?? undefined
  if (!state.statesSeen) {
    for (const [id, running] of state.running) if (id !== nodeId) end(state, id, running.displayId, changes)
  }
  if (nodeId !== null && !state.running.has(nodeId)) {
    begin(state, nodeId, displayId ?? displayOf(state, nodeId), null, changes)
  }
}

/** `progress_state` names every node that began so far, each time. */
export const states = (
  state: State,
  nodes: Readonly<Record<string, ProgressNode>>,
  changes: Array<Change>
): void => {
  state.statesSeen = true
  for (const nodeId of Object.keys(nodes)) {
    if (state.finished.has(nodeId) && nodes[nodeId]?.state === "finished") continue
    const node = nodes[nodeId]
    if (node === undefined) continue
    const known = state.running.get(nodeId)
    const displayId = node.display_node_id ?? nodeId
    if (node.state === "finished") {
      // A replayed output node is listed as finished without having begun.
      if (known === undefined && state.cached.has(nodeId)) state.finished.add(nodeId)
      else end(state, nodeId, displayId, changes)
      continue
    }
    if (node.state !== "running") continue
    const running = known ?? begin(state, nodeId, displayId, node.parent_node_id ?? null, changes)
    if (node.value !== running.value || node.max !== running.max) {
      running.value = node.value
      running.max = node.max
      // The first state of a node says 0 of its steps: that it began is told already.
      if (node.value !== 0) {
        running.repeated = true
        changes.push({ _tag: "Progress", nodeId, displayId, value: node.value, max: node.max })
      }
    }
  }
}

/**
 * The node to show a `progress` under; undefined where it says again what `progress_state` said just before, as servers
 * that send both do.
 */
export const progress = (state: State, nodeId: string, value: number, max: number): string | undefined => {
  const running = state.running.get(nodeId)
  if (running === undefined) return displayOf(state, nodeId)
  const repeats = running.repeated && running.value === value && running.max === max
  running.repeated = false
  running.value = value
  running.max = max
  return repeats ? undefined : running.displayId
}
