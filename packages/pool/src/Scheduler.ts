/**
 * The one loop that gives jobs to servers: woken by whatever may let a job be placed, it asks the router, claims the job,
 * and lets the attempt run beside. A job is bound when its server is idle, or about to be.
 */
import { makeRunId } from "@effect-comfyui/execution/Ids"
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { activate, type Active, isPaid } from "./Active.ts"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import * as Explanation from "./Explanation.ts"
import * as Fleet from "./Fleet.ts"
import * as Job from "./Job.ts"
import type { JobHead, OpenRun } from "./JobHead.ts"
import * as Jobs from "./Jobs.ts"
import type { Member } from "./Member.ts"
import * as Placement from "./Placement.ts"
import * as Prefetch from "./Prefetch.ts"
import * as ReadySet from "./ReadySet.ts"
import * as Residency from "./Residency.ts"
import type { Policy as RouterPolicy, Why } from "./Router.ts"
import * as Runner from "./Runner.ts"
import * as Storage from "./Storage.ts"
import * as Trail from "./Trail.ts"

/** What the loop works on; all of it is the pool's. */
export interface Options extends Omit<Runner.Options, "wake"> {
  readonly router: RouterPolicy
  /** Jobs of one tenant that may run at once. Default: no limit. */
  readonly maxRunningPerTenant: number
  readonly prefetch: Prefetch.Options | "off"
}

/** The loop, for the pool. */
export interface Scheduler extends Pick<Runner.Runner, "active" | "cancel" | "start" | "abandon"> {
  /** Look again: something may have changed. */
  readonly wake: () => void
  /** Places nothing more; what runs goes on. */
  readonly stop: () => void
}

const lease = Defaults.queue.lease
const againMs = Duration.toMillis(Defaults.queue.again)

/** What is not worth recalling now is looked at again after this. */
const askAgainMs = 250

/** Candidates that are looked at for one server that is about to be free. */
const followers = 16

/** Starts the loop in the scope of the caller. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Scheduler, never, Scope.Scope> {
  const { fleet, jobs, notice, prefetch, queue, ready, router } = options
  const clock = yield* Clock.Clock
  const latch = Latch.makeUnsafe(true)
  let stopped = false
  const isStopped = () => stopped
  const wake = () => void latch.openUnsafe()
  const now = () => readTime(clock).now
  const scope = yield* Effect.scope
  const runner = yield* Runner.make({ ...options, wake })
  /** Since when a server has had nothing to do. */
  const idleSince = new Map<BackendId, number>()

  const waiting: Placement.Waiting = {
    needOf: (affinity, placement) => Jobs.kindOf(jobs, affinity, placement)?.need,
    entryOf: (head) => jobs.open.get(head.id),
    demand: (key) => ReadySet.demandOf(ready, key)
  }

  const isBelowLimit = (tenant: string): boolean => {
    if (options.maxRunningPerTenant === Number.POSITIVE_INFINITY) return true
    let count = 0
    for (const { entry } of runner.active.values()) if (entry.options.tenant === tenant) count++
    return count < options.maxRunningPerTenant
  }

  /** Takes the server at once, so that nothing else is placed there while the queue answers. */
  const place = Effect.fnUntraced(function*(head: JobHead, member: Member, why: Why, isNext = false) {
    const entry = jobs.open.get(head.id)
    ReadySet.claimed(ready, head)
    if (entry === undefined) return
    const runId = yield* makeRunId
    const { at: startedAt, now: at } = readTime(clock)
    const { id } = member.facts
    const { coldMs, warmMs } = Estimates.estimate(fleet.estimates, id, head.affinity)
    const isWarm = isNext || Residency.warmth(fleet.residency, id, head.affinity)?.warm === true
    const expectedMs = isWarm ? warmMs : coldMs
    Trail.weighed(entry, runId, Explanation.others(fleet, entry, member, at))
    Fleet.occupy(fleet, member, runId, {
      jobId: head.id,
      key: head.affinity,
      content: Job.contentOf(entry),
      since: at,
      expectedMs,
      accepted: false,
      isNext,
      fenced: false
    })
    if (Breakers.permit(fleet.breakers, id, head.affinity, at) === "probe") {
      notice(Breakers.step(fleet.breakers, { _tag: "Probing", server: id, key: head.affinity }, at))
    }
    notice(Storage.step(fleet.storage, { _tag: "Probing", server: id }, at))
    const run: OpenRun = { runId, server: id, number: entry.attemptCount + 1, startedAt }
    const claimed = Effect.matchEffect(queue.claim(head.id, lease, run), {
      onSuccess: Option.match({
        onNone: () => Effect.sync(() => unplaced(head, member, runId)),
        onSome: (claim) => runner.start(activate(entry, claim, member, run), why)
      }),
      onFailure: () =>
        Effect.sync(() => {
          unplaced(head, member, runId)
          // Nobody else tells of it: it waits as before, once the queue answers again.
          ReadySet.step(ready, [{ _tag: "Ready", head, inMs: againMs }], now())
        })
    })
    // A store answers many at once as fast as one.
    yield* queue.durable ? Effect.forkIn(claimed, scope, { startImmediately: true }) : claimed
  })

  /** Somebody else has it: nothing has happened here. */
  const unplaced = (head: JobHead, member: Member, runId: RunId) => {
    member.runs.delete(runId)
    ReadySet.correct(ready, head.tenant, head.cost, 0)
    const input: Breakers.Input = { _tag: "Neutral", server: member.facts.id, key: head.affinity }
    notice(Breakers.step(fleet.breakers, input, now()))
    wake()
  }

  /** Gives jobs to idle servers, as the router says; answers when to look again. */
  const fill = Effect.fnUntraced(function*() {
    let until = Number.POSITIVE_INFINITY
    let rested = until
    let below: number | undefined
    while (!isStopped()) {
      const at = now()
      const reading = Placement.read(fleet, waiting, at)
      note(reading.idle, at)
      rested = reading.rested
      // Whatever comes due then waits for a server, whose end wakes us.
      if (reading.idle.length === 0) return rested
      const offer = ReadySet.take(ready, {
        now: at,
        accepts: reading.accepts,
        tenants: isBelowLimit,
        ...router.prefersWarm ? { warm: reading.warm } : {},
        ...below === undefined ? {} : { below }
      })
      const first = offer.candidates[0]
      if (first === undefined) break
      const decision = router.decide(reading.view(offer.candidates, offer.forced))
      if (decision._tag === "Wait") {
        const waits = jobs.open.get(first.id)
        if (waits !== undefined) Trail.waited(waits, readTime(clock), decision)
        // What is less urgent may use what the more urgent does not want.
        until = Math.min(until, decision.until ?? until)
        below = first.priority
        continue
      }
      const member = fleet.members.get(decision.server)
      if (member === undefined) break
      yield* place(decision.job, member, decision.why)
    }
    return Math.min(until, rested, ReadySet.nextDue(ready))
  })

  const note = (idle: ReadonlyArray<Member>, at: number) => {
    if (idle.length === 0) return idleSince.clear()
    const ids = new Set(idle.map(({ facts }) => facts.id))
    for (const id of idleSince.keys()) if (!ids.has(id)) idleSince.delete(id)
    for (const id of ids) if (!idleSince.has(id)) idleSince.set(id, at)
  }

  /** The job that would run on this server next, were it idle now, if it is one for the models that run there. */
  const follower = (member: Member, key: JobHead["affinity"], at: number): JobHead | undefined => {
    const reading = Placement.read(fleet, waiting, at, { idle: [member] })
    const warm = router.prefersWarm ? { warm: new Set([key]) } : {}
    const offer = ReadySet.take(ready, {
      now: at,
      accepts: reading.accepts,
      tenants: isBelowLimit,
      limit: followers,
      ...warm
    })
    const candidates = offer.forced || !router.prefersWarm ? offer.candidates.slice(0, 1) : offer.candidates
    const { eligible } = reading.view(candidates, offer.forced)
    const next = candidates.find((head) => {
      const entry = jobs.open.get(head.id)
      return head.affinity === key && entry !== undefined && !isPaid(entry, member) &&
        entry.recalledFrom !== member.facts.id && eligible(head, member.facts.id)
    })
    return next === undefined || isWanted(next, at) ? undefined : next
  }

  /** Whether a server that stands idle could run it: what waits for a warm card waits here, where it can be given away. */
  const isWanted = (head: JobHead, at: number): boolean => {
    if (idleSince.size === 0) return false
    const reading = Placement.read(fleet, waiting, at)
    const { eligible } = reading.view([head], false)
    return reading.idle.some(({ facts: { id } }) => eligible(head, id))
  }

  /** Sends the next prompt to servers whose run is about to end; answers when another one will be. */
  const ahead = Effect.fnUntraced(function*(rules: Prefetch.Options) {
    let until = Number.POSITIVE_INFINITY
    for (const member of fleet.members.values()) {
      const held = Prefetch.running(member)
      if (held === undefined || ReadySet.demandOf(ready, held.key) === 0) continue
      const at = now()
      const from = Prefetch.ripeAt(fleet, member, held, rules, at)
      if (from !== undefined && from > at) until = Math.min(until, from)
      if (from === undefined || from > at || isStopped()) continue
      const next = follower(member, held.key, at)
      if (next === undefined) continue
      const { samples, source, warmMs } = Estimates.estimate(fleet.estimates, member.facts.id, held.key)
      const why = {
        policy: router.name,
        warm: true,
        prefetched: true,
        endsInMs: Math.max(0, Math.round(held.since + held.expectedMs - at)),
        estimateMs: Math.round(warmMs),
        estimateFrom: source,
        estimateSamples: samples
      }
      yield* place(next, member, why, true)
    }
    return until
  })

  /** Jobs that wait on a busy server. */
  const sentAhead = (): ReadonlyArray<Active> =>
    [...runner.active.values()].filter(({ member, recalled, run }) =>
      !recalled && member.runs.get(run.runId)?.isNext === true
    )

  /** Takes back what waits on a busy server while the router would give it to one that stands idle. */
  const recall = Effect.fnUntraced(function*({ recallAfter }: Prefetch.Options) {
    if (idleSince.size === 0) return Number.POSITIVE_INFINITY
    const waits = sentAhead()
    if (waits.length === 0) return Number.POSITIVE_INFINITY
    const at = now()
    let until = Number.POSITIVE_INFINITY
    const idle = [...fleet.members.values()].filter(({ facts: { id } }) => {
      const since = idleSince.get(id)
      if (since === undefined) return false
      if (since + recallAfter > at) until = Math.min(until, since + recallAfter)
      return since + recallAfter <= at
    })
    const free = new Set(idle)
    for (const one of waits) {
      if (free.size === 0) break
      const reading = Placement.read(fleet, waiting, at, { idle: [...free], without: one.run.runId })
      const decision = router.decide(reading.view([one.claim.head], false))
      if (decision._tag !== "Place") {
        until = Math.min(until, Math.max(decision.until ?? until, at + askAgainMs))
        continue
      }
      const taken = fleet.members.get(decision.server)
      if (taken !== undefined) free.delete(taken)
      yield* runner.recall(one)
    }
    return until
  })

  /** Places what can be placed now; gives the moment of the next look. */
  const dispatch = Effect.gen(function*() {
    notice(Breakers.step(fleet.breakers, { _tag: "Tick" }, now()))
    // A fleet at rest is woken by every sign of life.
    if (ReadySet.size(ready) === 0 && (prefetch === "off" || sentAhead().length === 0)) {
      return Breakers.earliest(fleet.breakers)
    }
    const warm = yield* fill()
    const times = [warm, Breakers.earliest(fleet.breakers)]
    const tryAt = Storage.earliest(fleet.storage)
    // One that is due already waits for a server, whose end wakes us.
    if (tryAt > now()) times.push(tryAt)
    if (prefetch !== "off") times.push(yield* ahead(prefetch), yield* recall(prefetch))
    return Math.min(...times)
  })

  yield* Effect.forkScoped(Effect.gen(function*() {
    for (;;) {
      latch.closeUnsafe()
      const at = yield* dispatch
      const pause = Duration.millis(Math.max(1, Math.ceil(at - now())))
      yield* Number.isFinite(at) ? Effect.timeoutOption(latch.await, pause) : latch.await
    }
  }))

  return {
    wake,
    stop: () => {
      stopped = true
    },
    active: runner.active,
    cancel: runner.cancel,
    start: runner.start,
    abandon: runner.abandon
  }
})
