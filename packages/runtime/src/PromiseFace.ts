/** The shape of a fleet for those who know promises and not Effect. Made by `createComfy` of `CreateComfyNode`. */
import type { Attachment, Upload } from "@effect-comfyui/execution/Files"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { Outputs } from "@effect-comfyui/execution/Outputs"
import type { Snapshot as Progress } from "@effect-comfyui/execution/Progress"
import type { JobEta } from "@effect-comfyui/pool/Etas"
import type { Status } from "@effect-comfyui/pool/Job"
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import type { View } from "@effect-comfyui/pool/Member"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import type { Report } from "@effect-comfyui/profiling/Bottlenecks"
import type { JobProfile } from "@effect-comfyui/profiling/JobProfile"
import type { Stored } from "@effect-comfyui/profiling/ProfileSet"
import type { Options as SlowNodeOptions, SlowNode } from "@effect-comfyui/profiling/SlowNodes"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import type * as Duration from "effect/Duration"
import type { Declared, ResultFile, Success } from "./Results.ts"

/** A workflow, or the text of one in the API format. */
export type Given = Workflow | string

/** Ends the wait for something. */
export interface Waiting {
  readonly signal?: AbortSignal
}

/** As `JobOptions` of the pool, times as texts with their unit; `id` is any text of 1 to 200 characters. */
export interface SubmitOptions extends Omit<JobOptions, "id"> {
  readonly id?: string
}

/** The signal cancels the job, wherever it is. With `outputs` the result has those, see `Results.declare`. */
export interface RunOptions extends SubmitOptions, Waiting {}

/**
 * A job on its way: await it for its result, or iterate over its events, or both, as often as you like. The events end with
 * the job and throw nothing that the job ended in; leaving them leaves the job alone.
 */
export interface Run<A> extends Promise<Success<A>>, AsyncIterable<JobEvent> {}

/** A job of the fleet. Dropping it cancels nothing. */
export interface ComfyJob {
  readonly id: string
  readonly status: () => Promise<Status>
  readonly result: {
    <A>(options: Waiting & { readonly outputs: Declared<A> }): Promise<Success<A>>
    (options?: Waiting): Promise<Success<Outputs>>
  }
  readonly events: (options?: Waiting) => AsyncIterable<JobEvent>
  readonly cancel: () => Promise<void>
}

/** What an upload is called, and which input of which node is to name it. */
export interface UploadOptions extends Omit<Upload, "content" | "filename">, Pick<Attachment, "input"> {
  /** Default: the name of the file, or `file`. */
  readonly filename?: string
}

/**
 * A fleet. Every promise is rejected with a `ComfyError`, and settled when the fleet is closed, as are all iterations: with
 * the reason `Closed`, if nothing else came first.
 */
export interface PromiseFace extends AsyncDisposable {
  /** Submits at once, awaits the result, and tells what happens. */
  readonly run: {
    <A>(workflow: Given, options: RunOptions & { readonly outputs: Declared<A> }): Run<A>
    (workflow: Given, options?: RunOptions): Run<Outputs>
  }
  /** Done when the job is safely in the queue. */
  readonly submit: (workflow: Given, options?: SubmitOptions) => Promise<ComfyJob>
  /** A job of before, also of a process before where the queue is durable. */
  readonly get: (id: string) => Promise<ComfyJob>
  readonly cancel: (id: string) => Promise<void>
  /**
   * Reads a file, or takes bytes, for the `attachments` of a job: they go to the server that the job is placed on, once per
   * content and server process.
   */
  readonly upload: (source: string | URL | Uint8Array, options?: UploadOptions) => Promise<Attachment>
  /** The bytes of a file of a result, all in memory. */
  readonly download: (file: ResultFile, options?: Waiting) => Promise<Uint8Array>
  /** The same onto a disk: whole, or not at all. */
  readonly save: (file: ResultFile, path: string, options?: Waiting) => Promise<void>
  /** Everything that happens from now on, for as long as somebody iterates; a slow listener loses the oldest. */
  readonly events: (options?: Waiting) => AsyncIterable<PoolEvent>
  /** Where the time of a job went, when it has ended. */
  readonly profile: (id: string, options?: Waiting) => Promise<JobProfile>
  /** Of all jobs, where `profiling` of the configuration asks for them: see `Profiles` of the pool. Else there are none. */
  readonly profiles: {
    /** As it is now, of a job that is open or ended lately. */
    readonly get: (id: string) => Promise<JobProfile | null>
    /** Of every job that ends from now on, for as long as somebody iterates; a slow listener loses the oldest. */
    readonly finished: (options?: Waiting) => AsyncIterable<JobProfile>
    /** When a job is thought to end, with an interval; null where nobody can know, and of jobs that have ended. */
    readonly eta: (id: string) => Promise<JobEta | null>
    /** How far the run of a job is; null before its first. */
    readonly progress: (id: string) => Promise<Progress | null>
    /** Each execution of a node that takes longer than it should, while it runs; for as long as somebody iterates. */
    readonly slowNodes: (options?: Waiting & Partial<SlowNodeOptions>) => AsyncIterable<SlowNode>
    /** Where the last jobs lost time, and what would help. */
    readonly bottlenecks: () => Promise<Report>
    /** Rows over all runs so far, as plain data. */
    readonly statistics: () => Promise<Stored>
  }
  readonly servers: () => Promise<ReadonlyArray<View>>
  /**
   * Takes no more jobs, waits so long for those that run (default: not at all), and ends everything; true where all that
   * ran has ended by itself. A second call ends the wait of the first.
   */
  readonly close: (options?: { readonly drain?: Duration.Input }) => Promise<boolean>
}
