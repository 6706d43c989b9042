/**
 * A claimed job on its server: its files are brought there, it runs under its clocks, and what its end means goes to the
 * queue, to the server's record, and to whoever listens.
 */
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending } from "@effect-comfyui/execution/ExecutionEvent"
import type { JobId, RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { type Active, isPaid, show } from "./Active.ts"
import * as Attempt from "./Attempt.ts"
import type * as AttemptClock from "./AttemptClock.ts"
import type * as Breakers from "./Breakers.ts"
import * as Collection from "./Collection.ts"
import * as Defaults from "./Defaults.ts"
import * as Failover from "./Failover.ts"
import type * as Fleet from "./Fleet.ts"
import * as Job from "./Job.ts"
import type { OpenRun } from "./JobHead.ts"
import type { Claim } from "./JobQueue.ts"
import * as Member from "./Member.ts"
import * as Outcome from "./Outcome.ts"
import * as ReadySet from "./ReadySet.ts"
import * as Residency from "./Residency.ts"
import * as RetryBudget from "./RetryBudget.ts"
import type { Why } from "./Router.ts"
import * as Settlement from "./Settlement.ts"
import * as Trail from "./Trail.ts"
import * as Transfer from "./Transfer.ts"

/** What attempts work on; all of it is the pool's. */
export interface Options extends Settlement.Options, Collection.Options {
  readonly fleet: Fleet.Fleet
  readonly ready: ReadySet.State
  /** What happens to runs when the pool closes. */
  readonly onClose: "cancel" | "leave"
  readonly tellServer: (member: Member.Member, told: ReadonlyArray<Member.Told>) => void
  readonly notice: (notices: ReadonlyArray<Breakers.Notice>) => void
  /** An attempt of a job begins whose graph this is. */
  readonly began: (entry: Job.Entry, workflow: Workflow) => void
  /** Something has ended: another job may be placed. */
  readonly wake: () => void
}

/** The attempts of a pool. */
export interface Runner {
  readonly active: ReadonlyMap<JobId, Active>
  /** From the placement to the end, in the scope of the pool. Returns at once. */
  readonly start: (one: Active, why: Why) => Effect.Effect<void>
  /** Ends the attempt that runs of this job, if one does. */
  readonly cancel: (entry: Job.Entry) => Effect.Effect<void>
  /** Takes a job back that waits on its server: it goes to another one. */
  readonly recall: (one: Active) => Effect.Effect<void>
  /** Ends an attempt of which nothing more can be learnt: its run was left, and nobody knows it. */
  readonly abandon: (lost: Abandoned) => Effect.Effect<void>
}

/** A run that was left and is given up. */
export interface Abandoned {
  readonly entry: Job.Entry
  readonly claim: Claim
  readonly run: OpenRun
  readonly reason: Reason
  /** Whether it counts as a run that may have happened; one that its server never heard of does not. */
  readonly accepted: boolean
}

const ms = Duration.toMillis
const leaseMs = ms(Defaults.queue.lease)
const { timeouts } = Defaults

const clockOptions = (
  entry: Job.Entry,
  fleet: Fleet.Fleet,
  member: Member.Member,
  now: number,
  sinceMs: number,
  paid: boolean
): AttemptClock.Options => {
  const { limits } = entry.options
  const p99 = [true, false].map((cold) =>
    Estimates.quantiles(fleet.estimates, member.facts.id, entry.kind.affinity, cold)
  )
    .filter((found) => found !== undefined && found.samples >= timeouts.nodeSamples)
  const slowest = Math.max(0, ...p99.map((found) => found?.p99 ?? 0))
  return {
    startMs: limits.startMs ?? ms(timeouts.start),
    firstProgressMs: paid ? ms(timeouts.nodePaid) : ms(timeouts.nodeFirst),
    betweenStepsMs: paid ? ms(timeouts.nodePaid) : ms(timeouts.nodeStep),
    stepFactor: timeouts.nodeSteps,
    warnMs: ms(timeouts.nodeWarning),
    totalMs: Math.min((limits.totalMs ?? Number.POSITIVE_INFINITY) - sinceMs, entry.deadlineAt - now),
    known: slowest === 0
      ? undefined
      : { p99Ms: slowest, floorMs: ms(paid ? timeouts.nodePaid : timeouts.nodeLearned), factor: timeouts.nodeP99 },
    nodeIdleMs: limits.nodeIdleMs ?? undefined
  }
}

const isClosed = (ending: Ending): boolean => ending._tag === "Failed" && ending.error.reason._tag === "Closed"

/** Nobody knows whether the server took it: counted as if it had. */
const isDoubtful = (ending: Ending): boolean =>
  ending._tag === "Failed" && ending.error.reason._tag === "SubmitAmbiguous"

const hasDied = (ending: Ending): boolean => ending._tag === "Failed" && Failover.died.has(ending.error.reason._tag)

const nameOf = (ending: Ending): string => ending._tag === "Failed" ? ending.error.reason._tag : ending._tag

/** Attempts in the scope of the caller. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Runner, never, Scope.Scope> {
  const { fleet, notice, policy, queue, ready, tellJob, tellServer, wake } = options
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const tracer = yield* Effect.tracer
  const active = new Map<JobId, Active>()
  const settlement = yield* Settlement.make(options)
  const collection = yield* Collection.make(options)
  const now = () => readTime(clock).now

  /** What the run says of its server: what is warm there now, what it lacks. */
  const learn = ({ entry, member, shown }: Active, ending: Ending) => {
    const { facts: { id: server } } = member
    if (fleet.members.get(server) !== member) return
    const reason = ending._tag === "Failed" ? ending.error.reason : undefined
    if (reason?._tag === "MissingCapability") {
      Member.lacks(member, [...reason.classes, ...reason.models], now() + ms(Defaults.health.missing))
      member.refresh()
    }
    // What is lost went with its process, and with it whatever was warm there; its `Restarted` may come later.
    if (reason?._tag === "Lost") Residency.step(fleet.residency, { _tag: "Started", server })
    else if (shown.startedAt !== undefined) {
      Residency.step(fleet.residency, { _tag: "Ran", server, key: entry.kind.affinity, found: shown.found, at: now() })
    }
  }

  const failure = ({ runId, server }: OpenRun, reason: Reason, ranMs: number): Ending => ({
    _tag: "Failed",
    runId,
    backend: server,
    sequence: 0,
    at: readTime(clock).at,
    elapsed: ranMs,
    via: "client",
    error: new ExecutionError({ reason, runId, backend: server })
  })

  /** How the attempt ended; a limit that ran out is a failure, and a closed client is its server's removal. */
  const endingOf = ({ entry, member, run }: Active, decided: Attempt.Decided, ranMs: number): Ending => {
    const { id: backend } = member.facts
    const failed = (reason: Reason) => failure(run, reason, ranMs)
    if (decided._tag === "GivenUp") {
      const { reason } = decided
      if (now() >= entry.deadlineAt) return failed({ _tag: "DeadlineExceeded", deadline: readTime(clock).at })
      // Of a run that was left only the rest of its time was watched.
      const limitMs = entry.options.limits.totalMs
      return failed(reason._tag === "TotalTimeout" && limitMs !== null ? { ...reason, limitMs } : reason)
    }
    return fleet.members.get(backend) !== member && isClosed(decided.ending)
      ? failed({ _tag: "Lost", evidence: "the server was removed from the pool" })
      : decided.ending
  }

  const run = Effect.fnUntraced(function*(one: Active, why: Why) {
    const { claim, entry, isLeft, member, run: { number, runId, startedAt: sentAt }, shown } = one
    const { backend, facts: { id: server } } = member
    if (backend === undefined) return
    const key = entry.kind.affinity
    const paid = isPaid(entry, member)
    const before = Residency.residents(fleet.residency, server)[0]
    entry.attemptCount = number - 1
    const record = Job.attempted(entry, { runId, server, startedAt: sentAt, why })
    if (number === 1) RetryBudget.job(policy.budget, now())
    options.began(entry, claim.payload.workflow)
    tellJob(entry, [{ _tag: "Placed", server, why }])
    const startedAt = now()
    if (entry.ledger.freeOn === server && !isLeft) yield* Effect.ignore(backend.freeMemory)
    const decided = yield* Attempt.run({
      backend,
      runId,
      events: isLeft ? backend.attach(runId) : Transfer.run(
        backend,
        {
          runId,
          job: Option.some({ id: entry.id, attempt: claim.attempt }),
          workflow: Collection.workflowOf(entry, claim.payload.workflow),
          attachments: claim.payload.attachments,
          acceptPartial: entry.options.acceptPartial,
          onInterrupt: options.onClose
        },
        {
          asked: one.asked,
          onSent: (sent) => tellJob(entry, [{ _tag: "Transferred", ...sent }]),
          onUnsent: () => {
            one.neverRan = true
          }
        }
      ),
      clock: clockOptions(entry, fleet, member, startedAt, readTime(clock).at - sentAt, paid),
      onEvents: (events) => {
        member.aliveAt = now()
        show(one, events)
        seen(one)
        tellJob(entry, events.map((event) => ({ _tag: "Attempt", number: record.number, event })))
      },
      onCancelStuck: () => tellServer(member, [{ _tag: "CancelStuck", jobId: entry.id }])
    }, scope)
    if (decided._tag === "GivenUp" && decided.reason._tag === "Closed") return yield* giveBack(one)
    const ranMs = now() - startedAt
    if (decided._tag === "GivenUp") Deferred.doneUnsafe(one.asked, Effect.void)
    // What our cancelling did is known a moment after the run has ended by it.
    if (one.ending !== undefined) yield* Effect.timeoutOption(Deferred.await(one.ending), timeouts.cancelRepeat)
    const ending = endingOf(one, decided, ranMs)
    learn(one, ending)
    record.endedAs = nameOf(ending)
    record.endedAt = readTime(clock).at
    const executionMs = ranMs - (shown.startedAt ?? 0)
    // Without a model no run is a cold one; with one, nobody knows.
    const nothingToLoad = entry.kind.need.files.length === 0 ? false : undefined
    // Of a run that was left nobody saw the beginning.
    const cold = isLeft ? undefined : shown.found === undefined ? nothingToLoad : shown.found === null
    record.cold = cold ?? null
    // The estimate is that of the submission; what the job really took is its tenant's.
    const charged = isLeft ? 0 : claim.head.cost
    ReadySet.correct(ready, entry.options.tenant, charged, shown.startedAt === undefined ? 0 : executionMs)
    const meaning = Outcome.step(
      fleet,
      policy,
      {
        entry,
        record,
        member,
        ending,
        accepted: shown.accepted || isDoubtful(ending),
        onlyWaited: member.runs.get(runId)?.isNext === true && !shown.began,
        recalled: one.recalled,
        neverRan: one.neverRan && !shown.began,
        began: shown.began,
        cold,
        ranMs: executionMs,
        paid,
        anotherKeyBefore: before !== undefined && before.key !== key,
        unwatched: false
      },
      now(),
      yield* Random.next
    )
    if (decided._tag === "Ended") vacate(member, runId, hasDied(ending))
    else yield* Effect.forkIn(fence(member, runId, decided.rest), scope)
    tell(entry, meaning)
    wake()
    yield* settlement.conclude(one, yield* collection.follow(one, paid, meaning.follows))
    if (active.get(entry.id) === one) active.delete(entry.id)
    wake()
  })

  const tell = (entry: Job.Entry, { lateMs, notices, told }: Outcome.Meaning, before: ReadonlyArray<Job.Told> = []) => {
    notice(notices)
    tellJob(entry, [...before, ...told])
    if (lateMs !== undefined) Trail.outOfTime(entry, lateMs, entry.deadlineAt, readTime(clock))
  }

  /** The pool closes before the run has ended. */
  const giveBack = (one: Active) =>
    Effect.suspend(() => settlement.giveBack(one, options.onClose === "leave" || one.entry.isCollected))

  const abandon = Effect.fnUntraced(function*({ accepted, claim, entry, reason, run }: Abandoned) {
    const { number, runId, server, startedAt } = run
    entry.attemptCount = number - 1
    const why = { policy: "recovered", found: false }
    const record = Job.attempted(entry, { runId, server, startedAt, why })
    record.endedAs = reason._tag
    record.endedAt = readTime(clock).at
    const paid = isPaid(entry, ...fleet.members.values())
    const meaning = Outcome.step(
      fleet,
      policy,
      {
        entry,
        record,
        member: fleet.members.get(server),
        ending: failure(run, reason, Math.max(0, record.endedAt - startedAt)),
        accepted: accepted || paid,
        onlyWaited: false,
        recalled: false,
        neverRan: false,
        began: false,
        cold: undefined,
        ranMs: 0,
        paid,
        anotherKeyBefore: false,
        unwatched: true
      },
      now(),
      yield* Random.next
    )
    tell(entry, meaning, [{ _tag: "Placed", server, why }])
    yield* settlement.conclude({ claim, entry }, meaning.follows)
    wake()
  })

  /** What the run has shown counts for its place on the server: one that has begun waits behind nobody. */
  const seen = ({ member, run: { runId }, shown }: Active) => {
    const held = member.runs.get(runId)
    if (held === undefined) return
    const begun = shown.began || shown.startedAt !== undefined
    held.accepted ||= shown.accepted || begun
    if (begun) promote(held)
  }

  const promote = (held: Member.Held) => {
    if (!held.isNext) return
    held.isNext = false
    held.since = now()
  }

  /** The run has left the server; one that waited behind it runs now, unless the server is gone. */
  const vacate = (member: Member.Member, runId: RunId, died = false) => {
    member.runs.delete(runId)
    member.freeSince = now()
    if (died) return
    for (const held of member.runs.values()) promote(held)
  }

  /** A server whose run was given up stays taken until that run has ended. */
  const fence = (member: Member.Member, runId: RunId, rest: Effect.Effect<unknown>) =>
    Effect.suspend(() => {
      const held = member.runs.get(runId)
      if (held !== undefined) held.fenced = true
      return Effect.andThen(rest, () =>
        Effect.sync(() => {
          vacate(member, runId)
          wake()
        }))
    })

  const end = (one: Active) =>
    Effect.suspend(() => {
      Deferred.doneUnsafe(one.asked, Effect.void)
      const { backend } = one.member
      if (backend === undefined) return Effect.void
      const done = one.ending ??= Deferred.makeUnsafe<void>()
      return backend.cancel(one.run.runId).pipe(
        Effect.map((outcome) => {
          if (outcome === "removed") one.neverRan = true
        }),
        Effect.ignore,
        Effect.ensuring(Deferred.succeed(done, undefined))
      )
    })

  const cancel = (entry: Job.Entry): Effect.Effect<void> =>
    Effect.suspend(() => {
      const one = active.get(entry.id)
      if (one === undefined) return Effect.void
      entry.cancelAsked = true
      return end(one)
    })

  /** Of a lease that was lost the end of the run will tell, or the queue, where nobody else has taken the job. */
  const extend = ({ claim, entry }: Active) =>
    queue.extend(entry.id, claim.token, leaseMs).pipe(
      Effect.flatMap(({ cancelRequested }) => cancelRequested ? cancel(entry) : Effect.void),
      Effect.ignore
    )

  /** Keeps what is claimed, and hears who wants it cancelled. */
  const keep = Effect.gen(function*() {
    for (;;) {
      yield* Effect.sleep(leaseMs / 3)
      yield* Effect.forEach([...active.values()], extend, { concurrency: "unbounded", discard: true })
    }
  })
  yield* Effect.forkScoped(keep)

  return {
    active,
    start: (one, why) =>
      Effect.suspend(() => {
        const { claim, entry } = one
        active.set(entry.id, one)
        entry.cancelAsked ||= claim.cancelRequested
        // It was asked for while the queue was claiming it.
        if (entry.cancelAsked) Deferred.doneUnsafe(one.asked, Effect.void)
        const span = { parent: Job.span(entry, tracer), captureStackTrace: false }
        const attempt = Effect.onInterrupt(Effect.withSpan(run(one, why), "comfy.attempt", span), () => giveBack(one))
        const started = Effect.forkIn(attempt, scope)
        // What was asked before there was anything to end is done now.
        return Effect.andThen(started, entry.cancelAsked && one.isLeft ? cancel(entry) : Effect.void)
      }),
    cancel,
    abandon,
    recall: (one) =>
      Effect.suspend(() => {
        one.recalled = true
        one.entry.recalledFrom = one.member.facts.id
        return end(one)
      })
  }
})
