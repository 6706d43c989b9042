/**
 * The time of a run, dealt out to the nodes that run in it as it passes: constant work per start and end, whatever runs
 * beside it.
 */
import { maxParallel, type NodeState } from "../NodeProfile.ts"

/** One node as it is known so far. Owned by its sweep. */
export interface Entry {
  readonly nodeId: string
  readonly displayId: string
  parentId: string | null
  classType: string | null
  readonly title: string | null
  state: NodeState
  executions: number
  startMs: number | null
  endMs: number | null
  /** Of the executions that are over; null where one ran unseen. */
  durationMs: number | null
  exclusiveMs: number
  inferred: boolean
  progress: { value: number; max: number; steps: number; timed: number; timedMs: number; atMs: number } | null
  parallelWith: Set<string> | undefined
  /** Since when it runs. */
  openSince: number | null
  /** The reading of `dealt` since when it has its part. */
  activeSince: number
  /** What it expanded into and runs: meanwhile it waits. */
  children: number
  parent: Entry | undefined
}

/** What the nodes shown under one node of the prompt took together: not more than the time that passed. */
interface Busy {
  active: number
  since: number
  ms: number
}

/** Owned and updated in place by its profile. */
export interface Sweep {
  now: number
  /** The execution has begun: time counts. */
  counting: boolean
  /** What a node that ran all the time would have got. */
  dealt: number
  /** Milliseconds of the execution in which no node ran. */
  idleMs: number
  readonly open: Set<Entry>
  /** Those of the open ones that do not wait for what they expanded into. */
  readonly active: Set<Entry>
  /** Active since this very instant: nobody ran beside them yet. */
  readonly fresh: Set<Entry>
  /** By the id of a node of the prompt. */
  readonly busy: ReadonlyMap<string, Busy>
}

/** No time has passed. `nodeIds`: of the prompt, whose time is told apart. */
export const make = (nodeIds: Iterable<string>): Sweep => {
  const busy = new Map<string, Busy>()
  for (const id of nodeIds) busy.set(id, { active: 0, since: 0, ms: 0 })
  return {
    now: 0,
    counting: false,
    dealt: 0,
    idleMs: 0,
    open: new Set(),
    active: new Set(),
    fresh: new Set(),
    busy
  }
}

/** A node that has done nothing yet. */
export const entry = (
  nodeId: string,
  displayId: string,
  state: NodeState,
  told: { readonly parentId: string | null; readonly classType: string | null; readonly title: string | null }
): Entry => ({
  nodeId,
  displayId,
  parentId: told.parentId,
  classType: told.classType,
  title: told.title,
  state,
  executions: 0,
  startMs: null,
  endMs: null,
  durationMs: 0,
  exclusiveMs: 0,
  inferred: false,
  progress: null,
  parallelWith: undefined,
  openSince: null,
  activeSince: 0,
  children: 0,
  parent: undefined
})

const meet = (one: Entry, other: Entry): void => {
  one.parallelWith ??= new Set()
  if (one.parallelWith.size < maxParallel) one.parallelWith.add(other.nodeId)
}

const introduce = ({ active, fresh }: Sweep): void => {
  for (const one of fresh) {
    for (const other of active) {
      if (other === one) continue
      meet(one, other)
      meet(other, one)
      if (one.parallelWith?.size === maxParallel) break
    }
  }
}

/** Time passes; never back, and never so far that sums lose their digits, whatever the clock says. */
export const advance = (sweep: Sweep, elapsed: number): void => {
  const passed = elapsed - sweep.now
  if (!(passed > 0 && elapsed <= Number.MAX_SAFE_INTEGER)) return
  sweep.now = elapsed
  if (sweep.counting) {
    const { size } = sweep.active
    if (size === 0) sweep.idleMs += passed
    else sweep.dealt += passed / size
    if (size > 1 && sweep.fresh.size > 0) introduce(sweep)
  }
  sweep.fresh.clear()
}

const activate = (sweep: Sweep, entry: Entry): void => {
  entry.activeSince = sweep.dealt
  sweep.active.add(entry)
  sweep.fresh.add(entry)
  const busy = sweep.busy.get(entry.displayId)
  if (busy !== undefined && busy.active++ === 0) busy.since = sweep.now
}

const deactivate = (sweep: Sweep, entry: Entry): void => {
  if (!sweep.active.delete(entry)) return
  sweep.fresh.delete(entry)
  entry.exclusiveMs += sweep.dealt - entry.activeSince
  const busy = sweep.busy.get(entry.displayId)
  if (busy !== undefined && --busy.active === 0) busy.ms += sweep.now - busy.since
}

/** An execution of a node begins; `parent` is the node that expanded into it. */
export const start = (sweep: Sweep, entry: Entry, parent: Entry | undefined): void => {
  sweep.counting = true
  entry.state = "running"
  entry.executions++
  entry.startMs ??= sweep.now
  entry.endMs = null
  // Its end was missed: one execution goes over into the next.
  if (entry.openSince !== null) {
    entry.inferred = true
    return
  }
  entry.openSince = sweep.now
  sweep.open.add(entry)
  if (parent !== undefined && parent !== entry && parent.openSince !== null) {
    entry.parent = parent
    parent.children++
    deactivate(sweep, parent)
  }
  if (entry.children === 0) activate(sweep, entry)
}

/** The execution of a node that runs ends. */
export const finish = (sweep: Sweep, entry: Entry, state: NodeState): void => {
  const { openSince, parent } = entry
  entry.state = state
  entry.endMs = sweep.now
  if (openSince === null) return
  deactivate(sweep, entry)
  sweep.open.delete(entry)
  entry.openSince = null
  if (entry.durationMs !== null) entry.durationMs += sweep.now - openSince
  if (parent === undefined) return
  entry.parent = undefined
  if (--parent.children === 0 && parent.openSince !== null) activate(sweep, parent)
}

/** Its time up to now, an execution that goes on included; null where it ran unseen. */
export const durationOf = ({ now }: Sweep, { durationMs, openSince }: Entry): number | null =>
  durationMs === null || openSince === null ? durationMs : durationMs + now - openSince

/** Its part up to now. */
export const exclusiveOf = ({ active, dealt }: Sweep, entry: Entry): number =>
  entry.exclusiveMs + (active.has(entry) ? dealt - entry.activeSince : 0)

/** What was shown under this node of the prompt took so long. */
export const busyOf = ({ busy, now }: Sweep, nodeId: string): number => {
  const known = busy.get(nodeId)
  return known === undefined ? 0 : known.ms + (known.active > 0 ? now - known.since : 0)
}
