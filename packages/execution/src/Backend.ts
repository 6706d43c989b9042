/**
 * The port that pools stand on: something that runs prompts one at a time and tells the truth about each. The client of
 * one ComfyUI server is one; other backends keep the same contract.
 */
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { Closed, describe, ProtocolViolation, RateLimited, Unauthorized, Unreachable } from "./ExecutionError.ts"
import type { Ending, ExecutionEvent } from "./ExecutionEvent.ts"
import type { Attachment, Files } from "./Files.ts"
import type { BackendId, JobId, RunId } from "./Ids.ts"

export const BackendReason = Schema.Union([Unreachable, RateLimited, Unauthorized, ProtocolViolation, Closed])
export type BackendReason = typeof BackendReason.Type

/** A question to a backend had no answer of its own shape; says nothing about any run. Survives JSON. */
export class BackendError extends Schema.TaggedError<BackendError>()("BackendError", { reason: BackendReason }) {
  override get message(): string {
    return describe(this.reason)
  }
}

/** One attempt, as a pool asks for it. */
export interface RunRequest {
  /** Chosen by the caller, logged before the run is sent. */
  readonly runId: RunId
  readonly job: Option.Option<{ readonly id: JobId; readonly attempt: number }>
  readonly workflow: Workflow.Workflow
  readonly attachments: ReadonlyArray<Attachment>
  /** Whether a prompt of which the server refuses some outputs runs without them, with a `Warning`. */
  readonly acceptPartial: boolean
  /** What happens on the server when the consumer of the events ends early. */
  readonly onInterrupt: "cancel" | "leave"
}

/** What a backend knows of a run when asked; `Unknown` only after an answer of the server's own shape. `ahead`: null if not known. */
export type RunStatus =
  | { readonly _tag: "Finished"; readonly ending: Ending }
  | { readonly _tag: "Running" }
  | { readonly _tag: "Waiting"; readonly ahead: number | null }
  | { readonly _tag: "Unknown" }

/**
 * What a cancellation did. `interrupted`: the server was told, the run's own ending says when; `unsafe`: this server
 * could only interrupt whatever runs, so nothing was done; `no-effect`: told, and still there when asked again.
 */
export type CancelOutcome = "removed" | "interrupted" | "already-finished" | "unknown-run" | "unsafe" | "no-effect"

/**
 * What a backend reports beside its runs. `epoch` counts the server processes seen at this address, from 0. `kind`: why the
 * connection went, in one word of a small open set (`SocketClosed`, `PongsMissed`, `Deaf`); `reason`: in words for people.
 */
export type BackendEvent =
  | { readonly _tag: "Connected"; readonly epoch: number }
  | { readonly _tag: "Disconnected"; readonly kind: string; readonly reason: string }
  | { readonly _tag: "Restarted"; readonly epoch: number }
  | { readonly _tag: "Load"; readonly running: number; readonly waiting: number; readonly foreign: number }
  | { readonly _tag: "CapabilitiesChanged" }
  | { readonly _tag: "MemoryFreed" }
  | { readonly _tag: "Message"; readonly type: string; readonly data: Json.Json }

/** A cheap sign of life. `roundTripMs` by the monotonic clock; `queueRemaining` counts waiting and running prompts. */
export interface Probe {
  readonly roundTripMs: number
  readonly queueRemaining: number
}

/** What a server process says of its machine and of how it was started; null and empty where it does not say. */
export interface Machine {
  readonly argv: ReadonlyArray<string>
  readonly ramTotalBytes: number | null
  /** When it was asked. In a container the figures of memory may be the host's. */
  readonly ramFreeBytes: number | null
  /** Of its first graphics card; null where it computes without one. */
  readonly vramTotalBytes: number | null
}

/** What one server process can run. Facts about it, never opinions. */
export interface Capabilities {
  readonly epoch: number
  readonly version: string
  readonly machine: Machine
  /** Class type → digest of its signature (inputs, outputs; not file lists). */
  readonly classes: ReadonlyMap<string, string>
  /** Classes that call paid partners. */
  readonly paid: ReadonlySet<string>
  /** `class/input` → the file names it offers; equal lists are one array. */
  readonly files: ReadonlyMap<string, ReadonlyArray<string>>
}

/** One server, or whatever runs prompts one at a time. All members are safe to use from many fibers. */
export interface Backend {
  readonly id: BackendId
  /** Any run there may cost money beyond the machine's, because a partner's key is sent along. Absent: none that says so. */
  readonly paid?: boolean
  /** Submits on subscription and owns the run: an early end of the consumer does what `onInterrupt` says. Never fails. */
  readonly run: (request: RunRequest) => Stream.Stream<ExecutionEvent>
  /** Watches a run that was submitted elsewhere or before; opens with `Gap{cause: "attached"}`; cancels nothing. */
  readonly attach: (id: RunId) => Stream.Stream<ExecutionEvent>
  readonly status: (id: RunId) => Effect.Effect<RunStatus, BackendError>
  /** Cancels this run and nothing else; confirmed by the run's ending, not by the answer. */
  readonly cancel: (id: RunId) => Effect.Effect<CancelOutcome, BackendError>
  readonly probe: Effect.Effect<Probe, BackendError>
  readonly capabilities: Effect.Effect<Capabilities, BackendError>
  /** Asks the server to drop models and results from memory, once it is between two prompts. */
  readonly freeMemory: Effect.Effect<void, BackendError>
  /** From now on; a slow reader loses the oldest. */
  readonly events: Stream.Stream<BackendEvent>
  readonly files: Files
}
