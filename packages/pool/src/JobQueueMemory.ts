/** The queue in this process: nothing survives its end. Claims are fenced as in every other layer. */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import { readTime } from "@effect-comfyui/execution/Time"
import type { Json } from "@effect-comfyui/workflow/Json"
import type { Clock } from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Defaults from "./Defaults.ts"
import * as Announcer from "./internal/announcer.ts"
import {
  type Claimed,
  earliest,
  type Entry,
  expired,
  hasEnded,
  held,
  hold,
  holds,
  letGo,
  stateOf
} from "./internal/leases.ts"
import { fail, lost, stateOfEnding } from "./internal/queueAnswers.ts"
import * as Recent from "./internal/recent.ts"
import type { JobHead, OpenRun } from "./JobHead.ts"
import { type Cancelled, type Claim, type Filter, JobQueue, type JobRecord, type Offer } from "./JobQueue.ts"

/** Limits of a queue in memory. */
export interface Options {
  /** Waiting jobs; at it `offer` fails with `QueueFull`. Default 100,000. */
  readonly maxQueued?: number
  /** Ended jobs that are remembered, default 10,000, and for how long, default 24 h; the oldest go first. */
  readonly history?: number
  readonly historyAge?: Duration.Input
}

const recordOf = ({ fingerprint, head, held, options, queuedAfter }: Entry, opened: number): JobRecord => ({
  head,
  state: held?.state ?? "waiting",
  attempt: held?.attempt ?? 0,
  queuedAt: opened + queuedAfter,
  lease: held?.state === "claimed" ? { token: held.token, expiresAt: held.expiresAt } : null,
  cancelRequested: held?.cancelRequested ?? false,
  ending: held?.ending ?? null,
  endedAt: held?.endedAt ?? null,
  options,
  fingerprint,
  ledger: held?.ledger ?? null,
  run: held?.run ?? null
})

const make = Effect.fnUntraced(function*(options: Options = {}) {
  const maxQueued = options.maxQueued ?? Defaults.queue.maxQueued
  const maxHistory = options.history ?? Defaults.queue.history
  const historyAge = Duration.toMillis(options.historyAge ?? Defaults.queue.historyAge)
  const clock: Clock = yield* Effect.clockWith(Effect.succeed)
  const { at: opened, now: origin } = readTime(clock)
  /** Whole milliseconds since then; small numbers, which take no space of their own. */
  const sinceOpened = () => Math.floor(Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000 - origin)
  /** Epoch milliseconds that no step of the wall clock moves: leases neither run out by one nor last longer. */
  const now = () => opened + sinceOpened()

  /** All jobs, in order of arrival. */
  const jobs = new Map<JobId, Entry>()
  const claimed: Claimed = []
  /** Ended and dead ones; those a person has to look at stay whatever their age. */
  const ended = Recent.make<JobId, Entry>(maxHistory, historyAge, {
    lasts: (entry) => stateOf(entry) === "dead",
    dropped: (id) => void jobs.delete(id)
  })
  let sequence = 0
  let tokens = 0

  const waiting = () => jobs.size - claimed.length - ended.items.size
  const announcer = yield* Announcer.make({
    *waiting() {
      for (const entry of jobs.values()) if (stateOf(entry) === "waiting") yield entry.head
    },
    leftOf: (id) => jobs.get(id)?.held?.run ?? null,
    now
  })

  const end = (entry: Entry, state: JobRecord["state"], ending: JobEnding | null, at: number) => {
    const of = held(entry)
    letGo(claimed, entry)
    of.state = state
    of.ending = ending
    of.endedAt = at
    if (state !== "dead") entry.payload = undefined
    Recent.add(ended, entry.head.id, entry, at)
  }

  const ready = (entry: Entry, head: JobHead) => {
    letGo(claimed, entry)
    held(entry).state = "waiting"
    entry.head = head
    announcer.ready(head)
  }

  const expire = (at: number) => {
    for (const entry of expired(claimed, at)) {
      if (entry.held?.cancelRequested === true && entry.held.run === null) end(entry, "cancelled", null, at)
      else ready(entry, entry.head)
    }
  }

  const watch = yield* Announcer.alarm(
    () => earliest(claimed),
    () => expire(now()),
    now
  )

  const offer = ({ fingerprint, head, payload }: Offer) =>
    Effect.suspend(() => {
      const known = jobs.get(head.id)
      if (known !== undefined) {
        return known.fingerprint === fingerprint
          ? Effect.succeed("duplicate" as const)
          : fail({ _tag: "IdempotencyConflict", key: head.id, jobId: head.id })
      }
      if (waiting() >= maxQueued) {
        return fail({ _tag: "QueueFull", tenant: null, limit: maxQueued, retryAfterMs: 1000 })
      }
      const { affinity, cost, id, notBefore, placement, priority, tenant } = head
      // Whole numbers stand in the object itself: 32 bytes less per waiting job.
      const whole = {
        id,
        priority,
        tenant,
        affinity,
        placement,
        cost: Math.round(cost),
        notBefore,
        sequence: sequence++
      }
      const { options } = payload
      jobs.set(id, { head: whole, payload, options, fingerprint, queuedAfter: sinceOpened(), held: undefined })
      announcer.ready(whole)
      return Effect.succeed("queued" as const)
    })

  const claim = (id: JobId, ttl: Duration.Input, run: OpenRun | null = null) =>
    Effect.sync((): Option.Option<Claim> => {
      const at = now()
      const entry = jobs.get(id)
      // The alarm may not have rung yet.
      if (entry !== undefined && stateOf(entry) === "claimed" && (entry.held?.expiresAt ?? 0) <= at) expire(at)
      if (entry === undefined || stateOf(entry) !== "waiting" || entry.head.notBefore > at) return Option.none()
      const { head, payload } = entry
      if (payload === undefined) return Option.none()
      const of = held(entry)
      if (of.run !== null && of.run.runId !== run?.runId) return Option.none()
      of.state = "claimed"
      of.run = run
      of.token = ++tokens
      of.attempt++
      of.expiresAt = at + Duration.toMillis(ttl)
      hold(claimed, entry)
      announcer.gone(id)
      watch.wake(of.expiresAt)
      const { attempt, cancelRequested, ledger, token } = of
      return Option.some({ head, token, attempt, payload, ledger, cancelRequested })
    })

  /** Does what only the holder may do. */
  const fenced = <A>(id: JobId, token: number, act: (entry: Entry, at: number) => A) =>
    Effect.suspend(() => {
      const at = now()
      const entry = jobs.get(id)
      return holds(entry, token, at) ? Effect.succeed(act(entry, at)) : lost(id, token)
    })

  const extend = (id: JobId, token: number, ttl: Duration.Input) =>
    fenced(id, token, (entry, at) => {
      const of = held(entry)
      of.expiresAt = at + Duration.toMillis(ttl)
      watch.wake(of.expiresAt)
      return { cancelRequested: of.cancelRequested }
    })

  const settle = (id: JobId, token: number, ending: JobEnding) =>
    fenced(id, token, (entry, at) => end(entry, stateOfEnding(ending), ending, at))

  const release = (
    id: JobId,
    token: number,
    { delay = 0, ledger, left = false }: {
      readonly delay?: Duration.Input
      readonly ledger?: Json
      readonly left?: boolean
    } = {}
  ) =>
    fenced(id, token, (entry, at) => {
      const of = held(entry)
      if (!left) of.run = null
      if (of.cancelRequested && of.run === null) return end(entry, "cancelled", null, at)
      if (ledger !== undefined) of.ledger = ledger
      const delayMs = Duration.toMillis(delay)
      ready(entry, { ...entry.head, notBefore: delayMs > 0 ? at + delayMs : 0 })
    })

  const cancel = (id: JobId, ending: JobEnding | null = null) =>
    Effect.sync((): Cancelled => {
      const entry = jobs.get(id)
      if (entry === undefined) return "unknown"
      const state = stateOf(entry)
      if (hasEnded(state)) return "ended"
      // Where a run was left, whoever claims that one is told.
      if (state === "claimed" || (entry.held?.run ?? null) !== null) {
        held(entry).cancelRequested = true
        return "requested"
      }
      end(entry, ending === null ? "cancelled" : stateOfEnding(ending), ending, now())
      announcer.gone(id)
      return "removed"
    })

  const redrive = (id: JobId) =>
    Effect.sync(() => {
      const entry = Recent.get(ended, id)
      if (entry === undefined || stateOf(entry) !== "dead") return false
      Recent.remove(ended, id)
      const anew = { attempt: 0, ledger: null, run: null, ending: null, endedAt: null, cancelRequested: false }
      Object.assign(held(entry), anew)
      entry.queuedAfter = sinceOpened()
      ready(entry, { ...entry.head, notBefore: 0 })
      return true
    })

  const list = ({ after = -1, limit = 100, states, tenant }: Filter = {}) =>
    Effect.sync(() => {
      const found: Array<JobRecord> = []
      const most = Math.min(Math.max(Math.trunc(limit), 0), 1000)
      for (const entry of jobs.values()) {
        if (found.length >= most) break
        const fits = entry.head.sequence > after && (tenant === undefined || entry.head.tenant === tenant) &&
          (states === undefined || states.includes(stateOf(entry)))
        if (fits) found.push(recordOf(entry, opened))
      }
      return found
    })

  const stats = Effect.sync(() => {
    const at = now()
    let dead = 0
    let delayed = 0
    for (const entry of Recent.values(ended)) if (stateOf(entry) === "dead") dead++
    for (const entry of jobs.values()) if (entry.head.notBefore > at && stateOf(entry) === "waiting") delayed++
    return { waiting: waiting(), delayed, claimed: claimed.length, dead, ended: ended.items.size - dead }
  })

  return JobQueue.of({
    durable: false,
    offer,
    heads: announcer.heads,
    claim,
    extend,
    settle,
    release,
    cancel,
    deadLetter: settle,
    redrive,
    get: (id) => Effect.sync(() => Option.map(Option.fromNullishOr(jobs.get(id)), (entry) => recordOf(entry, opened))),
    payload: (id) =>
      Effect.sync(() => {
        const entry = jobs.get(id)
        return entry === undefined || hasEnded(stateOf(entry)) ? Option.none() : Option.fromNullishOr(entry.payload)
      }),
    list,
    stats,
    forget: (id) => Effect.sync(() => Recent.remove(ended, id) && jobs.delete(id))
  })
})

/** A queue of its own per build, with these limits. */
export const layerMemoryWith = (options: Options): Layer.Layer<JobQueue> => Layer.effect(JobQueue, make(options))

/** A queue in memory: 100,000 waiting jobs, 10,000 ended ones for 24 h. */
export const layerMemory: Layer.Layer<JobQueue> = layerMemoryWith({})
