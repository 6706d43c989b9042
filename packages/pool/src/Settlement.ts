/**
 * What the queue is told of an attempt's end, and the job's listeners after it: whoever takes a job over finds it ended, or
 * nobody has heard so.
 */
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Defaults from "./Defaults.ts"
import * as Job from "./Job.ts"
import * as JobLedger from "./JobLedger.ts"
import type { Claim, JobQueue } from "./JobQueue.ts"
import * as Jobs from "./Jobs.ts"
import type { Follows } from "./Outcome.ts"

/** What is settled, and who is told. */
export interface Options {
  readonly queue: JobQueue["Service"]
  readonly jobs: Jobs.Jobs
  /** `at`: epoch milliseconds of the events, default now. */
  readonly tellJob: (entry: Job.Entry, told: ReadonlyArray<Job.Told>, at?: number) => void
  /** A job waits again, after an attempt that may have taught something about it. */
  readonly released: (entry: Job.Entry) => Effect.Effect<void>
  /** Somebody else holds the job now, who will end it. */
  readonly handedOn: (entry: Job.Entry) => void
}

/** A job and the claim on it, which may be another one while the queue does not answer. */
export interface Held {
  readonly entry: Job.Entry
  readonly claim: Claim
}

/** For the attempts of a pool. */
export interface Settlement {
  /**
   * Writes what follows and tells it. Where the queue cannot be written to, the job's listeners do not wait for it; it is
   * tried again for as long as the claim is ours.
   */
  readonly conclude: (of: Held, follows: Follows) => Effect.Effect<void>
  /** The pool closes: the job waits for another one, with its run if that goes on (`left`). */
  readonly giveBack: (of: Held, left: boolean) => Effect.Effect<void>
}

/** Until the queue has it; false: the claim is somebody else's by now. */
const write = (statement: Effect.Effect<void, PoolError>) =>
  statement.pipe(
    Effect.retry({ while: ({ reason }) => reason._tag === "QueueUnavailable", schedule: Defaults.queueAgain }),
    Effect.match({ onFailure: ({ reason }) => reason._tag !== "LeaseLost", onSuccess: () => true })
  )

/** Settles in the queue of these options. */
export const make = Effect.fnUntraced(function*(
  { handedOn, jobs, queue, released, tellJob }: Options
): Effect.fn.Return<Settlement> {
  const clock = yield* Clock.Clock

  const conclude = Effect.fnUntraced(function*(of: Held, follows: Follows) {
    const { entry } = of
    const { id } = entry
    // The pool was closed meanwhile, and its listeners know: the next one is to find the truth.
    if (entry.ending !== undefined && !queue.durable) return
    if (follows._tag === "Release") {
      entry.ledger = follows.ledger
      const kept = { delay: follows.delayMs, ledger: JobLedger.toJson(entry, follows.ledger) }
      const isOurs = yield* write(Effect.suspend(() => queue.release(id, of.claim.token, kept)))
      if (isOurs) yield* released(entry)
      else handedOn(entry)
      return
    }
    const { at, now } = readTime(clock)
    const ending = Job.endingOf(entry, follows.told, at)
    const over = () => {
      tellJob(entry, [follows.told], at)
      Jobs.end(jobs, entry, now)
    }
    const ended = Effect.suspend(() =>
      ending._tag === "DeadLettered"
        ? queue.deadLetter(id, of.claim.token, ending)
        : queue.settle(id, of.claim.token, ending)
    )
    const unlessLost = (error: PoolError) => error.reason._tag === "LeaseLost" ? undefined : over()
    const isOurs = yield* write(Effect.tapError(ended, (error) => Effect.sync(() => unlessLost(error))))
    if (isOurs) over()
    else if (entry.ending === undefined) handedOn(entry)
  })

  return {
    conclude,
    giveBack: ({ claim, entry }, left) =>
      Effect.suspend(() => {
        if (!queue.durable) return Effect.void
        const { atLeast, atMost } = entry.executions
        // A run that is cancelled with the pool may have been executed.
        const executions = left ? entry.executions : { atLeast, atMost: atMost + 1 }
        const ledger = JobLedger.toJson({ ...entry, executions }, entry.ledger)
        return Effect.ignore(queue.release(entry.id, claim.token, { left, ledger }))
      })
  }
})
