/**
 * Where the time of one job in a pool went: a fold of its events. The wait for the first server, then every attempt with
 * its transfers and the profile of its run, failed ones too, and the waits between them.
 */
import { type Ending, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { AttemptEnded, isJobEnding, type JobEvent, Placed } from "@effect-comfyui/execution/JobEvent"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Schema from "effect/Schema"
import type * as Sink from "effect/Sink"
import type * as Stream from "effect/Stream"
import * as Lift from "./internal/lift.ts"
import * as Profile from "./Profile.ts"

/**
 * One attempt. `waitMs`: the queue before it, from the end of the one before (of the first, from the submission).
 * `transferMs` and `transferBytes`: what its files took, each file for itself. `placedMs`, `startMs` and `endMs` are on the
 * clock of the job; `run` counts from `startMs`. `verdict` is null while it goes on, and where nobody said it. `reason` is
 * the tag of what the pool says it failed of, which may be its own patience; null for a success.
 */
export const AttemptProfile = Schema.Struct({
  number: Schema.Int,
  server: Schema.NullOr(BackendId),
  why: Placed.fields.why,
  waitMs: Schema.Finite,
  placedMs: Schema.Finite,
  startMs: Schema.Finite,
  endMs: Schema.NullOr(Schema.Finite),
  transferMs: Schema.Finite,
  transferBytes: Schema.Finite,
  transfers: Schema.Int,
  verdict: Schema.NullOr(AttemptEnded.fields.verdict),
  reason: Schema.NullOr(Schema.String),
  run: Profile.Profile
})
export type AttemptProfile = typeof AttemptProfile.Type

/**
 * A job. Times are milliseconds on its own clock, 0 when it was queued: within an attempt the run's monotonic clock, between
 * attempts the pool's wall clock, the only one that job events carry; a jump back of that one counts as no time.
 *
 * - `queuedAtMs`: 0 of its clock in epoch milliseconds: when it was queued, or where that was missed, first heard of.
 * - `queueMs`: until the first server was chosen, or until now; null where that was missed. `retryWaitMs`: the waits between
 *   attempts, together. `transferMs`: of all attempts. `totalMs`: until the end, or until now.
 * - `attempts`: the last 64, oldest first; `droppedAttempts` is the number of those before. `decidedBy`: the number of the
 *   attempt that the job ended with, null where it ended without one.
 * - `reason`: of a job that failed, the tag of its error.
 */
export const JobProfile = Schema.Struct({
  jobId: Schema.NullOr(JobId),
  state: Schema.Literals(["queued", "running", "succeeded", "failed", "cancelled", "dead-lettered"]),
  reason: Schema.NullOr(Schema.String),
  queuedAtMs: Schema.NullOr(Schema.Finite),
  queueMs: Schema.NullOr(Schema.Finite),
  retryWaitMs: Schema.Finite,
  transferMs: Schema.Finite,
  totalMs: Schema.Finite,
  attempts: Schema.Array(AttemptProfile),
  droppedAttempts: Schema.Int,
  decidedBy: Schema.NullOr(Schema.Int)
})
export type JobProfile = typeof JobProfile.Type

/** Attempts that are kept, the latest ones. */
export const maxAttempts = 64

interface Attempt {
  readonly placed: Placed | undefined
  readonly waitMs: number
  readonly placedMs: number
  number: number
  startMs: number | null
  endMs: number | null
  transferMs: number
  transferBytes: number
  transfers: number
  verdict: AttemptEnded["verdict"] | null
  reason: string | null
  readonly run: Profile.State
}

/** Owned and updated in place by its one driver. */
export interface State {
  readonly workflow: Workflow | undefined
  readonly attempts: Array<Attempt>
  jobId: JobId | null
  ending: JobProfile["state"] | null
  reason: string | null
  queuedAtMs: number | null
  queueMs: number | null
  /** Heard of from the beginning. */
  isWhole: boolean
  retryWaitMs: number
  transferMs: number
  droppedAttempts: number
  decidedBy: number | null
  sequence: number
  /** The job's clock, and since when it waits. */
  now: number
  waitingSince: number | null
  /** The last event: what the clock goes on from. */
  at: number | null
  within: { readonly number: number; readonly elapsed: number } | null
}

/** A profile of nothing yet. With the workflow its runs know titles, skipped nodes and the critical path. */
export const init = (workflow?: Workflow): State => ({
  workflow,
  attempts: [],
  jobId: null,
  ending: null,
  reason: null,
  queuedAtMs: null,
  queueMs: null,
  isWhole: false,
  retryWaitMs: 0,
  transferMs: 0,
  droppedAttempts: 0,
  decidedBy: null,
  sequence: -1,
  now: 0,
  waitingSince: 0,
  at: null,
  within: null
})

/** What has no number of its own: it is for the run's profile to tell whether it was heard before. */
const isPassing = (event: JobEvent): boolean =>
  event._tag === "Attempt" &&
  (isTransient(event.event) || (event.event._tag === "Gap" && event.event.cause === "consumer"))

const isForeign = (state: State, event: JobEvent): boolean =>
  state.ending !== null || (state.jobId !== null && state.jobId !== event.jobId) ||
  (isPassing(event) ? event.sequence < state.sequence : event.sequence <= state.sequence)

const advance = (state: State, event: JobEvent): void => {
  const { at, within } = state
  const run = event._tag === "Attempt" ? event : undefined
  const passed = run !== undefined && within?.number === run.number
    ? run.event.elapsed - within.elapsed
    : at === null
    ? 0
    : event.at - at
  // Repeated and late ones bring an older time: then the clock stands, and goes on from the newest.
  if (passed >= 0 && passed <= Number.MAX_SAFE_INTEGER) state.now += passed
  else if (isPassing(event)) return
  state.at = event.at
  state.within = run === undefined ? null : { number: run.number, elapsed: run.event.elapsed }
}

const open = (state: State, placed: Placed | undefined): Attempt => {
  const waitMs = state.waitingSince === null ? 0 : state.now - state.waitingSince
  const isFirst = state.attempts.length + state.droppedAttempts === 0
  if (isFirst) state.queueMs = placed === undefined || !state.isWhole ? null : waitMs
  else state.retryWaitMs += waitMs
  state.waitingSince = null
  const attempt: Attempt = {
    placed,
    waitMs,
    placedMs: state.now,
    number: (state.attempts.at(-1)?.number ?? state.droppedAttempts) + 1,
    startMs: null,
    endMs: null,
    transferMs: 0,
    transferBytes: 0,
    transfers: 0,
    verdict: null,
    reason: null,
    run: Profile.init(state.workflow)
  }
  state.attempts.push(attempt)
  if (state.attempts.length > maxAttempts) {
    state.attempts.shift()
    state.droppedAttempts++
  }
  return attempt
}

const close = (state: State, attempt: Attempt): void => {
  attempt.endMs ??= state.now
  state.waitingSince = state.now
}

/** The attempt of that number, which goes on; opened here where its placement was missed. */
const current = (state: State, number = 0): Attempt => {
  const last = state.attempts.at(-1)
  if (last === undefined || last.endMs !== null) return open(state, undefined)
  if (last.startMs === null || number <= last.number) return last
  // The end of the one before was missed too.
  close(state, last)
  return open(state, undefined)
}

const onRun = (state: State, { event, number }: Extract<JobEvent, { readonly _tag: "Attempt" }>): void => {
  const last = state.attempts.at(-1)
  // A gap of this subscriber bears the number of what came behind it; and an attempt that was given up may speak on.
  const isGap = event._tag === "Gap" && event.cause === "consumer"
  if (isGap ? last === undefined : last !== undefined && last.endMs !== null && number <= last.number) return
  const attempt = isGap && last !== undefined ? last : current(state, number)
  if (!isGap) attempt.number = number
  // The run's own clock began with it, a little before its first event.
  attempt.startMs ??= Math.max(attempt.placedMs, state.now - Math.max(0, event.elapsed))
  Profile.step(attempt.run, event)
}

const reasonOf = (ending: Ending): string | null =>
  ending._tag === "Failed" ? ending.error.reason._tag : ending._tag === "Cancelled" ? "Cancelled" : null

const endings = {
  JobSucceeded: "succeeded",
  JobFailed: "failed",
  JobCancelled: "cancelled",
  DeadLettered: "dead-lettered"
} as const

/** Takes one event. What was heard before, is of another job, or comes after the ending changes nothing. */
export const step = (state: State, event: JobEvent): State => {
  if (isForeign(state, event)) return state
  state.jobId ??= event.jobId
  state.queuedAtMs ??= event.at
  if (!isPassing(event)) state.sequence = event.sequence
  advance(state, event)
  switch (event._tag) {
    case "Queued":
      state.isWhole = true
      break
    case "Placed": {
      const last = state.attempts.at(-1)
      if (last !== undefined && last.endMs === null) close(state, last)
      open(state, event)
      break
    }
    case "Transferred": {
      const attempt = current(state)
      attempt.transfers++
      attempt.transferMs += Math.max(0, event.ms)
      attempt.transferBytes += event.bytes
      state.transferMs += Math.max(0, event.ms)
      break
    }
    case "Attempt":
      onRun(state, event)
      break
    case "AttemptEnded": {
      const attempt = current(state, event.number)
      attempt.number = event.number
      attempt.verdict = event.verdict
      attempt.reason = reasonOf(event.ending)
      Profile.conclude(attempt.run, event.ending)
      close(state, attempt)
      break
    }
    default:
      break
  }
  if (isJobEnding(event)) {
    const last = state.attempts.at(-1)
    // Waiting again when it ended: then no attempt decided it.
    const decides = last !== undefined && (last.verdict === null || last.verdict === "done" ||
      last.verdict === "give-up" || last.verdict === "dead-letter")
    state.decidedBy = decides ? last.number : null
    if (last !== undefined && last.endMs === null) close(state, last)
    state.ending = endings[event._tag]
    state.reason = "error" in event ? event.error.reason._tag : null
  }
  return state
}

const isWaiting = ({ attempts }: State): boolean => attempts.at(-1)?.endMs !== null

/** A reading; plain data that shares nothing with the fold. Linear in the nodes of all kept attempts. */
export const snapshot = (state: State): JobProfile => {
  const { attempts, droppedAttempts, now } = state
  const isFirst = attempts.length + droppedAttempts === 0
  const waited = state.waitingSince === null || (state.ending !== null && state.decidedBy !== null)
    ? 0
    : now - state.waitingSince
  return {
    jobId: state.jobId,
    state: state.ending ?? (isWaiting(state) ? "queued" : "running"),
    reason: state.reason,
    queuedAtMs: state.queuedAtMs,
    queueMs: isFirst ? waited : state.queueMs,
    retryWaitMs: state.retryWaitMs + (isFirst ? 0 : waited),
    transferMs: state.transferMs,
    totalMs: now,
    attempts: attempts.map((attempt) => ({
      number: attempt.number,
      server: attempt.placed?.server ?? attempt.run.backend,
      why: { ...attempt.placed?.why },
      waitMs: attempt.waitMs,
      placedMs: attempt.placedMs,
      startMs: attempt.startMs ?? attempt.placedMs,
      endMs: attempt.endMs,
      transferMs: attempt.transferMs,
      transferBytes: attempt.transferBytes,
      transfers: attempt.transfers,
      verdict: attempt.verdict,
      reason: attempt.reason,
      run: Profile.snapshot(attempt.run)
    })),
    droppedAttempts,
    decidedBy: state.decidedBy
  }
}

/** The profile of a stream of job events, told once it ends. */
export const sink = (workflow?: Workflow): Sink.Sink<JobProfile, JobEvent> =>
  Lift.sink({ init: () => init(workflow), step, snapshot })

/** The profile while it grows; latest wins, and the last one is of all events. */
export const live = <E, R>(
  events: Stream.Stream<JobEvent, E, R>,
  workflow?: Workflow
): Stream.Stream<JobProfile, E, R> => Lift.live(events, { init: () => init(workflow), step, snapshot })
