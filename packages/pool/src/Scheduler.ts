/**
 * The one loop that gives jobs to servers: woken by whatever may let a job be placed, it asks the router, claims the job,
 * and lets the attempt run beside. A job is bound when its server is idle, never before.
 */
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending, ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { type JobId, makeRunId, type RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Attempt from "./Attempt.ts"
import type * as AttemptClock from "./AttemptClock.ts"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import * as Job from "./Job.ts"
import type { JobHead } from "./JobHead.ts"
import type { Claim, JobQueue } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import type { Member, Told as ServerTold } from "./Member.ts"
import * as Outcome from "./Outcome.ts"
import * as ReadySet from "./ReadySet.ts"
import * as Residency from "./Residency.ts"
import * as RetryBudget from "./RetryBudget.ts"
import type { Policy as RouterPolicy, Why } from "./Router.ts"

/** What the loop works on; all of it is the pool's. */
export interface Options {
  readonly queue: JobQueue["Service"]
  readonly router: RouterPolicy
  readonly fleet: Fleet.Fleet
  readonly jobs: Jobs.Jobs
  readonly ready: ReadySet.State
  readonly policy: Outcome.Policy
  /** Jobs of one tenant that may run at once. Default: no limit. */
  readonly maxRunningPerTenant: number
  /** What happens to runs when the pool closes. */
  readonly onClose: "cancel" | "leave"
  readonly tellJob: (entry: Job.Entry, told: ReadonlyArray<Job.Told>) => void
  readonly tellServer: (member: Member, told: ReadonlyArray<ServerTold>) => void
  readonly notice: (notices: ReadonlyArray<Breakers.Notice>) => void
  /** A job waits again, after an attempt that may have taught something about it. */
  readonly released: (entry: Job.Entry) => Effect.Effect<void>
}

/** A claimed job on its way. */
interface Active {
  readonly entry: Job.Entry
  readonly claim: Claim
  readonly member: Member
  readonly runId: RunId
}

/** The loop, for the pool. */
export interface Scheduler {
  /** Look again: something may have changed. */
  readonly wake: () => void
  /** Places nothing more; what runs goes on. */
  readonly stop: () => void
  readonly active: ReadonlyMap<JobId, Active>
  /** Ends the attempt that runs of this job, if one does. */
  readonly cancel: (entry: Job.Entry) => Effect.Effect<void>
}

const leaseMs = Duration.toMillis(Defaults.queue.lease)
const ms = Duration.toMillis
const { timeouts } = Defaults

const clockOptions = (
  entry: Job.Entry,
  fleet: Fleet.Fleet,
  member: Member,
  now: number,
  paid: boolean
): AttemptClock.Options => {
  const { limits } = entry.options
  const p99 = [true, false].map((cold) => Estimates.quantiles(fleet.estimates, member.facts.id, entry.affinity, cold))
    .filter((found) => found !== undefined && found.samples >= timeouts.nodeSamples)
  const slowest = Math.max(0, ...p99.map((found) => found?.p99 ?? 0))
  return {
    startMs: limits.startMs ?? ms(timeouts.start),
    firstProgressMs: paid ? ms(timeouts.nodePaid) : ms(timeouts.nodeFirst),
    betweenStepsMs: paid ? ms(timeouts.nodePaid) : ms(timeouts.nodeStep),
    stepFactor: timeouts.nodeSteps,
    warnMs: ms(timeouts.nodeWarning),
    totalMs: Math.min(limits.totalMs ?? Number.POSITIVE_INFINITY, entry.deadlineAt - now),
    known: slowest === 0
      ? undefined
      : { p99Ms: slowest, floorMs: ms(timeouts.nodeLearned), factor: timeouts.nodeP99 },
    nodeIdleMs: limits.nodeIdleMs
  }
}

/** What a run showed while it went on: whether it began, and what it found in the server's cache. */
interface Shown {
  accepted: boolean
  startedAt: number | undefined
  began: boolean
  found: "outputs" | "loader" | null | undefined
}

const show = (shown: Shown, entry: Job.Entry, events: ReadonlyArray<ExecutionEvent>): void => {
  for (const event of events) {
    if (event._tag === "Submitted") shown.accepted = true
    else if (event._tag === "Started") shown.startedAt ??= event.elapsed
    else if (event._tag === "NodesCached") {
      shown.found = Residency.found(entry.workflow, new Set(event.nodeIds))
    } else if (event._tag === "NodeStarted") shown.began = true
  }
}

/** Starts the loop in the scope of the caller. */
export const make = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Scheduler, never, Scope.Scope> {
  const { fleet, jobs, notice, policy, queue, ready, router, tellJob, tellServer } = options
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const latch = Latch.makeUnsafe(true)
  const active = new Map<JobId, Active>()
  let stopped = false
  const isStopped = () => stopped
  const wake = () => void latch.openUnsafe()
  const now = () => readTime(clock).now

  /** The job has ended, whatever the queue makes of it: a lost lease means that somebody else ends it. */
  const over = (entry: Job.Entry, told: Job.EndingTold) => {
    tellJob(entry, [told])
    Jobs.end(jobs, entry, now())
  }

  const settle = ({ claim, entry }: Active, follows: Outcome.Follows) => {
    const { head: { id }, token } = claim
    switch (follows._tag) {
      case "Settle":
        over(entry, follows.told)
        return entry.ending === undefined ? Effect.void : queue.settle(id, token, entry.ending)
      case "DeadLetter":
        over(entry, follows.told)
        return entry.ending?._tag === "DeadLettered" ? queue.deadLetter(id, token, entry.ending) : Effect.void
      case "Release":
        entry.ledger = follows.ledger
        return Effect.andThen(
          queue.release(id, token, { delay: follows.delayMs, ledger: follows.ledger }),
          options.released(entry)
        )
    }
  }

  const attempt = Effect.fn("comfy.attempt")(function*(one: Active, why: Why) {
    const { claim, entry, member, runId } = one
    const { backend, facts: { id: server } } = member
    if (backend === undefined) return
    const key = entry.affinity
    const paid = entry.options.paid ??
      [...entry.need.classes].some((name) => member.capabilities?.paid.has(name) === true)
    const before = Residency.residents(fleet.residency, server)[0]
    const record = Job.attempted(entry, { runId, server, startedAt: readTime(clock).at, why })
    if (record.number === 1) RetryBudget.job(policy.budget, now())
    tellJob(entry, [{ _tag: "Placed", server, why }])
    const shown: Shown = { accepted: false, startedAt: undefined, began: false, found: undefined }
    const startedAt = now()
    const decided = yield* Attempt.run({
      backend,
      request: {
        runId,
        job: Option.some({ id: entry.id, attempt: claim.attempt }),
        workflow: entry.workflow,
        attachments: entry.options.attachments,
        acceptPartial: entry.options.acceptPartial,
        onInterrupt: options.onClose
      },
      clock: clockOptions(entry, fleet, member, startedAt, paid),
      onEvents: (events) => {
        member.aliveAt = now()
        show(shown, entry, events)
        tellJob(entry, events.map((event) => ({ _tag: "Attempt", number: record.number, event })))
      },
      onSilence: () => undefined,
      onCancelStuck: () => tellServer(member, [{ _tag: "CancelStuck", jobId: entry.id }])
    }, scope)
    const ranMs = now() - startedAt
    const failed = (reason: Reason): Ending => ({
      _tag: "Failed",
      runId,
      backend: server,
      sequence: 0,
      at: readTime(clock).at,
      elapsed: ranMs,
      via: "client",
      error: new ExecutionError({ reason, runId, backend: server })
    })
    const isLate = now() >= entry.deadlineAt
    const ending = decided._tag === "GivenUp"
      ? failed(isLate ? { _tag: "DeadlineExceeded", deadline: readTime(clock).at } : decided.reason)
      // Its client was closed because the server was taken out, which is not the job's end.
      : fleet.members.get(server) !== member && isClosed(decided.ending)
      ? failed({ _tag: "Lost", evidence: "the server was removed from the pool" })
      : decided.ending
    if (fleet.members.get(server) === member) {
      // What is lost went with its process, and with it whatever was warm there; its `Restarted` may come later.
      if (ending._tag === "Failed" && ending.error.reason._tag === "Lost") {
        Residency.step(fleet.residency, { _tag: "Started", server })
      } else if (shown.startedAt !== undefined) {
        Residency.step(fleet.residency, { _tag: "Ran", server, key, found: shown.found, at: now() })
      }
    }
    record.endedAs = ending._tag === "Failed" ? ending.error.reason._tag : ending._tag
    record.endedAt = readTime(clock).at
    const executionMs = ranMs - (shown.startedAt ?? 0)
    // Without a model no run is a cold one; with one, nobody knows.
    const nothingToLoad = entry.need.files.length === 0 ? false : undefined
    // The estimate is that of the submission; what the job really took is its tenant's.
    ReadySet.correct(ready, entry.options.tenant, claim.head.cost, shown.startedAt === undefined ? 0 : executionMs)
    const meaning = Outcome.step(
      fleet,
      policy,
      {
        entry,
        record,
        member,
        ending,
        accepted: shown.accepted || isDoubtful(ending),
        began: shown.began,
        cold: shown.found === undefined ? nothingToLoad : shown.found === null,
        ranMs: executionMs,
        paid,
        anotherKeyBefore: before !== undefined && before.key !== key
      },
      now(),
      yield* Random.next
    )
    active.delete(entry.id)
    if (decided._tag === "Ended") member.runs.delete(runId)
    else yield* Effect.forkIn(fence(member, runId, decided.rest), scope)
    notice(meaning.notices)
    tellJob(entry, meaning.told)
    yield* Effect.ignore(settle(one, meaning.follows))
    wake()
  })

  /** A server whose run was given up stays taken until that run has ended. */
  const fence = (member: Member, runId: RunId, rest: Effect.Effect<unknown>) =>
    Effect.suspend(() => {
      const held = member.runs.get(runId)
      if (held !== undefined) held.fenced = true
      return Effect.andThen(rest, () =>
        Effect.sync(() => {
          member.runs.delete(runId)
          wake()
        }))
    })

  const waiting: Fleet.Waiting = {
    needOf: (affinity, placement) => Jobs.needOf(jobs, affinity, placement),
    entryOf: (head) => jobs.open.get(head.id),
    demand: (key) => ReadySet.demandOf(ready, key)
  }

  const runningOf = (tenant: string): number => {
    let count = 0
    for (const { entry } of active.values()) if (entry.options.tenant === tenant) count++
    return count
  }

  /** Takes the server at once, so that nothing else is placed there while the queue answers. */
  const place = Effect.fnUntraced(function*(head: JobHead, member: Member, why: Why) {
    const runId = yield* makeRunId
    const at = now()
    const { coldMs, warmMs } = Estimates.estimate(fleet.estimates, member.facts.id, head.affinity)
    const isWarm = Residency.warmth(fleet.residency, member.facts.id, head.affinity)?.warm === true
    Fleet.occupy(
      fleet,
      member,
      runId,
      { jobId: head.id, key: head.affinity, since: at, expectedMs: isWarm ? warmMs : coldMs, fenced: false }
    )
    if (Breakers.permit(fleet.breakers, member.facts.id, head.affinity, at) === "probe") {
      notice(Breakers.step(fleet.breakers, { _tag: "Probing", server: member.facts.id, key: head.affinity }, at))
    }
    ReadySet.claimed(ready, head.id)
    const claim = yield* Effect.catch(queue.claim(head.id, leaseMs), () => Effect.succeedNone)
    const entry = jobs.open.get(head.id)
    if (Option.isNone(claim) || entry === undefined) {
      member.runs.delete(runId)
      if (Option.isSome(claim)) yield* Effect.ignore(queue.release(head.id, claim.value.token))
      return
    }
    const one: Active = { entry, claim: claim.value, member, runId }
    active.set(entry.id, one)
    yield* Effect.forkIn(attempt(one, why), scope)
  })

  /** Places what can be placed now; gives the moment of the next look. */
  const dispatch = Effect.fnUntraced(function*() {
    let until = Number.POSITIVE_INFINITY
    let below: number | undefined
    while (!isStopped()) {
      const at = now()
      notice(Breakers.step(fleet.breakers, { _tag: "Tick" }, at))
      const reading = Fleet.read(fleet, waiting, at)
      if (reading.idle.length === 0) break
      const offer = ReadySet.take(ready, {
        now: at,
        accepts: reading.accepts,
        tenants: (tenant) => runningOf(tenant) < options.maxRunningPerTenant,
        ...router.prefersWarm ? { warm: reading.warm } : {},
        ...below === undefined ? {} : { below }
      })
      const first = offer.candidates[0]
      if (first === undefined) break
      const decision = router.decide(reading.view(offer.candidates, offer.forced))
      if (decision._tag === "Wait") {
        // What is less urgent may use what the more urgent does not want.
        until = Math.min(until, decision.until ?? until)
        below = first.priority
        continue
      }
      const member = fleet.members.get(decision.server)
      if (member === undefined) break
      yield* place(decision.job, member, decision.why)
    }
    return Math.min(until, ReadySet.nextDue(ready), Breakers.earliest(fleet.breakers))
  })

  const loop = Effect.gen(function*() {
    for (;;) {
      latch.closeUnsafe()
      const at = yield* dispatch()
      const pause = Math.max(1, Math.ceil(at - now()))
      yield* Number.isFinite(at) ? Effect.timeoutOption(latch.await, pause) : latch.await
    }
  })

  /** Keeps what is claimed, and hears who wants it cancelled. */
  const keep = Effect.gen(function*() {
    for (;;) {
      yield* Effect.sleep(leaseMs / 3)
      for (const one of [...active.values()]) {
        const kept = yield* Effect.result(queue.extend(one.entry.id, one.claim.token, leaseMs))
        if (kept._tag === "Success" && kept.success.cancelRequested) yield* cancel(one.entry)
      }
    }
  })

  const cancel = (entry: Job.Entry): Effect.Effect<void> =>
    Effect.suspend(() => {
      const one = active.get(entry.id)
      const backend = one?.member.backend
      if (one === undefined || backend === undefined) return Effect.void
      entry.cancelAsked = true
      return Effect.ignore(backend.cancel(one.runId))
    })

  yield* Effect.forkScoped(loop)
  yield* Effect.forkScoped(keep)
  return {
    wake,
    stop: () => {
      stopped = true
    },
    active,
    cancel
  }
})

const isClosed = (ending: Ending): boolean => ending._tag === "Failed" && ending.error.reason._tag === "Closed"

/** Nobody knows whether the server took it: counted as if it had. */
const isDoubtful = (ending: Ending): boolean =>
  ending._tag === "Failed" && ending.error.reason._tag === "SubmitAmbiguous"
