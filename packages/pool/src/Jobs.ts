/** The jobs that a pool knows: those that are open, and the last that ended. */
import * as EventLog from "@effect-comfyui/execution/EventLog"
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import * as Job from "./Job.ts"
import type { Need } from "./Need.ts"

/** What jobs of one kind ask for, as long as one of them is known. */
interface Shared {
  readonly need: Need
  jobs: number
}

/** Owned and updated in place by its pool. */
export interface Jobs {
  readonly open: Map<JobId, Job.Entry>
  /** Ended ones, oldest first: at most so many, and none longer than so long. */
  readonly ended: Map<JobId, { readonly entry: Job.Entry; readonly at: number }>
  readonly needs: Map<string, Shared>
  readonly cap: number
  readonly ageMs: number
}

export const make = (cap: number = Defaults.queue.history): Jobs => ({
  open: new Map(),
  ended: new Map(),
  needs: new Map(),
  cap,
  ageMs: Duration.toMillis(Defaults.queue.historyAge)
})

/** Jobs of one kind may run on the same servers. */
export const kindOf = (affinity: AffinityKey, placement: string): string => `${affinity} ${placement}`

/** What asks for nothing of servers but its classes and files is one placement: the key tells those apart. */
export const placementOf = (need: Need, classes: ReadonlyArray<string>): string => {
  const { estimateMs = 0, exclude, models, prefer, tags, vramBytes } = need
  const names = [exclude, prefer, tags, classes, models].map((one) => [...one].toSorted())
  if (estimateMs + vramBytes === 0 && names.every((one) => one.length === 0)) return ""
  return JSON.stringify([...names, vramBytes, estimateMs])
}

export const get = (jobs: Jobs, id: JobId): Job.Entry | undefined => jobs.open.get(id) ?? jobs.ended.get(id)?.entry

export const add = (jobs: Jobs, entry: Job.Entry): void => {
  jobs.open.set(entry.id, entry)
  const kind = kindOf(entry.affinity, entry.placement)
  const shared = jobs.needs.get(kind)
  if (shared === undefined) jobs.needs.set(kind, { need: entry.need, jobs: 1 })
  else shared.jobs++
}

/** The queue did not take it: it never was. */
export const drop = (jobs: Jobs, entry: Job.Entry): boolean => {
  if (!jobs.open.delete(entry.id)) return false
  const kind = kindOf(entry.affinity, entry.placement)
  const shared = jobs.needs.get(kind)
  if (shared !== undefined && --shared.jobs === 0) jobs.needs.delete(kind)
  return true
}

const kept = { events: Defaults.queue.historyEvents, bytes: Defaults.queue.historyBytes }

/** The job has ended: it is remembered for a while. */
export const end = (jobs: Jobs, entry: Job.Entry, now: number): void => {
  if (!drop(jobs, entry)) return
  EventLog.trim(entry.log, kept, Job.sizeOf)
  jobs.ended.set(entry.id, { entry, at: now })
  for (const [id, { at }] of jobs.ended) {
    if (jobs.ended.size <= jobs.cap && now - at < jobs.ageMs) break
    jobs.ended.delete(id)
  }
}

/** Forgets a job that has ended before its time; false: there is none of this id that has. */
export const forget = (jobs: Jobs, id: JobId): boolean => jobs.ended.delete(id)

export const needOf = (jobs: Jobs, affinity: AffinityKey, placement: string): Need | undefined =>
  jobs.needs.get(kindOf(affinity, placement))?.need
