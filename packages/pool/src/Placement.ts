/**
 * Which jobs may go to which servers now, and why not: pure questions to the fleet, and the view of it that routers decide
 * by. What is the same for all jobs of one kind is reckoned once in a reading.
 */
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Breakers from "./Breakers.ts"
import * as Deaths from "./Deaths.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import * as Job from "./Job.ts"
import type { JobHead } from "./JobHead.ts"
import * as Lease from "./Lease.ts"
import * as Member from "./Member.ts"
import * as MemoryNeeds from "./MemoryNeeds.ts"
import * as Need from "./Need.ts"
import * as Residency from "./Residency.ts"
import type * as Router from "./Router.ts"
import * as Storage from "./Storage.ts"

type State = Fleet.Fleet

/** Why this server is not for such jobs at all; undefined where nothing known speaks against it. */
export const whyNever = (need: Need.Need, member: Member.Member, now: number): string | undefined =>
  Need.lacks(need, Member.offered(member, now))

/** Expected warm milliseconds there: learnt, else what the job says of itself; null: nobody knows. */
const expected = (fleet: State, need: Need.Need, key: AffinityKey, id: BackendId): number | null => {
  const { samples, warmMs } = Estimates.estimate(fleet.estimates, id, key)
  return samples > 0 ? warmMs : need.estimateMs
}

/**
 * A lane is kept from long jobs, and from those of which nobody knows, as long as another server could run them: a fleet of
 * lanes only is no reason to wait for ever.
 */
const isKept = (fleet: State, need: Need.Need, key: AffinityKey, member: Member.Member, now: number): boolean => {
  const { id, underMs } = member.facts
  if (underMs === Number.POSITIVE_INFINITY) return false
  const ms = expected(fleet, need, key, id) ?? Number.POSITIVE_INFINITY
  if (ms < underMs) return false
  for (const other of fleet.members.values()) {
    const longer = other.facts.underMs > ms || other.facts.underMs === Number.POSITIVE_INFINITY
    if (longer && whyNever(need, other, now) === undefined) return true
  }
  return false
}

/** Why this server is not for jobs of this kind now, busy or idle. */
const whyNotKind = (
  fleet: State,
  need: Need.Need,
  key: AffinityKey,
  member: Member.Member,
  now: number
): string | undefined => {
  if (!Fleet.isUp(member)) return Member.status(member, Defaults.health.misses)
  if (member.restsUntil > now) return "asked to be left alone for a while"
  const never = whyNever(need, member, now)
  if (never !== undefined) return never
  const avoided = whyAvoided(fleet, key, need.estimateMs, member, now)
  if (avoided !== undefined) return avoided
  if (Deaths.isSuspect(fleet.deaths, key, now) && isRunning(fleet, (held) => held.key === key)) {
    return "processes ended under this workflow: it runs on one server at a time"
  }
  return isKept(fleet, need, key, member, now) ? "kept for shorter jobs" : undefined
}

const isRunning = (fleet: State, is: (held: Member.Held) => boolean): boolean => {
  for (const { runs } of fleet.members.values()) {
    for (const held of runs.values()) if (is(held)) return true
  }
  return false
}

/** What runs on servers that went silent: it may be what ended them. */
const doubtedContents = (fleet: State): ReadonlySet<string> => {
  const doubted = new Set<string>()
  for (const { connected, runs } of fleet.members.values()) {
    if (!connected) { for (const { content } of runs.values()) doubted.add(content) }
  }
  return doubted
}

/** Why a server gets no jobs of this key for a while, whatever they ask for. */
const whyAvoided = (
  fleet: State,
  key: AffinityKey,
  estimateMs: number | null,
  member: Member.Member,
  now: number
): string | undefined => {
  const { id } = member.facts
  if (Breakers.permit(fleet.breakers, id, key, now) === "blocked") return "blocked after failures"
  if (Storage.permit(fleet.storage, id, now) === "blocked") return "storage fails"
  return Lease.whyNot(fleet, key, estimateMs, member, now)
}

/** Whether any server could take the job that it has not failed on: if not, it goes back to those it knows. */
const hasOther = (fleet: State, need: Need.Need, avoid: ReadonlyArray<BackendId>, now: number): boolean => {
  for (const member of fleet.members.values()) {
    if (!avoid.includes(member.facts.id) && Fleet.isUp(member) && whyNever(need, member, now) === undefined) return true
  }
  return false
}

/** Whether another server that could take it has a larger card than this. */
const hasMoreThan = (fleet: State, need: Need.Need, bytes: number, now: number): boolean => {
  for (const member of fleet.members.values()) {
    if (!Fleet.isUp(member) || whyNever(need, member, now) !== undefined) continue
    if ((Member.offered(member, now).vramBytes ?? 0) > bytes) return true
  }
  return false
}

/** Why this job is not for a server that its kind may run on, after what it and its like have been through. */
const whyNotAgain = (
  fleet: State,
  entry: Job.Entry,
  member: Member.Member,
  doubted: ReadonlySet<string>,
  now: number
): string | undefined => {
  const { kind: { affinity, need }, ledger: { exclude, freeOn, moreVramThan }, options: { sizeClass } } = entry
  const { id } = member.facts
  const content = Job.contentOf(entry)
  const deaths = Deaths.ofContent(fleet.deaths, content, now)
  if (Deaths.isPoison(fleet.deaths, content, now)) return `${deaths} processes ended under it`
  if (doubted.has(content)) return "its like runs on a server that is silent"
  if (deaths > 0 && isRunning(fleet, (held) => held.content === content)) {
    return "a process ended under it: one at a time"
  }
  if (freeOn !== null && freeOn !== id && fleet.members.has(freeOn)) return "to be tried again where memory is freed"
  const { vramBytes } = Member.offered(member, now)
  if (moreVramThan !== null && vramBytes !== undefined && vramBytes <= moreVramThan) {
    return "ran out of memory on a card as large"
  }
  const learnt = MemoryNeeds.moreThan(fleet.memoryNeeds, affinity, sizeClass, now)
  if (learnt !== null && vramBytes !== undefined && vramBytes <= learnt && hasMoreThan(fleet, need, learnt, now)) {
    return "its like ran out of memory on a card as large"
  }
  return exclude.includes(id) && hasOther(fleet, need, exclude, now) ? "failed there before" : undefined
}

/** Why a server is not for this job now, busy or idle, asked of many of them; undefined: it may run there. */
export const whyNot = (
  fleet: State,
  entry: Job.Entry,
  now: number
): (member: Member.Member) => string | undefined => {
  const doubted = doubtedContents(fleet)
  return (member) =>
    whyNotKind(fleet, entry.kind.need, entry.kind.affinity, member, now) ??
      whyNotAgain(fleet, entry, member, doubted, now)
}

/** Whether another server than this one has a larger card, or one of which nobody knows the size. */
export const hasLarger = (fleet: State, need: Need.Need, than: Member.Member, now: number): boolean => {
  const { vramBytes: had } = Member.offered(than, now)
  for (const member of fleet.members.values()) {
    if (member === than || whyNever(need, member, now) !== undefined) continue
    const { vramBytes } = Member.offered(member, now)
    if (had === undefined || vramBytes === undefined || vramBytes > had) return true
  }
  return false
}

/** The reasons of all servers, the first hundred of them. */
const maxReasons = 100

type Reasons = ReadonlyArray<{ readonly server: string; readonly why: string }>

/**
 * Why every server cannot run such jobs; undefined while one might. A server whose capabilities are not known might, unless
 * the job has waited long enough for it (`impatient`) and another one is known not to. An empty fleet is no reason.
 */
export const hopeless = (
  fleet: State,
  need: Need.Need,
  now: number,
  impatient = false
): Reasons | undefined => {
  const reasons: Array<{ server: string; why: string }> = []
  let known = 0
  for (const member of fleet.members.values()) {
    const why = whyNever(need, member, now)
    if (why !== undefined) known++
    else if (member.capabilities !== undefined || !impatient) return undefined
    reasons.push({ server: member.facts.id, why: why ?? "was never reached" })
  }
  return known === 0 ? undefined : reasons.slice(0, maxReasons)
}

/** Why no server takes this job at this moment; undefined where one does, idle or busy. None at all: an empty list. */
export const stranded = (
  fleet: State,
  entry: Job.Entry,
  now: number
): Reasons | undefined => {
  const reasons: Array<{ server: string; why: string }> = []
  const ask = whyNot(fleet, entry, now)
  for (const member of fleet.members.values()) {
    const why = ask(member)
    if (why === undefined) return undefined
    reasons.push({ server: member.facts.id, why })
  }
  return reasons.slice(0, maxReasons)
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
  /** When the next server ends a pause that it asked for; infinity: none does. */
  readonly rested: number
  /** Whether any of the idle servers may run such jobs. */
  readonly accepts: (affinity: AffinityKey, placement: string) => boolean
  /** Keys that idle servers have warm. */
  readonly warm: ReadonlySet<AffinityKey>
  readonly view: (candidates: ReadonlyArray<JobHead>, forced: boolean) => Router.View
}

/** Which servers are asked about, and what is to be overlooked. */
export interface ReadOptions {
  /** The servers that jobs may go to. Default: those that are idle. */
  readonly idle?: ReadonlyArray<Member.Member>
  /** A run of ours that is to be taken away: its own time is none of the server's. */
  readonly without?: RunId | undefined
}

const idleNow = (fleet: State, now: number): ReadonlyArray<Member.Member> =>
  [...fleet.members.values()].filter((member) => Fleet.isIdle(fleet, member, now))

const restedAt = (fleet: State, now: number): number => {
  let at = Number.POSITIVE_INFINITY
  for (const { restsUntil } of fleet.members.values()) if (restsUntil > now) at = Math.min(at, restsUntil)
  return at
}

/** Reads the fleet for jobs that wait. */
export const read = (
  fleet: State,
  waiting: Waiting,
  now: number,
  { idle = idleNow(fleet, now), without }: ReadOptions = {}
): Reading => {
  const mayRun = (affinity: AffinityKey, placement: string, member: Member.Member): boolean => {
    const need = waiting.needOf(affinity, placement)
    if (need !== undefined) return whyNotKind(fleet, need, affinity, member, now) === undefined
    return Fleet.isUp(member) && whyAvoided(fleet, affinity, null, member, now) === undefined
  }
  /**
   * A job goes to the servers that it prefers while one of them is idle, and of those to one that does not stand and fall
   * with a server on which it came to grief.
   */
  const isSpurned = (entry: Job.Entry, than: Member.Member): boolean => {
    const { kind: { affinity, need, placement }, ledger } = entry
    if (need.prefer.size === 0 && ledger.exclude.length === 0) return false
    const hosts = new Set(ledger.exclude.map((server) => fleet.members.get(server)?.facts.host))
    const rank = ({ facts: { host, id } }: Member.Member) => (need.prefer.has(id) ? 2 : 0) + (hosts.has(host) ? 0 : 1)
    const least = rank(than)
    return idle.some((member) =>
      rank(member) > least && mayRun(affinity, placement, member) &&
      whyNotAgain(fleet, entry, member, doubted, now) === undefined
    )
  }
  const doubted = doubtedContents(fleet)
  const warm = new Set<AffinityKey>()
  for (const member of idle) {
    for (const { key } of Residency.residents(fleet.residency, member.facts.id)) warm.add(key)
  }
  return {
    idle,
    rested: restedAt(fleet, now),
    warm,
    accepts: (affinity, placement) => idle.some((member) => mayRun(affinity, placement, member)),
    view: (candidates, forced) => ({
      now,
      candidates,
      forced,
      idle: idle.map(({ facts: { id, weight } }) => {
        const given = fleet.given.get(id)
        return { id, weight, placed: given?.jobs ?? 0, load: given?.ms ?? 0 }
      }),
      servers: [...fleet.members.values()].filter(Fleet.isUp).map(({ facts }) => facts.id),
      eligible: (head, server) => {
        const member = fleet.members.get(server)
        const entry = waiting.entryOf(head)
        if (member === undefined || entry?.isQueued === false) return false
        if (!mayRun(head.affinity, head.placement, member)) return false
        if (entry === undefined) return true
        return !isSpurned(entry, member) &&
          whyNotAgain(fleet, entry, member, doubted, now) === undefined
      },
      residentOn: (key) => Residency.residentOn(fleet.residency, key),
      warmth: (server, key) => Residency.warmth(fleet.residency, server, key),
      victim: (server) => Residency.victim(fleet.residency, server),
      remaining: (server) => Fleet.remaining(fleet, server, now, without),
      estimate: (server, key) => Estimates.estimate(fleet.estimates, server, key),
      demand: waiting.demand
    })
  }
}
