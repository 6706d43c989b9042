/**
 * What a pool knows of its servers, in one place: who they are, what blocks them, what they have warm, how long things take
 * there. Answers the questions of placement; changed by the parts that watch and by attempts that end.
 */
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import type * as Job from "./Job.ts"
import type { JobHead } from "./JobHead.ts"
import * as Member from "./Member.ts"
import * as Need from "./Need.ts"
import * as Residency from "./Residency.ts"
import type * as Router from "./Router.ts"

/** Owned and updated in place by its pool. Servers go with `remove`; all else has the caps of its parts. */
export interface Fleet {
  readonly members: Map<BackendId, Member.Member>
  readonly breakers: Breakers.State
  readonly residency: Residency.State
  readonly estimates: Estimates.State
  /** Jobs and milliseconds given to each server so far. */
  readonly given: Map<BackendId, { jobs: number; ms: number }>
}

export const make = (breakers?: Partial<Breakers.Options>): Fleet => ({
  members: new Map(),
  breakers: Breakers.init(breakers),
  residency: Residency.init(),
  estimates: Estimates.init(),
  given: new Map()
})

const { misses } = Defaults.health

/** It can be given a job: up, not set aside, nothing of ours and nothing of others on it. */
export const isIdle = (member: Member.Member): boolean => Member.status(member, misses) === "ready"

/** It is a member that will be given jobs again, now or later. */
const isUp = (member: Member.Member): boolean =>
  member.heard && !member.draining && !member.paused && member.misses < misses

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
  return Breakers.step(fleet.breakers, { _tag: "Removed", server: id }, now)
}

/** Milliseconds until a server is idle: what its run is expected to take, less what it took; infinity where nobody knows. */
export const remaining = (fleet: Fleet, id: BackendId, now: number): number => {
  const member = fleet.members.get(id)
  if (member === undefined || !isUp(member) || member.load.foreign > 0) return Number.POSITIVE_INFINITY
  let longest = 0
  for (const { expectedMs, fenced, since } of member.runs.values()) {
    if (fenced) return Number.POSITIVE_INFINITY
    longest = Math.max(longest, since + expectedMs - now, 1)
  }
  return longest
}

/** Why this server is not for such jobs at all; undefined where nothing known speaks against it. */
export const whyNever = (need: Need.Need, member: Member.Member): string | undefined =>
  Need.lacks(need, Member.offered(member))

/** Why it is not for this job now, busy or idle. */
export const whyNot = (
  fleet: Fleet,
  need: Need.Need,
  key: AffinityKey,
  avoid: ReadonlyArray<BackendId>,
  member: Member.Member,
  now: number
): string | undefined => {
  if (!isUp(member)) return Member.status(member, misses)
  const never = whyNever(need, member)
  if (never !== undefined) return never
  if (Breakers.permit(fleet.breakers, member.facts.id, key, now) === "blocked") return "blocked after failures"
  return avoid.includes(member.facts.id) && hasOther(fleet, need, avoid) ? "failed there before" : undefined
}

/** Whether any server could take the job that it has not failed on: if not, it goes back to those it knows. */
const hasOther = (fleet: Fleet, need: Need.Need, avoid: ReadonlyArray<BackendId>): boolean => {
  for (const member of fleet.members.values()) {
    if (!avoid.includes(member.facts.id) && isUp(member) && whyNever(need, member) === undefined) return true
  }
  return false
}

/** What is known of the jobs that wait, for questions of placement. */
export interface Waiting {
  /** What jobs of this kind ask for; undefined: nothing is known that restricts them. */
  readonly needOf: (affinity: AffinityKey, placement: string) => Need.Need | undefined
  readonly entryOf: (head: JobHead) => Job.Entry | undefined
  readonly demand: (key: AffinityKey) => number
}

/** A reading of the fleet at one instant; what is asked often is reckoned once. */
export interface Reading {
  readonly idle: ReadonlyArray<Member.Member>
  /** Whether any idle server may run such jobs. */
  readonly accepts: (affinity: AffinityKey, placement: string) => boolean
  /** Keys that idle servers have warm. */
  readonly warm: ReadonlySet<AffinityKey>
  readonly view: (candidates: ReadonlyArray<JobHead>, forced: boolean) => Router.View
}

const nothing: ReadonlyArray<BackendId> = []

export const read = (fleet: Fleet, waiting: Waiting, now: number): Reading => {
  const idle = [...fleet.members.values()].filter(isIdle)
  const mayRun = (affinity: AffinityKey, placement: string, avoid: ReadonlyArray<BackendId>, member: Member.Member) => {
    const need = waiting.needOf(affinity, placement)
    if (need !== undefined) return whyNot(fleet, need, affinity, avoid, member, now) === undefined
    return isUp(member) && Breakers.permit(fleet.breakers, member.facts.id, affinity, now) !== "blocked"
  }
  const warm = new Set<AffinityKey>()
  for (const member of idle) {
    for (const { key } of Residency.residents(fleet.residency, member.facts.id)) warm.add(key)
  }
  return {
    idle,
    warm,
    accepts: (affinity, placement) => idle.some((member) => mayRun(affinity, placement, nothing, member)),
    view: (candidates, forced) => ({
      now,
      candidates,
      forced,
      idle: idle.map(({ facts: { id, weight } }) => {
        const given = fleet.given.get(id)
        return { id, weight, placed: given?.jobs ?? 0, load: given?.ms ?? 0 }
      }),
      servers: [...fleet.members.values()].filter(isUp).map(({ facts }) => facts.id),
      eligible: (head, server) => {
        const member = fleet.members.get(server)
        const entry = waiting.entryOf(head)
        if (member === undefined || entry?.isQueued === false) return false
        return mayRun(head.affinity, head.placement, entry?.ledger.exclude ?? nothing, member)
      },
      residentOn: (key) => Residency.residentOn(fleet.residency, key),
      warmth: (server, key) => Residency.warmth(fleet.residency, server, key),
      victim: (server) => Residency.victim(fleet.residency, server),
      remaining: (server) => remaining(fleet, server, now),
      estimate: (server, key) => Estimates.estimate(fleet.estimates, server, key),
      demand: waiting.demand
    })
  }
}

/** Why every server cannot run such jobs, where each is known to lack something; undefined while one might. */
export const hopeless = (fleet: Fleet, need: Need.Need): ReadonlyArray<{ server: string; why: string }> | undefined => {
  const reasons: Array<{ server: string; why: string }> = []
  for (const member of fleet.members.values()) {
    const why = whyNever(need, member)
    if (why === undefined || (member.capabilities === undefined && member.facts.vramBytes === undefined)) {
      return undefined
    }
    reasons.push({ server: member.facts.id, why })
  }
  return reasons.length === 0 ? undefined : reasons.slice(0, 100)
}
