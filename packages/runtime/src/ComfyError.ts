/** The errors of this library for those who catch instead of matching: one class, with a reason and whose fault it was. */
import { attributions, type Category } from "@effect-comfyui/execution/ExecutionError"
import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import { FilesError, type FilesReason } from "@effect-comfyui/execution/Files"
import { PoolError, type PoolReason } from "@effect-comfyui/execution/PoolError"
import { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import { ConfigError } from "./ConfigError.ts"
import { ResultError } from "./Results.ts"

/** Whose fault the reasons of a pool are; one without a row does not compile. */
export const poolCategories: { readonly [Tag in PoolReason["_tag"]]: Category } = {
  NoEligibleServer: "pairing",
  IdempotencyConflict: "caller",
  QueueFull: "caller",
  QueueUnavailable: "transport",
  LeaseLost: "transport",
  InvalidOptions: "caller",
  QueueTimeout: "caller",
  PoisonJob: "workflow",
  MaybeExecuted: "transport",
  OutputsGone: "server",
  CollectFailed: "transport",
  Closed: "caller"
}

/** Whose fault the reasons of files are. */
export const fileCategories: { readonly [Tag in FilesReason["_tag"]]: Category } = {
  NotFound: "server",
  Refused: "server",
  Truncated: "transport",
  UnsafeName: "server",
  TooLarge: "caller",
  LocalFile: "caller",
  Unreachable: attributions.Unreachable.category,
  RateLimited: attributions.RateLimited.category,
  Unauthorized: attributions.Unauthorized.category
}

/** Every typed error that a promise may be rejected for. */
export type Known = ExecutionError | PoolError | FilesError | WorkflowError | ConfigError | ResultError

/**
 * What a promise is rejected with. `reason` is the tag of what happened (`OutOfMemory`, `QueueFull`, `UnknownKey`),
 * `category` whose fault it was, `cause` the typed error with all of its members; `Defect`, with whatever was thrown as its
 * cause, is a mistake of this library. Survives nothing: JSON is the cause's.
 */
export class ComfyError extends Error {
  override readonly name = "ComfyError"
  readonly reason: string
  readonly category: Category | "defect"

  constructor(message: string, reason: string, category: Category | "defect", cause: unknown) {
    super(message, { cause })
    this.reason = reason
    this.category = category
  }
}

const categoryOf = (error: Exclude<Known, ConfigError>): Category => {
  if (error instanceof ExecutionError) return error.category
  if (error instanceof PoolError) return poolCategories[error.reason._tag]
  if (error instanceof FilesError) return fileCategories[error.reason._tag]
  return "workflow"
}

const isKnown = (error: unknown): error is Known =>
  error instanceof ExecutionError || error instanceof PoolError || error instanceof FilesError ||
  error instanceof WorkflowError || error instanceof ConfigError || error instanceof ResultError

/** Any failure as an error of this class. Of a configuration the reason is that of its first problem. */
export const from = (error: unknown): ComfyError => {
  if (error instanceof ComfyError) return error
  if (!isKnown(error)) {
    return new ComfyError(error instanceof Error ? error.message : String(error), "Defect", "defect", error)
  }
  return error instanceof ConfigError
    ? new ComfyError(error.message, error.reasons[0]._tag, "caller", error)
    : new ComfyError(error.message, error.reason._tag, categoryOf(error), error)
}
