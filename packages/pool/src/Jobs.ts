/** The jobs that a pool knows: those that are open, and the last that ended. */
import * as EventLog from "@effect-comfyui/execution/EventLog"
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import * as Recent from "./internal/recent.ts"
import * as Job from "./Job.ts"
import type { Need } from "./Need.ts"

/** What all jobs of one kind have in common: they want the same models, and the same of servers. */
export interface Kind {
  readonly affinity: AffinityKey
  /** What is asked of servers beside classes and files, as text; `""` for nothing. */
  readonly placement: string
  readonly need: Need
  /** Open jobs of this kind; it is forgotten with the last. */
  jobs: number
}

/** Owned and updated in place by its pool. */
export interface Jobs {
  readonly open: Map<JobId, Job.Entry>
  /** Ended ones: at most so many, and none longer than so long. */
  readonly ended: Recent.Recent<JobId, Job.Entry>
  readonly kinds: Map<AffinityKey, Map<string, Kind>>
}

export const make = (cap: number = Defaults.queue.history): Jobs => ({
  open: new Map(),
  ended: Recent.make(cap, Duration.toMillis(Defaults.queue.historyAge)),
  kinds: new Map()
})

/** The kind of such jobs, while one of them is open. */
export const kindOf = (jobs: Jobs, affinity: AffinityKey, placement: string): Kind | undefined =>
  jobs.kinds.get(affinity)?.get(placement)

export const get = (jobs: Jobs, id: JobId): Job.Entry | undefined => jobs.open.get(id) ?? Recent.get(jobs.ended, id)

export const add = (jobs: Jobs, entry: Job.Entry): void => {
  const { kind } = entry
  // One that was redriven: what it ended as is nobody's to find any more.
  Recent.remove(jobs.ended, entry.id)
  jobs.open.set(entry.id, entry)
  kind.jobs++
  let ofKey = jobs.kinds.get(kind.affinity)
  if (ofKey === undefined) jobs.kinds.set(kind.affinity, ofKey = new Map())
  ofKey.set(kind.placement, kind)
}

/** The queue did not take it: it never was. */
export const drop = (jobs: Jobs, { id, kind }: Job.Entry): boolean => {
  if (!jobs.open.delete(id)) return false
  if (--kind.jobs > 0) return true
  const ofKey = jobs.kinds.get(kind.affinity)
  ofKey?.delete(kind.placement)
  if (ofKey?.size === 0) jobs.kinds.delete(kind.affinity)
  return true
}

const kept = { events: Defaults.queue.historyEvents, bytes: Defaults.queue.historyBytes }

/** The job has ended: it is remembered for a while. */
export const end = (jobs: Jobs, entry: Job.Entry, now: number): void => {
  if (!drop(jobs, entry)) return
  if (entry.log !== undefined) EventLog.trim(entry.log, kept, Job.sizeOf)
  Recent.add(jobs.ended, entry.id, entry, now)
}

/** Forgets a job that has ended before its time; false: there is none of this id that has. */
export const forget = (jobs: Jobs, id: JobId): boolean => Recent.remove(jobs.ended, id)

/** Those that ended, the one that did longest ago first, then those that are open, in order of arrival. */
export const list = (jobs: Jobs): ReadonlyArray<Job.Entry> => [...Recent.values(jobs.ended), ...jobs.open.values()]
