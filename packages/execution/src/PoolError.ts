/** Why a pool refused something, or ended a job for a reason that no single run has. */
import * as Schema from "effect/Schema"
import { JobId } from "./Ids.ts"

/**
 * No server may run the job, told when its deadline came, or at once where every server's capabilities are known.
 * `servers`: the reason of each, at most 100 of them.
 */
export const NoEligibleServer = Schema.TaggedStruct("NoEligibleServer", {
  servers: Schema.Array(Schema.Struct({ server: Schema.String, why: Schema.String }))
})
/** The id or idempotency key belongs to a job of other content. */
export const IdempotencyConflict = Schema.TaggedStruct("IdempotencyConflict", { key: Schema.String, jobId: JobId })
/** So many jobs wait already, in all or of this tenant; `retryAfterMs` is a guess from the rate of the last minutes. */
export const QueueFull = Schema.TaggedStruct("QueueFull", {
  tenant: Schema.NullOr(Schema.String),
  limit: Schema.Int,
  retryAfterMs: Schema.Finite
})
/** The store behind the queue does not answer or is full; nothing was changed, or nobody knows. */
export const QueueUnavailable = Schema.TaggedStruct("QueueUnavailable", { cause: Schema.String })
/** The claim ran out or was taken over: what its holder wanted to write was not written. */
export const LeaseLost = Schema.TaggedStruct("LeaseLost", { jobId: JobId, token: Schema.Int })
/** An option has no meaning: a negative limit, a time that is no number, a job id of 300 characters. */
export const InvalidOptions = Schema.TaggedStruct("InvalidOptions", { option: Schema.String, problem: Schema.String })
/** The job waited longer than its queue timeout. */
export const QueueTimeout = Schema.TaggedStruct("QueueTimeout", { limitMs: Schema.Finite })
/** This content was running when so many server processes ended: it is not given to another one. */
export const PoisonJob = Schema.TaggedStruct("PoisonJob", { deaths: Schema.Int })
/** A run that must not happen twice may have happened: a person decides whether it is redriven. */
export const MaybeExecuted = Schema.TaggedStruct("MaybeExecuted", { cause: Schema.String })
/**
 * The run has succeeded, and files that it names are not on its server: asked twice, some time apart. `files`: at most 20
 * of them. `cached`: all of them were replayed from the server's cache, so a run under another file prefix writes them.
 */
export const OutputsGone = Schema.TaggedStruct("OutputsGone", {
  files: Schema.Array(Schema.String),
  cached: Schema.Boolean
})
/** The run has succeeded, and the sink of that name does not take a file of it: refused, full, or tried often enough. */
export const CollectFailed = Schema.TaggedStruct("CollectFailed", {
  sink: Schema.String,
  file: Schema.String,
  cause: Schema.String
})
/** The pool was closed while the job was open. */
export const Closed = Schema.TaggedStruct("Closed", {})

/** Every reason of a pool. */
export const PoolReason = Schema.Union([
  NoEligibleServer,
  IdempotencyConflict,
  QueueFull,
  QueueUnavailable,
  LeaseLost,
  InvalidOptions,
  QueueTimeout,
  PoisonJob,
  MaybeExecuted,
  OutputsGone,
  CollectFailed,
  Closed
])
export type PoolReason = typeof PoolReason.Type

/** A reason in one sentence for people. */
export const describe = (reason: PoolReason): string => {
  switch (reason._tag) {
    case "NoEligibleServer":
      return `no server may run the job: ${
        reason.servers.slice(0, 5).map(({ server, why }) => `${server} (${why})`).join(", ") || "there is none"
      }`
    case "IdempotencyConflict":
      return `${reason.key} belongs to job ${reason.jobId}, which has other content`
    case "QueueFull":
      return `${reason.limit} jobs wait already${reason.tenant === null ? "" : ` of tenant ${reason.tenant}`}`
    case "QueueUnavailable":
      return `the queue does not answer: ${reason.cause}`
    case "LeaseLost":
      return `claim ${reason.token} of job ${reason.jobId} is no longer held`
    case "InvalidOptions":
      return `${reason.option}: ${reason.problem}`
    case "QueueTimeout":
      return `not placed within ${reason.limitMs} ms`
    case "PoisonJob":
      return `${reason.deaths} server processes ended while they ran this`
    case "MaybeExecuted":
      return `may have run already: ${reason.cause}`
    case "OutputsGone":
      return `gone from the server${reason.cached ? ", which replayed them from its cache" : ""}: ${
        reason.files.slice(0, 5).join(", ")
      }`
    case "CollectFailed":
      return `${reason.sink} did not take ${reason.file}: ${reason.cause}`
    case "Closed":
      return "the pool was closed"
  }
}

/** The failure of a pool or of a job in it. Survives JSON. */
export class PoolError extends Schema.TaggedError<PoolError>()("PoolError", { reason: PoolReason }) {
  override get message(): string {
    return describe(this.reason)
  }
}
