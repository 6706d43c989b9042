/**
 * When jobs are thought to end: those that run by what runs like theirs took and by what they have done; those that wait by
 * the work before them too. What came of earlier predictions keeps eight of ten within the interval.
 */
import { BackendId, type JobId } from "@effect-comfyui/execution/Ids"
import type { Time } from "@effect-comfyui/execution/Time"
import * as Calibration from "@effect-comfyui/profiling/Calibration"
import type { Graph } from "@effect-comfyui/profiling/ClassEstimates"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Eta from "@effect-comfyui/profiling/Eta"
import * as Schema from "effect/Schema"
import type { Active } from "./Active.ts"
import * as Fleet from "./Fleet.ts"
import type * as Job from "./Job.ts"
import * as Jobs from "./Jobs.ts"
import type { Member } from "./Member.ts"
import type { Need } from "./Need.ts"
import * as Placement from "./Placement.ts"
import * as QueueAhead from "./QueueAhead.ts"
import type * as ReadySet from "./ReadySet.ts"
import * as Residency from "./Residency.ts"

/**
 * When a job is thought to end, in milliseconds from `at` (epoch milliseconds): eight of ten end between `lowMs` and
 * `highMs`. `waitMs`: of it, in the queue. `source`: what the time of its run rests on.
 */
export const JobEta = Schema.Struct({
  at: Schema.Finite,
  ...Eta.Span.fields,
  waitMs: Schema.Finite,
  source: Estimates.Source
})
export type JobEta = typeof JobEta.Type

/** No server: what is known of a workflow over the whole fleet. */
export const anywhere = BackendId.make("*")

/** What whoever follows a job knows of it. */
export interface Seen {
  /** What its nodes are, as far as they decide its time. */
  readonly graph: Graph | undefined
  /** When its run started, monotonic milliseconds; null: not yet. */
  readonly startedMs: number | null
  /** See `Progress.workDone`, and since when it is so, monotonic milliseconds. */
  readonly done: number
  readonly doneMs: number
}

/** Of one that waits. */
export const unseen: Seen = { graph: undefined, startedMs: null, done: 0, doneMs: 0 }

/** What is read; all of it is the pool's. */
export interface Parts {
  readonly fleet: Fleet.Fleet
  readonly ready: ReadySet.State
  readonly jobs: Jobs.Jobs
  /** A job that does not wait. */
  readonly activeOf: (id: JobId) => Active | undefined
  readonly seenOf: (id: JobId) => Seen
}

/**
 * Predictions go wrong in different ways: of runs by how much of them is done, of jobs that wait by whether they begin at
 * once, soon, or after many others.
 */
type Kind = typeof stages[number] | "idle" | "soon" | "late"

const stages = ["begun", "quarter", "half", "most"] as const

const stageOf = (done: number): Kind => stages[Math.min(stages.length - 1, Math.floor(done * stages.length))] ?? "begun"

interface Prediction {
  readonly kind: Kind
  readonly span: Eta.Span
  readonly waitMs: number
  readonly source: Estimates.Source
}

interface Pending extends Prediction {
  readonly now: number
  /** As it was told. */
  readonly said: Eta.Span
}

/** Owned and updated in place by its pool. */
export interface State {
  readonly parts: Parts
  readonly calibrations: Readonly<Record<Kind, Calibration.State>>
  /** What was said of open jobs. */
  readonly pending: Map<JobId, ReadonlyArray<Pending>>
  /** Those of them that wait, in the order in which they are asked about again. */
  readonly waiting: Map<JobId, Job.Entry>
  /** When one of those was last asked about, monotonic milliseconds. */
  sampledAt: number
}

export const make = (parts: Parts): State => ({
  parts,
  calibrations: {
    begun: Calibration.init(),
    quarter: Calibration.init(),
    half: Calibration.init(),
    most: Calibration.init(),
    idle: Calibration.init(),
    soon: Calibration.init(),
    late: Calibration.init()
  },
  pending: new Map(),
  waiting: new Map(),
  sampledAt: Number.NEGATIVE_INFINITY
})

/** Open jobs whose predictions are compared with what comes; of more, those that come later are not. */
export const maxPending = 4_096

/** Predictions of one job, the latest. */
const maxSaid = 8

// ── Runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Whether its models have to be loaded: what the run showed, else what is to be expected. */
export const isCold = (
  { fleet }: Pick<Parts, "fleet">,
  entry: Job.Entry,
  server: BackendId,
  found?: Active["shown"]["found"]
): boolean => {
  const { affinity, need } = entry.kind
  if (need.files.length === 0) return false
  return found === undefined ? Residency.warmth(fleet.residency, server, affinity)?.warm !== true : found === null
}

/** From its start, or from now where it did not start there. */
const spanOf = (
  parts: Parts,
  entry: Job.Entry,
  server: BackendId,
  seen: Seen,
  cold: boolean,
  now: number
): Eta.Span => {
  const { fleet: { estimates } } = parts
  const { done, doneMs, graph, startedMs } = seen
  return Eta.ofRun(estimates, {
    server,
    key: entry.kind.affinity,
    cold,
    elapsedMs: startedMs === null ? 0 : Math.max(0, now - startedMs),
    done,
    doneAtMs: startedMs === null ? 0 : Math.max(0, doneMs - startedMs),
    expectedMs: graph === undefined ? null : Estimates.ofGraph(estimates, server, graph, cold)
  })
}

const ofRun = (parts: Parts, one: Active, now: number): Prediction => {
  const { entry, member: { facts: { id: server } }, shown } = one
  const { fleet: { estimates } } = parts
  const key = entry.kind.affinity
  const seen = parts.seenOf(entry.id)
  const span = spanOf(parts, entry, server, seen, isCold(parts, entry, server, shown.found), now)
  return { kind: stageOf(seen.done), span, waitMs: 0, source: Estimates.estimate(estimates, server, key).source }
}

/** Milliseconds until the server has ended what is there of ours; infinity where nobody knows. */
const freeInMs = (parts: Parts, member: Member, now: number, without?: Active): number => {
  const coarse = Fleet.remaining(parts.fleet, member.facts.id, now, without?.run.runId)
  if (coarse === 0 || coarse === Number.POSITIVE_INFINITY) return coarse
  let ms = 0
  for (const [runId, { jobId }] of member.runs) {
    if (runId === without?.run.runId) continue
    const one = parts.activeOf(jobId)
    if (one === undefined) return coarse
    ms += ofRun(parts, one, now).span.expectedMs
  }
  return ms
}

// ── Jobs that wait ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Kinds of jobs of which it is asked whether they compete for the same servers; of others all are thought to. */
const maxKinds = 64

/** What one job of a kind takes from these servers: cold runs at their share, and less where it may go elsewhere too. */
const costOf = ({ fleet, jobs }: Parts, servers: ReadonlyMap<Member, unknown>, now: number): QueueAhead.Cost => {
  const known = new Map<string, number>()
  const shareOf = (need: Need): number => {
    if (known.size >= maxKinds) return 1
    let [here, all] = [0, 0]
    for (const member of fleet.members.values()) {
      if (!Fleet.isUp(member) || Placement.whyNever(need, member, now) !== undefined) continue
      all++
      if (servers.has(member)) here++
    }
    return all === 0 ? 0 : here / all
  }
  return (affinity, placement) => {
    const name = `${affinity}\n${placement}`
    const before = known.get(name)
    if (before !== undefined) return before
    const need = Jobs.kindOf(jobs, affinity, placement)?.need
    const { samples, surchargeMs, warmMs } = Estimates.estimate(fleet.estimates, anywhere, affinity)
    const ms = samples === 0 && need !== undefined && need.estimateMs !== null
      ? need.estimateMs
      : warmMs + surchargeMs * Estimates.coldShare(fleet.estimates, affinity)
    const cost = ms * (need === undefined ? 1 : shareOf(need))
    if (known.size < maxKinds) known.set(name, cost)
    return cost
  }
}

/** A queue tells of a job at once; what it has not told of after this is another pool's. */
const untoldMs = 2_000

const placeOf = ({ ready }: Parts, entry: Job.Entry, { at }: Time): QueueAhead.Place | undefined => {
  const { options: { priority, tenant } } = entry
  const head = ready.taken.has(entry.id) ? undefined : ready.jobs.get(entry.id)
  if (head !== undefined) return head
  return at - entry.submittedAt < untoldMs ? { priority, tenant, sequence: Number.POSITIVE_INFINITY } : undefined
}

/** A wait is this much shorter, or longer, until it is known better. */
const [shorter, longer] = [0.6, 1.6]

/** The run after so long a wait. */
const after = (waitMs: number, run: Eta.Span): Eta.Span =>
  Eta.plus({ lowMs: waitMs * shorter, expectedMs: waitMs, highMs: waitMs * longer }, run)

const ofWaiting = (parts: Parts, entry: Job.Entry, time: Time): Prediction | undefined => {
  const { fleet, ready } = parts
  const { now } = time
  const place = placeOf(parts, entry, time)
  if (place === undefined) return undefined
  const ask = Placement.whyNot(fleet, entry, now)
  const free = new Map<Member, number>()
  for (const member of fleet.members.values()) {
    if (!Fleet.isUp(member) || ask(member) !== undefined) continue
    const ms = freeInMs(parts, member, now)
    if (ms !== Number.POSITIVE_INFINITY) free.set(member, ms)
  }
  if (free.size === 0) return undefined
  const servers = Array.from(free, ([{ facts: { id } }, ms]) => ({
    id,
    cold: isCold(parts, entry, id),
    freeInMs: ms,
    speed: Estimates.speedOf(fleet.estimates, id)
  }))
  const work = QueueAhead.of(ready, place, costOf(parts, free, now))
  const due = (ready.delayed.get(entry.id)?.due ?? now) - now
  const waitMs = Math.max(due, QueueAhead.turnInMs(servers, work))
  // Where its models are, if it need not wait longer there; else whoever is free first.
  const [first] = servers.toSorted((a, b) =>
    Number(a.freeInMs > waitMs) - Number(b.freeInMs > waitMs) || Number(a.cold) - Number(b.cold) ||
    a.freeInMs - b.freeInMs
  )
  if (first === undefined) return undefined
  const { cold, id: server } = first
  const { graph } = parts.seenOf(entry.id)
  const run = spanOf(parts, entry, server, { ...unseen, graph }, cold, now)
  return {
    kind: waitMs === 0 ? "idle" : waitMs < run.expectedMs * 2 ? "soon" : "late",
    span: after(waitMs, run),
    waitMs,
    source: Estimates.estimate(fleet.estimates, server, entry.kind.affinity).source
  }
}

/** Of a run that waits in the queue of its server, behind one of ours. */
const ofNext = (parts: Parts, one: Active, now: number): Prediction => {
  const waitMs = freeInMs(parts, one.member, now, one)
  const run = ofRun(parts, one, now)
  return { ...run, kind: "soon", span: after(waitMs, run.span), waitMs }
}

/** Undefined where nobody can know: it has ended, its files are on their way, no server is there that takes it. */
const predict = (parts: Parts, entry: Job.Entry, time: Time): Prediction | undefined => {
  if (entry.ending !== undefined || entry.isCollected) return undefined
  const one = parts.activeOf(entry.id)
  if (one === undefined) return ofWaiting(parts, entry, time)
  const held = one.member.runs.get(one.run.runId)
  if (held === undefined || held.fenced) return undefined
  return held.isNext ? ofNext(parts, one, time.now) : ofRun(parts, one, time.now)
}

/** When a job is thought to end. Linear in the servers and in the kinds of jobs that wait. */
export const of = ({ calibrations, parts }: State, entry: Job.Entry, time: Time): JobEta | undefined => {
  const found = predict(parts, entry, time)
  if (found === undefined) return undefined
  const { kind, source, span, waitMs } = found
  return { at: time.at, ...Calibration.adjust(calibrations[kind], span), waitMs, source }
}

// ── What came of it ─────────────────────────────────────────────────────────────────────────────────────────────────

const note = ({ calibrations, parts, pending }: State, entry: Job.Entry, time: Time): void => {
  const before = pending.get(entry.id)
  if (before === undefined && pending.size >= maxPending) return
  const found = predict(parts, entry, time)
  if (found === undefined) return
  const said: Pending = { ...found, now: time.now, said: Calibration.adjust(calibrations[found.kind], found.span) }
  pending.set(entry.id, [...before ?? [], said].slice(-maxSaid))
}

const isOfWait = ({ kind }: Pending): boolean => kind === "idle" || kind === "soon" || kind === "late"

/** A job was queued: what is said of it now will be compared with its end. */
export const queued = (state: State, entry: Job.Entry, time: Time): void => {
  note(state, entry, time)
  if (state.pending.has(entry.id)) state.waiting.set(entry.id, entry)
}

/** It was placed: of its run too. What was said of an attempt before it was of another one. */
export const placed = (state: State, entry: Job.Entry, time: Time): void => {
  const before = state.pending.get(entry.id)
  if (before !== undefined) state.pending.set(entry.id, before.filter(isOfWait))
  state.waiting.delete(entry.id)
  note(state, entry, time)
}

/** Its run went on: said again at each quarter. */
export const advanced = (state: State, entry: Job.Entry, done: number, time: Time): void => {
  if (done < 1 / stages.length) return
  const last = state.pending.get(entry.id)?.at(-1)
  if (last === undefined || last.kind === stageOf(done)) return
  note(state, entry, time)
}

/** Jobs of milliseconds end more often than anybody asks. */
const sampleMs = 250

/** One that waits is asked about again, another each time: what is said then is not what is said at the beginning. */
const sample = (state: State, time: Time): void => {
  if (time.now - state.sampledAt < sampleMs) return
  state.sampledAt = time.now
  for (const [id, entry] of state.waiting) {
    state.waiting.delete(id)
    state.waiting.set(id, entry)
    return note(state, entry, time)
  }
}

/** A job has ended; only one that succeeded says how long such jobs take. */
export const ended = (state: State, { id }: Job.Entry, succeeded: boolean, time: Time): void => {
  const { calibrations, pending, waiting } = state
  const said = pending.get(id)
  pending.delete(id)
  waiting.delete(id)
  for (const one of succeeded ? said ?? [] : []) {
    Calibration.step(calibrations[one.kind], one.span, one.said, time.now - one.now)
  }
  sample(state, time)
}
