/**
 * What waits, in memory, so that the next job is found in constant time at a million of them: priority classes; in each
 * the tenants, who share the servers by deficit round robin over estimated GPU time; for each tenant buckets of jobs that
 * want the same models. A fold over the heads of a queue. Which server a job has failed on is not its matter.
 */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import * as Fifo from "./internal/fifo.ts"
import * as Heap from "./internal/heap.ts"
import * as Lanes from "./internal/lanes.ts"
import type { Account, Bucket, Demand, Lane, PriorityClass } from "./internal/lanes.ts"
import { type TenantWaits, tenantWaits } from "./internal/tenantWaits.ts"
import type { HeadChange, JobHead } from "./JobHead.ts"

/** How shares and order are made. Times in milliseconds. */
export interface Options {
  /** GPU time that a tenant of weight 1 may use per round; within a round the router is free to follow affinity. */
  readonly quantum: number
  /** The oldest job is forced once it has waited so long … */
  readonly forcedAfter: number
  /** … but only one dispatch of so many. */
  readonly forcedOneIn: number
  /** Candidates of one offer, and tenants among which they are spread. */
  readonly candidates: number
  readonly tenants: number
  /** Accounts of tenants without a waiting job that are in debt; beyond it the oldest debt is forgiven. */
  readonly accounts: number
}

export const defaults: Options = {
  ...Defaults.readySet,
  quantum: Duration.toMillis(Defaults.readySet.quantum),
  forcedAfter: Duration.toMillis(Defaults.readySet.forcedAfter)
}

interface Delayed extends Heap.Item {
  readonly head: JobHead
  /** Monotonic: a step of the wall clock neither hurries nor holds a job. */
  readonly due: number
}

/** Owned and updated in place by its driver. Bounded by the jobs that wait. */
export interface State {
  readonly options: Options
  /** Every job, ready or delayed, and those in `taken`. */
  readonly jobs: Map<JobId, JobHead>
  /** Claimed ones that the queue has not yet called gone: they leave `jobs` then, or when there are too many of them. */
  readonly taken: Set<JobId>
  readonly delayed: Map<JobId, Delayed>
  readonly due: Array<Delayed>
  /** Highest priority first; only those with jobs. */
  readonly classes: Array<PriorityClass>
  readonly accounts: Map<string, Account>
  readonly weights: Map<string, number>
  /** Ready jobs by what models they want. */
  readonly demand: Map<AffinityKey, Demand>
  /** Whether such a head, met in a bucket, is ready. */
  readonly lives: (head: JobHead) => boolean
  round: number
  offers: number
  forced: JobId | undefined
  sinceForced: number
}

export const init = (options: Partial<Options> = {}): State => {
  const jobs = new Map<JobId, JobHead>()
  const taken = new Set<JobId>()
  const delayed = new Map<JobId, Delayed>()
  return {
    options: { ...defaults, ...options },
    jobs,
    taken,
    delayed,
    due: [],
    classes: [],
    accounts: new Map(),
    weights: new Map(),
    demand: new Map(),
    lives: (head) => jobs.get(head.id) === head && !taken.has(head.id) && !delayed.has(head.id),
    round: 0,
    offers: 0,
    forced: undefined,
    sinceForced: 0
  }
}

/** How many jobs are in, ready or delayed. */
export const size = ({ jobs, taken }: State): number => jobs.size - taken.size

// ── Shares ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A tenant's share beside the others. */
export const weightOf = (state: State, tenant: string): number => state.weights.get(tenant) ?? 1

/** Sets a tenant's share beside the others, 1 by default. Not positive or no number: the least there is. */
export const setWeight = (state: State, tenant: string, weight: number): State => {
  state.weights.set(tenant, weight > 1e-6 ? Math.min(weight, 1e6) : 1e-6)
  return state
}

const accountOf = (state: State, tenant: string): Account => {
  const known = state.accounts.get(tenant)
  if (known !== undefined) return known
  const account: Account = { tenant, balance: 0, granted: -1, lanes: 0 }
  state.accounts.set(tenant, account)
  if (state.accounts.size > state.options.accounts) {
    // Those that have jobs are bounded by the jobs.
    let looked = 0
    for (const [name, { lanes }] of state.accounts) {
      if (lanes === 0 && name !== tenant) state.accounts.delete(name)
      if (lanes === 0 || ++looked >= 16) break
    }
  }
  return account
}

const grant = (state: State, { account }: Lane, quanta: number): void => {
  account.balance += quanta * state.options.quantum * weightOf(state, account.tenant)
  account.granted = state.round
}

const join = (state: State, of: PriorityClass, lane: Lane): void => {
  lane.account.lanes++
  if (lane.account.balance <= 0 && lane.account.granted < of.round) grant(state, lane, 1)
  if (lane.account.balance > 0) of.open.push(lane)
}

const leave = (state: State, { account }: Lane): void => {
  if (--account.lanes > 0) return
  // Unused time is not saved up; debts are.
  if (account.balance >= 0) state.accounts.delete(account.tenant)
}

/** A new round: so many quanta to every tenant with jobs that at least one may be served. */
const nextRound = (state: State, of: PriorityClass): void => {
  of.round = ++state.round
  let quanta = Number.POSITIVE_INFINITY
  for (const { account } of of.lanes.values()) {
    const each = state.options.quantum * weightOf(state, account.tenant)
    quanta = Math.min(quanta, Math.floor(Math.max(0, -account.balance) / each) + 1)
  }
  of.open = []
  of.turn = 0
  for (const lane of of.lanes.values()) {
    grant(state, lane, quanta)
    if (lane.account.balance > 0) of.open.push(lane)
  }
}

const isOpen = (lane: Lane): boolean => lane.size > 0 && lane.account.balance > 0

/** The first lane at turn; begins a round where nobody has anything left. */
const atTurn = (state: State, of: PriorityClass): void => {
  for (;;) {
    const lane = of.open[of.turn]
    if (lane === undefined) return nextRound(state, of)
    if (isOpen(lane)) return
    of.turn++
  }
}

// ── Coming and going ────────────────────────────────────────────────────────────────────────────────────────────────

const classIndex = (state: State, priority: number): number => {
  let low = 0
  let high = state.classes.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((state.classes[middle]?.priority ?? 0) > priority) low = middle + 1
    else high = middle
  }
  return low
}

const rank = ({ priority }: JobHead): number => Number.isNaN(priority) ? 0 : priority

const classOf = (state: State, priority: number): PriorityClass => {
  const index = classIndex(state, priority)
  const known = state.classes[index]
  if (known?.priority === priority) return known
  const made: PriorityClass = { priority, lanes: new Map(), open: [], turn: 0, round: ++state.round }
  state.classes.splice(index, 0, made)
  return made
}

const makeReady = (state: State, head: JobHead, now: number): void => {
  const of = classOf(state, rank(head))
  let lane = of.lanes.get(head.tenant)
  const fresh = lane === undefined
  if (lane === undefined) of.lanes.set(head.tenant, lane = Lanes.makeLane(of, accountOf(state, head.tenant)))
  Lanes.insert(lane, head, now, state.demand)
  if (fresh) join(state, of, lane)
}

const earlier = (a: Delayed, b: Delayed): boolean => a.due < b.due

const add = (state: State, head: JobHead, inMs: number, now: number): void => {
  state.jobs.set(head.id, head)
  if (!(inMs > 0)) return makeReady(state, head, now)
  const delayed: Delayed = { head, due: now + inMs, index: 0 }
  state.delayed.set(head.id, delayed)
  Heap.push(state.due, delayed, earlier)
}

/** Where a ready job stands. */
const bucketOf = (state: State, head: JobHead): Bucket | undefined => {
  const priority = rank(head)
  const of = state.classes[classIndex(state, priority)]
  const lane = of?.priority === priority ? of.lanes.get(head.tenant) : undefined
  return lane === undefined ? undefined : Lanes.bucketOf(lane, head)
}

const takeOutOf = (state: State, bucket: Bucket, head: JobHead): void => {
  Lanes.remove(bucket, head, state.demand, state.lives)
  const { lane } = bucket
  if (lane.size > 0) return
  lane.of.lanes.delete(head.tenant)
  leave(state, lane)
  if (lane.of.lanes.size === 0) state.classes.splice(classIndex(state, lane.of.priority), 1)
}

/** Takes out a job that `lives` calls dead by now. */
const takeOut = (state: State, head: JobHead): void => {
  const delayed = state.delayed.get(head.id)
  if (delayed !== undefined) {
    state.delayed.delete(head.id)
    return Heap.remove(state.due, delayed, earlier)
  }
  const bucket = bucketOf(state, head)
  if (bucket !== undefined) takeOutOf(state, bucket, head)
}

const isSame = (a: JobHead, b: JobHead): boolean =>
  a === b || (a.sequence === b.sequence && a.notBefore === b.notBefore && a.priority === b.priority &&
    a.tenant === b.tenant && a.affinity === b.affinity && a.placement === b.placement)

/**
 * Takes what a queue announces, in order. A job that is announced again keeps its place, unless its head has changed; one
 * that nobody knows is gone already.
 */
export const step = (state: State, changes: ReadonlyArray<HeadChange>, now: number): State => {
  for (const change of changes) {
    const id = change._tag === "Ready" ? change.head.id : change.id
    const wasTaken = state.taken.size > 0 && state.taken.delete(id)
    const known = wasTaken ? undefined : state.jobs.get(id)
    if (change._tag === "Ready" && known !== undefined && isSame(known, change.head)) continue
    if (wasTaken || known !== undefined) state.jobs.delete(id)
    if (known !== undefined) takeOut(state, known)
    if (change._tag === "Ready") add(state, change.head, change.inMs ?? 0, now)
  }
  return state
}

const unconfirmed = 4_096

/** The job is out; the map is left alone, for the queue is about to call it gone: one lookup among a million less. */
const setTaken = (state: State, id: JobId): void => {
  state.taken.add(id)
  if (state.taken.size <= unconfirmed) return
  for (const taken of state.taken) state.jobs.delete(taken)
  state.taken.clear()
}

/**
 * The job of this head was claimed for a server: it is out, and its tenant is charged its estimated cost. False: it was
 * not in.
 */
export const claimed = (state: State, head: JobHead): boolean => {
  const { id } = head
  const bucket = bucketOf(state, head)
  // Whatever is the first of a bucket is in.
  const first = bucket?.first === head ? bucket : undefined
  const known = first !== undefined ? head : state.taken.has(id) ? undefined : state.jobs.get(id)
  if (known === undefined) return false
  const wasForced = id === state.forced
  state.sinceForced = wasForced ? 0 : state.sinceForced + 1
  if (wasForced) state.forced = undefined
  const account = first?.lane.account ?? accountOf(state, known.tenant)
  account.balance -= Number.isFinite(known.cost) ? Math.max(1, known.cost) : 1
  setTaken(state, id)
  if (first !== undefined) takeOutOf(state, first, head)
  else takeOut(state, known)
  return true
}

/** A claimed job took another time than estimated, both milliseconds: its tenant is charged the difference. */
export const correct = (state: State, tenant: string, estimated: number, actual: number): State => {
  if (!Number.isFinite(actual - estimated)) return state
  const account = accountOf(state, tenant)
  account.balance += estimated - actual
  // As in `leave`: who is owed time and has no jobs does not save it up.
  if (account.lanes === 0 && account.balance >= 0) state.accounts.delete(tenant)
  return state
}

/** When the next delayed job is ready, monotonic milliseconds; infinity without one. */
export const nextDue = (state: State): number => state.due[0]?.due ?? Number.POSITIVE_INFINITY

// ── Offers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a scheduler wants to place now. */
export interface Request {
  /** Monotonic milliseconds. */
  readonly now: number
  /** Whether any idle server may run such jobs; asked once per bucket, not per job. Default: all. */
  readonly accepts?: (affinity: AffinityKey, placement: string) => boolean
  /** Whether this tenant may have another job running. Default: all. */
  readonly tenants?: (tenant: string) => boolean
  /** Keys that idle servers have warm: their jobs come first within a tenant. */
  readonly warm?: ReadonlySet<AffinityKey>
  /** Only jobs of a lower priority than this: when everything above waits for a warm server. */
  readonly below?: number
  /**
   * At most so many candidates, and never more than the option. Sixteen are plenty for one idle server whose `accepts`
   * is given, and cost a third of 64.
   */
  readonly limit?: number
}

/** The candidates in fair order; `forced`: the first of them is placed before any other. */
export interface Offer {
  readonly candidates: ReadonlyArray<JobHead>
  readonly forced: boolean
}

const pushFirst = (bucket: Bucket, stamp: number, out: Array<JobHead>): void => {
  if (bucket.stamp === stamp) return
  bucket.stamp = stamp
  out.push(bucket.first)
}

/** Up to `most` candidates of one tenant: of warm keys, then the first of every bucket, then those behind them. */
const gather = (state: State, lane: Lane, request: Request, most: number, out: Array<JobHead>): void => {
  const { accepts, warm } = request
  const stamp = state.offers
  const until = out.length + most
  const mayRun = (bucket: Bucket) => accepts === undefined || accepts(bucket.affinity, bucket.placement)
  // Whichever are fewer: warm keys, or this tenant's buckets.
  if (warm !== undefined && warm.size <= lane.heap.length) {
    for (const key of warm) {
      const plain = lane.plain.get(key)
      if (plain !== undefined && out.length < until && mayRun(plain)) pushFirst(plain, stamp, out)
      for (let bucket = lane.chains.get(key); bucket !== undefined && out.length < until; bucket = bucket.next) {
        if (mayRun(bucket)) pushFirst(bucket, stamp, out)
      }
    }
  } else if (warm !== undefined) {
    for (const bucket of lane.heap) {
      if (out.length < until && warm.has(bucket.affinity) && mayRun(bucket)) pushFirst(bucket, stamp, out)
    }
  }
  for (const bucket of lane.heap) {
    if (out.length >= until) return
    if (mayRun(bucket)) pushFirst(bucket, stamp, out)
  }
  for (const bucket of lane.heap) {
    if (out.length >= until) return
    if (bucket.fifo.size > 1 && mayRun(bucket)) Fifo.rest(bucket.fifo, out, until - out.length, state.lives)
  }
}

/** The oldest job that may run of the tenant at turn, if it is due to go before all others. */
const forcedOf = (state: State, lane: Lane, { accepts, now }: Request): JobHead | undefined => {
  if (state.sinceForced < state.options.forcedOneIn - 1) return undefined
  let oldest: Bucket | undefined
  for (const bucket of lane.heap) {
    if (oldest !== undefined && oldest.order < bucket.order) continue
    if (accepts !== undefined && !accepts(bucket.affinity, bucket.placement)) continue
    oldest = bucket
    if (accepts === undefined) break
  }
  if (oldest === undefined || now - Fifo.waitingSince(oldest.fifo) < state.options.forcedAfter) return undefined
  return oldest.first
}

const offerOf = (state: State, of: PriorityClass, request: Request): Offer | undefined => {
  atTurn(state, of)
  const { candidates: most, tenants: spread } = state.options
  const limit = Math.min(request.limit ?? most, most)
  const share = Math.max(1, Math.ceil(limit / Math.min(spread, of.open.length - of.turn)))
  const candidates: Array<JobHead> = []
  let forced: JobHead | undefined
  const visit = (lane: Lane) => {
    const before = candidates.length
    if (request.tenants?.(lane.account.tenant) === false) return
    if (before === 0) {
      forced = forcedOf(state, lane, request)
      if (forced !== undefined) candidates.push(forced)
    }
    gather(state, lane, request, Math.min(share, limit - candidates.length), candidates)
  }
  for (let i = of.turn; i < of.open.length && candidates.length < limit; i++) {
    const lane = of.open[i]
    if (lane !== undefined && isOpen(lane)) visit(lane)
  }
  // Nobody at turn can use the idle servers: they are not left idle for the sake of shares.
  if (candidates.length === 0) {
    for (const lane of of.lanes.values()) {
      if (candidates.length >= limit) break
      if (!isOpen(lane)) visit(lane)
    }
  }
  if (candidates.length === 0) return undefined
  if (forced === undefined) return { candidates, forced: false }
  state.forced = forced.id
  const again = candidates.indexOf(forced, 1)
  if (again > 0) candidates.splice(again, 1)
  return { candidates, forced: true }
}

const none: Offer = { candidates: [], forced: false }

/**
 * The candidates for the next placement, at most 64, from the highest priority that has any: the tenant at turn first,
 * and of each tenant those of warm keys, then its oldest job, then others by roughly their age. A job is offered in its
 * bucket's order; those behind the first come where there is room. Changes no share: take as often as you like.
 */
export const take = (state: State, request: Request): Offer => {
  for (;;) {
    const next = state.due[0]
    if (next === undefined || next.due > request.now) break
    state.delayed.delete(next.head.id)
    Heap.remove(state.due, next, earlier)
    makeReady(state, next.head, request.now)
  }
  state.offers++
  const from = request.below === undefined ? 0 : classIndex(state, request.below)
  for (let i = from; i < state.classes.length; i++) {
    const of = state.classes[i]
    if (of === undefined || of.priority === request.below) continue
    const offer = offerOf(state, of, request)
    if (offer !== undefined) return offer
  }
  return none
}

/** How many ready jobs want these models. */
export const demandOf = (state: State, key: AffinityKey): number => state.demand.get(key)?.jobs ?? 0

/** What waits, for people, and of whom. */
export const snapshot = (state: State): {
  readonly ready: number
  readonly delayed: number
  readonly tenants: ReadonlyArray<TenantWaits>
} => ({
  ready: size(state) - state.delayed.size,
  delayed: state.delayed.size,
  tenants: tenantWaits(state.accounts, state.classes, state.delayed.values())
})
