/**
 * What ends a job that waits: its limit in the queue, its deadline, that no server can run it, or somebody who wants it
 * ended. One fiber keeps the time for all of them.
 */
import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobError } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Deaths from "./Deaths.ts"
import * as Defaults from "./Defaults.ts"
import type * as Fleet from "./Fleet.ts"
import * as Heap from "./internal/heap.ts"
import * as Job from "./Job.ts"
import { unlimitedMs } from "./JobOptions.ts"
import type { JobQueue } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import * as Placement from "./Placement.ts"

/** What waiting jobs are ended with. */
export interface Options {
  readonly queue: JobQueue["Service"]
  readonly fleet: Fleet.Fleet
  readonly jobs: Jobs.Jobs
  /** An attempt of it runs: that one has clocks of its own. */
  readonly isActive: (id: JobId) => boolean
  readonly tellJob: (entry: Job.Entry, told: ReadonlyArray<Job.Told>, at?: number) => void
}

/** The jobs of one pool that wait. */
export interface Waiting {
  /** Its clocks begin. */
  readonly watch: (entry: Job.Entry) => void
  /** It has ended: nobody looks at its clocks any more. */
  readonly forget: (entry: Job.Entry) => void
  /** Ends it unless somebody has claimed it; false: somebody has, or it has ended. */
  readonly end: (entry: Job.Entry, told: Job.EndingTold) => Effect.Effect<boolean, PoolError>
  /** Ends it if every server is known not to be able to run it. */
  readonly refuse: (entry: Job.Entry) => Effect.Effect<void>
  /** What servers can run was learnt: ends all jobs that none of them can. */
  readonly learnt: () => void
}

interface Timer extends Heap.Item {
  readonly at: number
  readonly entry: Job.Entry
  readonly limit: "queue" | "deadline"
}

const sooner = (a: Timer, b: Timer): boolean => a.at < b.at

const nobodyMs = Duration.toMillis(Defaults.timeouts.nobody)

/** How often it is asked whether anybody will ever run what has waited for very long. */
const sweepMs = 60_000

/** Waiting jobs in the scope of the caller. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Waiting, never, Scope.Scope> {
  const { fleet, isActive, jobs, queue, tellJob } = options
  const clock = yield* Clock.Clock
  const fork = yield* FiberSet.makeRuntime()
  const now = () => readTime(clock).now
  const timers: Array<Timer> = []
  const ofJob = new Map<JobId, ReadonlyArray<Timer>>()
  const latch = Latch.makeUnsafe()

  const end: Waiting["end"] = (entry, told) =>
    Effect.suspend(() => {
      if (isActive(entry.id) || entry.ending !== undefined) return Effect.succeed(false)
      const { at } = readTime(clock)
      return Effect.map(queue.cancel(entry.id, Job.endingOf(entry, told, at)), (outcome) => {
        if (outcome !== "removed" || entry.ending !== undefined) return false
        tellJob(entry, [told], at)
        Jobs.end(jobs, entry, now())
        return true
      })
    })

  const fail = (entry: Job.Entry, error: JobError) =>
    Effect.asVoid(Effect.ignore(end(entry, { _tag: "JobFailed", error, executions: entry.executions })))

  /** The end of a job whose content ended server processes: a person may know better, as of the job that showed it. */
  const poison = (entry: Job.Entry): Effect.Effect<void> | undefined => {
    const content = Job.contentOf(entry)
    if (!Deaths.isPoison(fleet.deaths, content, now())) return undefined
    const error = new PoolError({ reason: Deaths.poison(fleet.deaths, content, now()) })
    return Effect.asVoid(Effect.ignore(end(entry, { _tag: "DeadLettered", error, executions: entry.executions })))
  }

  /** The end of a job that no server can run; undefined while one might. */
  const refusal = (entry: Job.Entry, impatient = false): Effect.Effect<void> | undefined => {
    const poisonous = poison(entry)
    if (poisonous !== undefined) return poisonous
    const servers = Placement.hopeless(fleet, entry.kind.need, now(), impatient)
    if (servers === undefined) return undefined
    return fail(entry, new PoolError({ reason: { _tag: "NoEligibleServer", servers } }))
  }

  /** Where nobody would take it at its deadline, it says why not rather than that time ran out. */
  const lateFor = (entry: Job.Entry): JobError => {
    const servers = Placement.stranded(fleet, entry, now())
    return servers === undefined
      ? new ExecutionError({
        reason: { _tag: "DeadlineExceeded", deadline: entry.submittedAt + (entry.options.limits.deadlineMs ?? 0) },
        runId: null,
        backend: null
      })
      : new PoolError({ reason: { _tag: "NoEligibleServer", servers } })
  }

  const ring = ({ entry, limit }: Timer) => {
    if (limit === "deadline") return fail(entry, lateFor(entry))
    // It counts until the first placement.
    if (entry.attemptCount > 0) return Effect.void
    const limitMs = entry.options.limits.queueMs ?? 0
    return fail(entry, new PoolError({ reason: { _tag: "QueueTimeout", limitMs } }))
  }

  const keepTime = Effect.gen(function*() {
    for (;;) {
      latch.closeUnsafe()
      const [first] = timers
      if (first === undefined) yield* latch.await
      else if (first.at > now()) yield* Effect.timeoutOption(latch.await, Math.ceil(first.at - now()))
      else {
        Heap.remove(timers, first, sooner)
        yield* ring(first)
      }
    }
  })

  /** Jobs that waited long enough for servers of which nobody knows what they can do. */
  const sweep = Effect.gen(function*() {
    for (;;) {
      yield* Effect.sleep(sweepMs)
      if (fleet.deaths.contents.size > 0) {
        for (const entry of [...jobs.open.values()]) yield* poison(entry) ?? Effect.void
      }
      const hopelessKinds = new Map<Jobs.Kind, boolean>()
      const { at } = readTime(clock)
      for (const entry of [...jobs.open.values()]) {
        // They stand in the order of their submission.
        if (at - entry.submittedAt < nobodyMs) break
        if (isActive(entry.id)) continue
        const { kind } = entry
        if (hopelessKinds.get(kind) === false) continue
        const refused = refusal(entry, true)
        hopelessKinds.set(kind, refused !== undefined)
        if (refused !== undefined) yield* refused
      }
    }
  })

  yield* Effect.forkScoped(keepTime)
  yield* Effect.forkScoped(sweep)

  return {
    watch: (entry) => {
      const { limits } = entry.options
      const wanted: ReadonlyArray<Timer> = [
        ...limits.queueMs === null
          ? []
          : [{ at: now() + limits.queueMs, entry, limit: "queue", index: 0 } as const],
        ...limits.deadlineMs === null
          ? []
          : [{ at: entry.deadlineAt, entry, limit: "deadline", index: 0 } as const]
      ].filter(({ at }) => at < unlimitedMs)
      if (wanted.length === 0) return
      ofJob.set(entry.id, wanted)
      for (const timer of wanted) Heap.push(timers, timer, sooner)
      latch.openUnsafe()
    },
    forget: ({ id }) => {
      const own = ofJob.get(id)
      if (own === undefined) return
      ofJob.delete(id)
      for (const timer of own) if (timers[timer.index] === timer) Heap.remove(timers, timer, sooner)
    },
    end,
    refuse: (entry) => refusal(entry) ?? Effect.void,
    learnt: () => {
      for (const entry of jobs.open.values()) {
        const refused = isActive(entry.id) ? undefined : refusal(entry)
        if (refused !== undefined) fork(refused)
      }
    }
  }
})
