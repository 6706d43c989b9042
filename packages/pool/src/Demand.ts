/**
 * What those who add and release machines want to know: how long jobs will wait for the servers that can run them, how
 * many more of those would help, and which servers nobody needs. Pure; times are milliseconds.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"

/** What is wanted of the answer. Times in milliseconds. */
export interface Options {
  /** The last job that waits shall begin within this. */
  readonly target: number
  /** Servers worth adding to one group, at most. */
  readonly maxAdding: number
  /** A server that was idle for so long is worth releasing. */
  readonly idle: number
}

const { idle, maxAdding, named, target } = Defaults.demand

export const defaults: Options = { target: Duration.toMillis(target), maxAdding, idle: Duration.toMillis(idle) }

/** Jobs of one kind that wait. */
export interface Waiting {
  readonly key: AffinityKey
  readonly jobs: number
  /** What one of them is thought to take. */
  readonly jobMs: number
  /** What they ask of servers beside classes and files. */
  readonly tags: ReadonlyArray<string>
  readonly vramBytes: number
  /** Servers that can run them, now or when they have come up. */
  readonly servers: ReadonlySet<BackendId>
}

/** One server as far as demand goes. */
export interface Machine {
  readonly id: BackendId
  /** Until it is free; infinity: nobody knows. */
  readonly busyMs: number
  /** Since when it has had nothing to do; 0 while it has. */
  readonly idleMs: number
  readonly tags: ReadonlyArray<string>
  readonly costPerHour: number | undefined
  /** Its owner would want it back: it costs something, or can be given back. */
  readonly isReleasable: boolean
}

/** Jobs that the same servers can run. Lists name the first hundred. */
export interface Group {
  /** Affinity keys of the jobs. */
  readonly keys: ReadonlyArray<AffinityKey>
  /** Tags that any of them asks for, and the most VRAM in bytes. */
  readonly tags: ReadonlyArray<string>
  readonly vramBytes: number
  readonly jobs: number
  /** What all of them are thought to take. */
  readonly workMs: number
  readonly servers: ReadonlyArray<BackendId>
  /** Until the last of them begins, were the servers theirs alone; null: no server can run them, or nobody knows. */
  readonly waitMs: number | null
  /** Idle servers of this kind that bring the wait under the target; more would not help more. */
  readonly worthAdding: number
}

/** All of it at one instant; plain JSON. */
export interface Demand {
  /** Those with the most work first, at most a hundred. */
  readonly groups: ReadonlyArray<Group>
  /** Idle for long and needed by no job that waits, the dearest first; of every set of tags one server stays. */
  readonly worthReleasing: ReadonlyArray<BackendId>
}

/** How many of them have begun by then, each server taking the next when it has done one. */
const begun = (busy: ReadonlyArray<number>, jobMs: number, at: number): number =>
  busy.reduce((count, from) => from > at ? count : count + Math.floor((at - from) / jobMs) + 1, 0)

/**
 * Until the last of so many jobs begins, on servers that are free after these times: the least time by which as many have
 * begun. Infinity without a server. More servers never make it longer.
 */
export const waitOf = (busyMs: ReadonlyArray<number>, jobs: number, jobMs: number): number => {
  const busy = busyMs.filter(Number.isFinite).map((ms) => Math.max(0, Math.round(ms)))
  const each = Math.max(1, Math.round(jobMs))
  if (busy.length === 0) return Number.POSITIVE_INFINITY
  let low = 0
  let high = busy.reduce((least, ms) => Math.min(least, ms), Number.POSITIVE_INFINITY) + jobs * each
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (begun(busy, each, middle) >= jobs) high = middle
    else low = middle + 1
  }
  return low
}

const addingFor = (busy: ReadonlyArray<number>, jobs: number, jobMs: number, options: Options): number => {
  const isEnough = (more: number) =>
    waitOf([...busy, ...Array.from({ length: more }, () => 0)], jobs, jobMs) <= options.target
  let low = 0
  let high = Math.min(jobs, options.maxAdding)
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (isEnough(middle)) high = middle
    else low = middle + 1
  }
  return low
}

/** The servers, or what is asked of one that is not there. */
const groupKey = ({ servers, tags, vramBytes }: Waiting): string =>
  JSON.stringify(servers.size > 0 ? [...servers].toSorted() : [[], tags.toSorted(), vramBytes])

const first = <A>(all: Iterable<A>): ReadonlyArray<A> => [...new Set(all)].slice(0, named)

const groupOf = (
  [some, ...others]: readonly [Waiting, ...ReadonlyArray<Waiting>],
  machines: ReadonlyMap<BackendId, Machine>,
  options: Options
): Group => {
  const kinds = [some, ...others]
  const servers = [...some.servers]
  const busy = servers.map((id) => machines.get(id)?.busyMs ?? Number.POSITIVE_INFINITY)
  const jobs = kinds.reduce((total, kind) => total + kind.jobs, 0)
  const workMs = kinds.reduce((total, kind) => total + kind.jobs * kind.jobMs, 0)
  const waitMs = waitOf(busy, jobs, workMs / jobs)
  return {
    keys: first(kinds.map(({ key }) => key)),
    tags: first(kinds.flatMap(({ tags }) => tags)),
    vramBytes: Math.max(...kinds.map(({ vramBytes }) => vramBytes)),
    jobs,
    workMs,
    servers: first(servers),
    waitMs: Number.isFinite(waitMs) ? waitMs : null,
    worthAdding: addingFor(busy, jobs, workMs / jobs, options)
  }
}

const releasable = (
  waiting: ReadonlyArray<Waiting>,
  machines: ReadonlyArray<Machine>,
  options: Options
): ReadonlyArray<BackendId> => {
  const nameOf = ({ tags }: Machine) => JSON.stringify(tags.toSorted())
  const left = new Map<string, number>()
  for (const machine of machines) left.set(nameOf(machine), (left.get(nameOf(machine)) ?? 0) + 1)
  return machines
    .filter(({ id, idleMs, isReleasable }) =>
      isReleasable && idleMs >= options.idle && !waiting.some(({ servers }) => servers.has(id))
    )
    .toSorted((a, b) => (b.costPerHour ?? 0) - (a.costPerHour ?? 0))
    .filter((machine) => {
      const name = nameOf(machine)
      const of = left.get(name) ?? 0
      if (of <= 1) return false
      left.set(name, of - 1)
      return true
    })
    .slice(0, named)
    .map(({ id }) => id)
}

/** What waits, held against what is there. Kinds without a job count for nothing. */
export const of = (
  waiting: ReadonlyArray<Waiting>,
  machines: ReadonlyArray<Machine>,
  options: Options = defaults
): Demand => {
  const wanted = waiting.filter(({ jobs }) => jobs > 0)
  const byId = new Map(machines.map((machine) => [machine.id, machine]))
  const groups = new Map<string, [Waiting, ...Array<Waiting>]>()
  for (const kind of wanted) {
    const name = groupKey(kind)
    const known = groups.get(name)
    if (known === undefined) groups.set(name, [kind])
    else known.push(kind)
  }
  return {
    groups: [...groups.values()].map((kinds) => groupOf(kinds, byId, options))
      .toSorted((a, b) => b.workMs - a.workMs)
      .slice(0, named),
    worthReleasing: releasable(wanted, machines, options)
  }
}
