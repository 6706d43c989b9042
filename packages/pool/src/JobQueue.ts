/**
 * The queue of a pool as a port: where jobs are safe between `submit` and their ending, whoever runs them.
 *
 * Delivery is at least once: a claim that runs out makes the job ready again. Every write of a claim's holder carries its
 * token, so a scheduler that comes back late changes nothing. A claim names the run it is for: where its holder is lost,
 * that run stays with the job until somebody has found out how it ended. What a layer keeps over the end of a process is
 * its own word; `layerMemory` keeps nothing.
 */
import type { Attachment } from "@effect-comfyui/execution/Files"
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { Json } from "@effect-comfyui/workflow/Json"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { HeadChange, JobHead, OpenRun } from "./JobHead.ts"

/** What is needed to run the job. Never changed once offered, so queues in memory share it. */
export interface JobPayload {
  readonly workflow: Workflow
  /** The pool's own record of the job's options, for queues plain JSON. */
  readonly options: Json
  /** Streams among them cannot be stored: durable queues take bytes and refuse the rest. */
  readonly attachments: ReadonlyArray<Attachment>
}

/** A job to be kept. `head.sequence` is the queue's to give. */
export interface Offer {
  readonly head: Omit<JobHead, "sequence">
  readonly payload: JobPayload
  /** What the job is, as text: another job under the same id has another one. Use the content key and the options. */
  readonly fingerprint: string
}

/** `duplicate`: the same job was there already, waiting, running or ended; nothing was changed. */
export type Offered = "queued" | "duplicate"

/** The right to run a job until its lease runs out, and all that is needed for it. */
export interface Claim {
  readonly head: JobHead
  /** Names this claim in every later write. Grows, never repeats in a queue. */
  readonly token: number
  /** How often the job was claimed, this time included; from 1, and again from 1 after a redrive. */
  readonly attempt: number
  readonly payload: JobPayload
  /** What the last holder left with `release`: attempts by cause, servers to avoid. Null at first. */
  readonly ledger: Json
  /** Somebody wants the job cancelled, and could not end it because a run of it was left. */
  readonly cancelRequested: boolean
}

/**
 * `waiting`: to be claimed now or later; `claimed`: somebody holds it; `dead`: set aside for a person; else ended.
 */
export type JobState = "waiting" | "claimed" | "dead" | "succeeded" | "failed" | "cancelled"

/** One job as the queue knows it. Times are epoch milliseconds. */
export interface JobRecord {
  readonly head: JobHead
  readonly state: JobState
  readonly attempt: number
  /** When it was offered, or redriven last. */
  readonly queuedAt: number
  /** Of the present claim, while there is one. */
  readonly lease: { readonly token: number; readonly expiresAt: number } | null
  /** A cancellation was asked for while somebody held the job; its holder is told by `extend`. */
  readonly cancelRequested: boolean
  /** The job's last event, once it has ended or is dead; null where it was cancelled without one. */
  readonly ending: JobEnding | null
  readonly endedAt: number | null
  /** As offered, and as the last holder left it; what a scheduler that did not take the job in needs to know of it. */
  readonly options: Json
  readonly fingerprint: string
  readonly ledger: Json
  /** The run of the present claim, or one that was left. */
  readonly run: OpenRun | null
}

/**
 * `removed`: it waited, and has ended; `requested`: its holder is told, or whoever claims the run that was left; `ended`:
 * too late; `unknown`: no such job.
 */
export type Cancelled = "removed" | "requested" | "ended" | "unknown"

/** Which jobs `list` gives: those of every given kind, in order of arrival. */
export interface Filter {
  readonly states?: ReadonlyArray<JobState>
  readonly tenant?: string
  /** Only jobs with a greater `sequence`: the last one of the page before. */
  readonly after?: number
  /** At most so many, default 100, at most 1,000. */
  readonly limit?: number
}

/** Counts of jobs by state; `delayed` are those of the waiting whose `notBefore` is to come. */
export interface Stats {
  readonly waiting: number
  readonly delayed: number
  readonly claimed: number
  readonly dead: number
  /** Ended jobs still remembered. */
  readonly ended: number
}

/**
 * Jobs waiting for a scheduler; several may work on one queue. All members fail with `QueueUnavailable` where the store
 * does not answer, and then the change was made or not.
 */
export class JobQueue extends Context.Service<JobQueue, {
  /** Jobs outlive this process: a pool that closes leaves them, and their runs, for the next one. */
  readonly durable: boolean
  /**
   * Keeps the job; when it succeeds the job is as safe as this layer makes it. Again with the same id and fingerprint:
   * `duplicate`. Fails with `IdempotencyConflict` for another fingerprint, with `QueueFull` at the layer's limit.
   */
  readonly offer: (offer: Offer) => Effect.Effect<Offered, PoolError>
  /**
   * What waits: first everything there is, then every change, in batches of at most 4,096 that are never empty. A slow
   * reader gets the latest change per job. Jobs with a later `notBefore` are announced too. Ends with the queue.
   */
  readonly heads: Stream.Stream<ReadonlyArray<HeadChange>, PoolError>
  /**
   * Takes a waiting job for `ttl`, atomically, for this run. None: another scheduler has it, it ended, it is unknown, its
   * `notBefore` is to come, or a run was left that is not this one.
   */
  readonly claim: (id: JobId, ttl: Duration.Input, run?: OpenRun) => Effect.Effect<Option.Option<Claim>, PoolError>
  /** Keeps a claim for another `ttl` from now, and tells whether somebody wants the job cancelled. `LeaseLost` if late. */
  readonly extend: (
    id: JobId,
    token: number,
    ttl: Duration.Input
  ) => Effect.Effect<{ readonly cancelRequested: boolean }, PoolError>
  /** Ends the job with its last event. `LeaseLost`: the claim is no longer held, and nothing was written. */
  readonly settle: (id: JobId, token: number, ending: JobEnding) => Effect.Effect<void, PoolError>
  /**
   * Gives the job back, to be claimed again after `delay`, with a ledger for its next holder. Keeps its place. A job
   * whose cancellation was asked for ends instead. `left`: the run of the claim may be going on, and stays with the job.
   * `LeaseLost` as above.
   */
  readonly release: (
    id: JobId,
    token: number,
    options?: { readonly delay?: Duration.Input; readonly ledger?: Json; readonly left?: boolean }
  ) => Effect.Effect<void, PoolError>
  /**
   * Ends a job that waits, with this last event if there is one: with `DeadLettered` it is set aside. Else asks its holder
   * to end it.
   */
  readonly cancel: (id: JobId, ending?: JobEnding) => Effect.Effect<Cancelled, PoolError>
  /** Sets the job aside for a person. `LeaseLost` as above. */
  readonly deadLetter: (
    id: JobId,
    token: number,
    ending: Extract<JobEnding, { readonly _tag: "DeadLettered" }>
  ) => Effect.Effect<void, PoolError>
  /** Puts a dead job back under its id: attempts and ledger as new, its time from now on. False: there is no dead job of this id. */
  readonly redrive: (id: JobId) => Effect.Effect<boolean, PoolError>
  readonly get: (id: JobId) => Effect.Effect<Option.Option<JobRecord>, PoolError>
  /** What a claim would give of a job that has not ended, without claiming it. */
  readonly payload: (id: JobId) => Effect.Effect<Option.Option<JobPayload>, PoolError>
  readonly list: (filter?: Filter) => Effect.Effect<ReadonlyArray<JobRecord>, PoolError>
  readonly stats: Effect.Effect<Stats, PoolError>
  /** Forgets an ended or dead job before its time; false: there is none of this id that has ended. */
  readonly forget: (id: JobId) => Effect.Effect<boolean, PoolError>
}>()("@effect-comfyui/pool/JobQueue") {}
