/**
 * Nodes that take longer than they should, told while they still run: a fold of the events of many jobs, asked now and then
 * what is due. No clock, no randomness.
 */
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as Schema from "effect/Schema"
import * as ClassEstimates from "./ClassEstimates.ts"

/**
 * One execution of a node that is over its limit. `ranMs`: so far. `by`: the limit is the caller's, or a multiple of
 * `expectedMs`, what its class is known to take there, or on all servers; null where nothing is known, from `samples`
 * executions. `at`: epoch milliseconds of its start.
 */
export const SlowNode = Schema.Struct({
  jobId: JobId,
  server: Schema.NullOr(BackendId),
  nodeId: Schema.String,
  displayId: Schema.String,
  classType: Schema.NullOr(Schema.String),
  at: Schema.Finite,
  ranMs: Schema.Finite,
  limitMs: Schema.Finite,
  by: Schema.Literals(["threshold", "estimate"]),
  expectedMs: Schema.NullOr(Schema.Finite),
  samples: Schema.Int
})
export type SlowNode = typeof SlowNode.Type

/** What is slow: over the threshold, or over so many times the estimate. */
export interface Options {
  /** Milliseconds, whatever is known. Default: none. */
  readonly overMs: number
  /** Times its estimate. Default 3; infinity: none. */
  readonly factor: number
  /** Executions of its class that an estimate rests on at least. Default 5. */
  readonly samples: number
  /** What takes less milliseconds is not slow, whatever was expected. Default 1,000. */
  readonly leastMs: number
}

export const defaults: Options = { overMs: Number.POSITIVE_INFINITY, factor: 3, samples: 5, leastMs: 1_000 }

interface Open extends Omit<SlowNode, "ranMs"> {
  /** Monotonic milliseconds. */
  readonly since: number
}

/** Jobs whose nodes are followed at once, and nodes of one that run at once: beyond, the oldest is not told of. */
const [maxJobs, maxNodes] = [4_096, 64]

/** Owned by its driver; updated in place. */
export interface State {
  readonly options: Options
  /** By job and node, those that run and were not told of. */
  readonly open: Map<JobId, Map<string, Open>>
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  open: new Map()
})

const bound = <K, V>(map: Map<K, V>, cap: number): void => {
  for (const oldest of map.keys()) {
    if (map.size <= cap) return
    map.delete(oldest)
  }
}

type Limit = Pick<SlowNode, "limitMs" | "by" | "expectedMs" | "samples">

/** A run may be a cold one: the longer of both is what is expected. */
const limitOf = (
  { factor, leastMs, overMs, samples: least }: Options,
  classes: ClassEstimates.State,
  server: BackendId | null,
  classType: string | null
): Limit => {
  const known = ClassEstimates.nearest(classes, server, classType, least)
  const samples = known?.samples ?? 0
  const expectedMs = known === undefined || samples < least ? null : Math.max(known.warmMs ?? 0, known.coldMs ?? 0)
  const byEstimate = expectedMs === null ? Number.POSITIVE_INFINITY : Math.max(leastMs, factor * expectedMs)
  return overMs <= byEstimate
    ? { limitMs: overMs, by: "threshold", expectedMs, samples }
    : { limitMs: byEstimate, by: "estimate", expectedMs, samples }
}

const over = ({ since, ...node }: Open, now: number): SlowNode => ({ ...node, ranMs: now - since })

/**
 * Takes an event of a job. One that ends over its limit before `due` was asked is told of here. `now`: monotonic
 * milliseconds.
 */
export const step = (
  state: State,
  classes: ClassEstimates.State,
  event: JobEvent,
  now: number
): ReadonlyArray<SlowNode> => {
  const { open, options } = state
  const { jobId } = event
  if (event._tag !== "Attempt") {
    if (event._tag !== "Transferred" && event._tag !== "Collected") open.delete(jobId)
    return []
  }
  const { event: run } = event
  if (run._tag === "NodeStarted") {
    const limit = limitOf(options, classes, run.backend, run.classType)
    if (limit.limitMs === Number.POSITIVE_INFINITY) return []
    let nodes = open.get(jobId)
    if (nodes === undefined) open.set(jobId, nodes = new Map())
    const { at, backend: server, classType, displayId, nodeId } = run
    nodes.set(nodeId, { jobId, server, nodeId, displayId, classType, at, ...limit, since: now })
    bound(nodes, maxNodes)
    bound(open, maxJobs)
  } else if (run._tag === "NodeFinished") {
    const node = open.get(jobId)?.get(run.nodeId)
    open.get(jobId)?.delete(run.nodeId)
    if (node !== undefined && now - node.since > node.limitMs) return [over(node, now)]
  }
  return []
}

/** Those over their limit by now, each once. */
export const due = ({ open }: State, now: number): ReadonlyArray<SlowNode> => {
  const slow: Array<SlowNode> = []
  for (const nodes of open.values()) {
    for (const [nodeId, node] of nodes) {
      if (now - node.since <= node.limitMs) continue
      nodes.delete(nodeId)
      slow.push(over(node, now))
    }
  }
  return slow
}
