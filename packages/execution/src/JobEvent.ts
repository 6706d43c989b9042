/** What happens to one job in a pool: where it was placed, each attempt, and one ending, last. */
import * as Schema from "effect/Schema"
import { ExecutionError } from "./ExecutionError.ts"
import { Ending, ExecutionEvent, Executions } from "./ExecutionEvent.ts"
import { BackendId, JobId } from "./Ids.ts"
import { Outputs } from "./Outputs.ts"
import { PoolError } from "./PoolError.ts"
import { Receipt } from "./Receipt.ts"

/** Why a job ended without success: its last run's error, or a reason of the pool. */
export const JobError = Schema.Union([ExecutionError, PoolError])
export type JobError = typeof JobError.Type

/** On every event: `sequence` from 0 without holes; `at` epoch milliseconds. */
const common = { jobId: JobId, sequence: Schema.Int, at: Schema.Finite }

/** The job is safely in the queue. */
export const Queued = Schema.TaggedStruct("Queued", common)
/** A server was chosen; `why` names the evidence and the figures that decided. */
export const Placed = Schema.TaggedStruct("Placed", {
  ...common,
  server: BackendId,
  why: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))
})
/** A file of the job was brought to the server. */
export const Transferred = Schema.TaggedStruct("Transferred", {
  ...common,
  file: Schema.String,
  bytes: Schema.Finite,
  ms: Schema.Finite
})
/** An event of attempt `number` (from 1). */
export const Attempt = Schema.TaggedStruct("Attempt", { ...common, number: Schema.Int, event: ExecutionEvent })
/** An attempt ended; its ending is not the job's. */
export const AttemptEnded = Schema.TaggedStruct("AttemptEnded", {
  ...common,
  number: Schema.Int,
  ending: Ending,
  verdict: Schema.Literals(["done", "give-up", "same-server", "another-server", "dead-letter"]),
  executions: Executions
})
/** The files of the run are in the sink of that name: so many, and so many bytes. */
export const Collected = Schema.TaggedStruct("Collected", {
  ...common,
  sink: Schema.String,
  files: Schema.Int,
  bytes: Schema.Finite,
  ms: Schema.Finite
})
/**
 * Ending: the job has its outputs. `server`: where they were made, whichever process saw to it. `receipts`: where their
 * files are kept, one per node and file; empty where they are left on the server.
 */
export const JobSucceeded = Schema.TaggedStruct("JobSucceeded", {
  ...common,
  server: BackendId,
  outputs: Outputs,
  receipts: Schema.Array(Receipt),
  executions: Executions
})
/** Ending: no further attempt will be made. */
export const JobFailed = Schema.TaggedStruct("JobFailed", { ...common, error: JobError, executions: Executions })
/** Ending: the job was cancelled. */
export const JobCancelled = Schema.TaggedStruct("JobCancelled", {
  ...common,
  by: Schema.Literals(["us", "elsewhere"]),
  executions: Executions
})
/** Ending: set aside for a person, who may redrive it. */
export const DeadLettered = Schema.TaggedStruct("DeadLettered", {
  ...common,
  error: JobError,
  executions: Executions
})

/** Everything that can happen to one job. */
export const JobEvent = Schema.Union([
  Queued,
  Placed,
  Transferred,
  Attempt,
  AttemptEnded,
  Collected,
  JobSucceeded,
  JobFailed,
  JobCancelled,
  DeadLettered
])
export type Queued = typeof Queued.Type
export type Placed = typeof Placed.Type
export type Transferred = typeof Transferred.Type
export type Attempt = typeof Attempt.Type
export type AttemptEnded = typeof AttemptEnded.Type
export type Collected = typeof Collected.Type
export type JobSucceeded = typeof JobSucceeded.Type
export type JobFailed = typeof JobFailed.Type
export type JobCancelled = typeof JobCancelled.Type
export type DeadLettered = typeof DeadLettered.Type
export type JobEvent = typeof JobEvent.Type

/** The last event of every job, exactly once. */
export type JobEnding = Extract<
  JobEvent,
  { readonly _tag: "JobSucceeded" | "JobFailed" | "JobCancelled" | "DeadLettered" }
>

/** Whether this event ends its job. */
export const isJobEnding = (event: JobEvent): event is JobEnding =>
  event._tag === "JobSucceeded" || event._tag === "JobFailed" || event._tag === "JobCancelled" ||
  event._tag === "DeadLettered"
