/**
 * What the queue announces, taken in: jobs of this pool go to those that wait for a server, jobs that others took in (or
 * this pool before its process ended) are made known first, runs that were left are recovered, and of jobs that others run
 * the ending is told here too.
 */
import type { JobId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import type * as Job from "./Job.ts"
import type { HeadChange, JobHead } from "./JobHead.ts"
import type { JobQueue, JobRecord } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import * as ReadySet from "./ReadySet.ts"
import type { Recovery } from "./Recovery.ts"
import * as Submission from "./Submission.ts"

/** What is taken in, and where it goes; all of it is the pool's. */
export interface Options {
  readonly queue: JobQueue["Service"]
  readonly jobs: Jobs.Jobs
  readonly ready: ReadySet.State
  readonly recovery: Recovery
  /** An attempt of it runs here, or a run of it is asked for. */
  readonly isActive: (id: JobId) => boolean
  /** Somebody put it back that was set aside for a person: a new life of it begins. */
  readonly redriven: (entry: Job.Entry) => void
  /** A job is known from now on. */
  readonly joined: (entry: Job.Entry) => Effect.Effect<void>
  readonly tellJob: (entry: Job.Entry, told: ReadonlyArray<Job.Told>, at?: number) => void
  readonly wake: () => void
}

/** The jobs of a queue, for one pool. */
export interface Adoption {
  /** Makes the job known that the queue has; undefined: it has none of this id, or none that a pool wrote. */
  readonly adopt: (id: JobId) => Effect.Effect<Job.Entry | undefined, PoolError>
  /** Somebody else holds the job: its ending is looked for. */
  readonly follow: (entry: Job.Entry) => void
  /** The queue said that somebody else has claimed or ended it: how is being asked. */
  readonly isElsewhere: (entry: Job.Entry) => boolean
  /** The queue has answered a submission: until then nothing is done with what it announces of that job. */
  readonly answered: (id: JobId) => Effect.Effect<void>
}

type Ready = Extract<HeadChange, { readonly _tag: "Ready" }>

/** The most that a queue lists at once. */
const page = 1_000

/** How a job ended of which the queue kept no last event: somebody cancelled it. */
const endingOf = ({ ending }: JobRecord): Job.EndingTold =>
  ending ?? { _tag: "JobCancelled", by: "elsewhere", executions: { atLeast: 0, atMost: 0 } }

const isOver = ({ state }: JobRecord): boolean => state !== "waiting" && state !== "claimed"

/** Whether what the queue keeps of an ended job is the life that this pool knows: after a redrive there is another one. */
const isSame = ({ ending }: Job.Entry, record: JobRecord): boolean =>
  ending?.at === record.ending?.at || ending?.at === record.endedAt

const nothing = Workflow.fromNodes({})

const forgotten = new PoolError({
  reason: { _tag: "QueueUnavailable", cause: "the queue does not know the job any more" }
})

/** Takes in what the queue has, in the scope of the caller, until the queue is closed. */
export const make = Effect.fnUntraced(function*(
  { isActive, joined, jobs, queue, ready, recovery, redriven, tellJob, wake }: Options
): Effect.fn.Return<Adoption, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const time = () => readTime(clock)

  // ── Jobs of others ────────────────────────────────────────────────────────────────────────────────────────────────

  const restored = Effect.fnUntraced(function*(record: JobRecord) {
    const { affinity, id, placement } = record.head
    const here = Jobs.get(jobs, id)
    if (here !== undefined && (here.ending === undefined || isOver(record) && isSame(here, record))) return here
    // Nobody asks what an ended job needs.
    const known = isOver(record) || Jobs.kindOf(jobs, affinity, placement) !== undefined
    const workflow = known ? nothing : Option.getOrUndefined(yield* queue.payload(id))?.workflow
    const entry = jobs.open.get(id) ?? Submission.restore(jobs, record, workflow, time())
    // It may have become known while the queue was asked.
    if (entry === undefined || jobs.open.has(id)) return entry
    if (here?.ending?._tag === "DeadLettered") redriven(entry)
    if (isOver(record)) {
      Jobs.forget(jobs, id)
      entry.wasPlaced = true
      tellJob(entry, [endingOf(record)], record.endedAt ?? time().at)
    } else yield* joined(entry)
    if (record.state === "claimed") follow(entry)
    return entry
  })

  /** Reads what the queue keeps of these, a page at a time: most of them stand side by side. */
  const introduce = Effect.fnUntraced(function*(strangers: ReadonlyArray<JobHead>) {
    const left = new Map(strangers.map((head) => [head.sequence, head.id]))
    for (const [sequence, id] of [...left].toSorted(([a], [b]) => a - b)) {
      if (!left.has(sequence)) continue
      left.delete(sequence)
      const limit = Math.min(left.size + 1, page)
      const records = yield* queue.list({ states: ["waiting", "claimed"], after: sequence - 1, limit })
      for (const record of records) {
        if (record.head.id !== id && !left.delete(record.head.sequence)) continue
        yield* restored(record)
      }
    }
  })

  // ── What waits ────────────────────────────────────────────────────────────────────────────────────────────────────

  const isKnown = ({ head }: Ready): boolean => jobs.open.has(head.id)

  /** Announced before the queue has answered their submission: nobody knows yet whether it is a new job or an old one. */
  const unanswered = new Map<JobId, Ready>()

  const isAnswered = (change: HeadChange): boolean => {
    if (change._tag === "Gone") return !unanswered.delete(change.id)
    const { id } = change.head
    if (jobs.open.get(id)?.isQueued !== false) return true
    unanswered.set(id, change)
    return false
  }

  const take = Effect.fnUntraced(function*(all: ReadonlyArray<HeadChange>) {
    const changes = all.filter(isAnswered)
    const strangers = changes.filter((change) => change._tag === "Ready").filter((change) => !isKnown(change))
    if (strangers.length > 0) yield* introduce(strangers.map(({ head }) => head))
    const here: Array<HeadChange> = []
    for (const change of changes) {
      if (change._tag === "Gone") {
        here.push(change)
        const entry = jobs.open.get(change.id)
        if (entry !== undefined && !isActive(change.id)) follow(entry)
        continue
      }
      const entry = jobs.open.get(change.head.id)
      // What nobody can read is nobody's to run.
      if (entry === undefined) continue
      followed.delete(entry)
      if (change.left === undefined) here.push(change)
      else yield* recovery.takeOver(entry, change.head, change.left)
    }
    ReadySet.step(ready, here, time().now)
    wake()
  })

  /** A reader that comes anew is told everything; what went meanwhile is found gone when it is claimed. */
  const listen = Effect.retry(
    Effect.tapError(
      Stream.runForEach(queue.heads, take),
      ({ message }) => Effect.logWarning(`the queue is not heard: ${message}`)
    ),
    { schedule: Defaults.queueAgain }
  )

  // ── What others run ───────────────────────────────────────────────────────────────────────────────────────────────

  const followed = new Set<Job.Entry>()
  const latch = Latch.makeUnsafe()
  const follow = (entry: Job.Entry) => {
    if (entry.ending !== undefined) return
    followed.add(entry)
    latch.openUnsafe()
  }

  const lookFor = Effect.fnUntraced(function*(entry: Job.Entry) {
    const { id } = entry
    if (entry.ending !== undefined || isActive(id)) return followed.delete(entry)
    const record = Option.getOrUndefined(yield* queue.get(id))
    if (record !== undefined && !isOver(record)) return
    followed.delete(entry)
    const told: Job.EndingTold = record === undefined
      ? { _tag: "JobFailed", error: forgotten, executions: entry.executions }
      : endingOf(record)
    tellJob(entry, [told], record?.endedAt ?? time().at)
    Jobs.end(jobs, entry, time().now)
  })

  const lookAfter = Effect.forever(Effect.gen(function*() {
    latch.closeUnsafe()
    if (followed.size === 0) yield* latch.await
    yield* Effect.sleep(Defaults.queue.follow)
    yield* Effect.forEach([...followed], (entry) => Effect.ignore(lookFor(entry)), { discard: true })
  }))

  yield* Effect.forkScoped(Effect.ignore(listen))
  yield* Effect.forkScoped(lookAfter)

  return {
    follow,
    isElsewhere: (entry) => followed.has(entry),
    answered: (id) =>
      Effect.suspend(() => {
        const change = unanswered.get(id)
        if (change === undefined) return Effect.void
        unanswered.delete(id)
        // Where the queue fails now, it announces the job again when it is heard again.
        return Effect.ignore(take([change]))
      }),
    adopt: Effect.fnUntraced(function*(id) {
      const record = yield* queue.get(id)
      return Option.isNone(record) ? undefined : yield* restored(record.value)
    })
  }
})
