/** The nodes of one run, by what its events say of them. */
import type { ExecutionEvent, Failed } from "@effect-comfyui/execution/ExecutionEvent"
import { node as nodeOf, titleOf, type Workflow } from "@effect-comfyui/workflow/Workflow"
import { maxNodes, type NodeProfile, type NodeState } from "../NodeProfile.ts"
import * as Sweep from "./sweep.ts"

/** Owned and updated in place by its profile. */
export interface Nodes {
  readonly workflow: Workflow | undefined
  readonly sweep: Sweep.Sweep
  readonly entries: Map<string, Sweep.Entry>
  /** Ids as they began first. */
  readonly order: Array<string>
  unlistedStarts: number
  /** Lifecycle events were missed. */
  lossy: boolean
  /** When a node was heard of again after that: what begins at this very moment began before. */
  resumedMs: number | null
}

/** What events say of a node. */
interface Named {
  readonly nodeId: string
  readonly displayId?: string
  readonly parentId?: string | null
  readonly classType?: string | null
}

/** The node by that id, made if nobody has heard of it; undefined beyond the cap. */
export const entryOf = (nodes: Nodes, named: Named, otherwise: NodeState): Sweep.Entry | undefined => {
  const { entries, workflow } = nodes
  const { nodeId } = named
  const known = entries.get(nodeId)
  if (known !== undefined) {
    known.classType ??= named.classType ?? null
    known.parentId ??= named.parentId ?? null
    return known
  }
  const own = workflow === undefined ? undefined : nodeOf(workflow, nodeId)
  if (own === undefined && entries.size >= maxNodes) return undefined
  const made = Sweep.entry(nodeId, named.displayId ?? nodeId, otherwise, {
    parentId: named.parentId ?? null,
    classType: named.classType ?? own?.class_type ?? null,
    title: titleOf(own)
  })
  entries.set(nodeId, made)
  return made
}

/**
 * The node that expanded into this one: as the server says, else the nearest one whose id this one's begins with, for
 * `executing` does not say it, and ids of expanded nodes are made that way.
 */
const parentOf = ({ entries }: Nodes, { displayId, nodeId, parentId }: Named): Sweep.Entry | undefined => {
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

/** It begins, once more perhaps. */
export const startNode = (nodes: Nodes, named: Named): Sweep.Entry | undefined => {
  const parent = parentOf(nodes, named)
  const entry = entryOf(nodes, parent === undefined ? named : { ...named, parentId: parent.nodeId }, "running")
  if (entry === undefined) {
    nodes.unlistedStarts++
    return undefined
  }
  if (entry.executions === 0) nodes.order.push(entry.nodeId)
  Sweep.start(nodes.sweep, entry, parent)
  if (nodes.resumedMs === nodes.sweep.now) entry.inferred = true
  return entry
}

/** It ends. */
export const finishNode = (nodes: Nodes, named: Named): void => {
  const known = nodes.entries.get(named.nodeId)
  if (known !== undefined && known.openSince !== null) return Sweep.finish(nodes.sweep, known, "executed")
  if (known !== undefined) {
    known.inferred ||= nodes.lossy
    return
  }
  // Without a start it had the result of its double in the same prompt, unless its start is what was missed.
  if (nodes.lossy) ranUnseen(nodes, named)
  else entryOf(nodes, named, "cached")
}

/** It ran, and its start was not seen. */
export const ranUnseen = (nodes: Nodes, named: Named): void => {
  const entry = entryOf(nodes, named, "executed")
  if (entry === undefined) return
  entry.executions = Math.max(1, entry.executions)
  entry.endMs = nodes.sweep.now
  entry.durationMs = null
  entry.inferred = true
}

type Reading = Extract<ExecutionEvent, { readonly _tag: "NodeProgress" }>

/** It counts its steps. */
export const onProgress = (nodes: Nodes, event: Reading): void => {
  const { max, value } = event
  const { now } = nodes.sweep
  // An older reading, told again.
  if (!(event.elapsed >= now)) return
  let entry = nodes.entries.get(event.nodeId)
  if (entry === undefined && nodes.lossy) {
    entry = startNode(nodes, event)
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

/** Whether an error that names the one is about the other: what a node expanded into fails under its own name. */
const names = (nodeId: string, other: string): boolean => other === nodeId || other.startsWith(`${nodeId}.`)

/** The node that the error names is the one that failed; it is made where it was never heard of. */
export const onFailed = (nodes: Nodes, ending: Failed): void => {
  const { reason } = ending.error
  const nodeId = "nodeId" in reason ? reason.nodeId : null
  if (nodeId === null) return
  const guilty = [...nodes.sweep.open].filter((entry) => names(nodeId, entry.nodeId))
  for (const entry of guilty) Sweep.finish(nodes.sweep, entry, "failed")
  if (guilty.length > 0) return
  const named = { nodeId, classType: "classType" in reason ? reason.classType : null }
  const entry = entryOf(nodes, named, "failed")
  if (entry === undefined) return
  entry.state = "failed"
  entry.inferred = true
  if (entry.executions === 0) entry.durationMs = null
}

const stepsOf = ({ progress }: Sweep.Entry): NodeProfile["progress"] =>
  progress === null ? null : {
    value: progress.value,
    max: progress.max,
    steps: progress.steps,
    stepsPerSecond: progress.timed > 0 && progress.timedMs > 0 ? progress.timed / progress.timedMs * 1_000 : null
  }

/** A reading of all of them. */
export const read = ({ entries, sweep }: Nodes, executionMs: number | null): ReadonlyArray<NodeProfile> => {
  const all: Array<NodeProfile> = []
  for (const entry of entries.values()) {
    const exclusiveMs = Sweep.exclusiveOf(sweep, entry)
    all.push({
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
      parallelWith: entry.parallelWith === undefined ? [] : [...entry.parallelWith],
      inferred: entry.inferred
    })
  }
  return all
}
