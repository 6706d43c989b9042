/**
 * What a pool knows of its servers, in one place: who they are, what blocks them, what they have warm, how long things take
 * there. Changed by the parts that watch and by attempts that end; `Placement` asks it.
 */
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Duration from "effect/Duration"
import * as Breakers from "./Breakers.ts"
import * as Deaths from "./Deaths.ts"
import * as Defaults from "./Defaults.ts"
import * as Member from "./Member.ts"
import * as MemoryNeeds from "./MemoryNeeds.ts"
import * as Residency from "./Residency.ts"
import * as Storage from "./Storage.ts"

/** `polite`: nothing is placed on a server that works for others; `greedy`: ours go into its queue behind theirs. */
export type Sharing = "polite" | "greedy"

/** Owned and updated in place by its pool. Servers go with `remove`; all else has the caps of its parts. */
export interface Fleet {
  readonly members: Map<BackendId, Member.Member>
  readonly breakers: Breakers.State
  readonly storage: Storage.State
  readonly residency: Residency.State
  readonly estimates: Estimates.State
  readonly deaths: Deaths.State
  readonly memoryNeeds: MemoryNeeds.State
  /** Jobs and milliseconds given to each server so far. */
  readonly given: Map<BackendId, { jobs: number; ms: number }>
  readonly sharing: Sharing
}

/** `estimates`: what is known of times from the start. */
export const make = (
  estimates: Estimates.State = Estimates.init(),
  breakers?: Partial<Breakers.Options>,
  sharing: Sharing = "polite"
): Fleet => ({
  members: new Map(),
  breakers: Breakers.init(breakers),
  storage: Storage.init(),
  residency: Residency.init(),
  estimates,
  deaths: Deaths.init(),
  memoryNeeds: MemoryNeeds.init(),
  given: new Map(),
  sharing
})

const { misses } = Defaults.health

/** It can be given a job: up, not set aside, nothing of ours on it, nor of others where that matters. */
export const isIdle = ({ sharing }: Fleet, member: Member.Member, now: number): boolean => {
  if (member.restsUntil > now) return false
  const status = Member.status(member, misses)
  return status === "ready" || (status === "foreign" && sharing === "greedy")
}

const goneMs = Duration.toMillis(Defaults.machines.gone)

/** All members, for people and dashboards. */
export const views = ({ members }: Fleet, now: number): ReadonlyArray<Member.View> =>
  [...members.values()].map((member) => Member.view(member, misses, goneMs, now))

/** It is a member that will be given jobs again, now or later. */
export const isUp = (member: Member.Member): boolean =>
  !Member.isSilent(member, misses) && member.draining === undefined && member.held === undefined && !member.paused

/** Takes the server for a run: nothing else is placed there while it stands among the member's runs. */
export const occupy = (fleet: Fleet, member: Member.Member, runId: RunId, held: Member.Held): void => {
  member.runs.set(runId, held)
  const given = fleet.given.get(member.facts.id) ?? { jobs: 0, ms: 0 }
  fleet.given.set(member.facts.id, { jobs: given.jobs + 1, ms: given.ms + held.expectedMs })
}

/** Forgets a server and what was known of it. */
export const remove = (fleet: Fleet, id: BackendId, now: number): ReadonlyArray<Breakers.Notice> => {
  fleet.members.delete(id)
  fleet.given.delete(id)
  Residency.step(fleet.residency, { _tag: "Removed", server: id })
  Estimates.forget(fleet.estimates, id)
  return [
    ...Breakers.step(fleet.breakers, { _tag: "Removed", server: id }, now),
    ...Storage.step(fleet.storage, { _tag: "Forget", server: id, by: "removed" }, now)
  ]
}

/** A run that is overdue is expected to take as long again as it is late, and so never to end this instant. */
const left = (ms: number): number => ms > 0 ? ms : Math.max(overdueMs, -ms)

const overdueMs = 250

/**
 * Milliseconds until a server is idle: what its runs are expected to take, less what they took; infinity where nobody
 * knows. `without`: as if this run of ours were not there.
 */
export const remaining = (fleet: Fleet, id: BackendId, now: number, without?: RunId): number => {
  const member = fleet.members.get(id)
  if (member === undefined || !isUp(member) || member.load.foreign > 0) return Number.POSITIVE_INFINITY
  let until = 0
  for (const [runId, { expectedMs, fenced, isNext, since }] of member.runs) {
    if (runId === without) continue
    if (fenced) return Number.POSITIVE_INFINITY
    until += isNext ? expectedMs : left(since + expectedMs - now)
  }
  return until
}
