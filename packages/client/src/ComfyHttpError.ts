/** Why a request to a server has no result: nothing of ComfyUI's shape came back, or it said no. */
import { BackendError } from "@effect-comfyui/execution/Backend"
import {
  ProtocolViolation,
  RateLimited,
  type Reason as ExecutionReason,
  Unauthorized,
  Unreachable
} from "@effect-comfyui/execution/ExecutionError"
import * as Schema from "effect/Schema"

/**
 * The server itself answered with an error status. `body` is the answer, at most 64 KiB: JSON, a text or empty, in one
 * of ComfyUI's four shapes.
 */
export const Answered = Schema.TaggedStruct("Answered", { body: Schema.String })

export const HttpReason = Schema.Union([Unreachable, RateLimited, Unauthorized, ProtocolViolation, Answered])
export type HttpReason = typeof HttpReason.Type

/**
 * A failed request. Method and path say which; no query that holds a token, no header, no object of a platform.
 * `maybeSent` is false only where the request cannot have reached the server.
 */
export class ComfyHttpError extends Schema.TaggedError<ComfyHttpError>()("ComfyHttpError", {
  reason: HttpReason,
  method: Schema.String,
  path: Schema.String,
  status: Schema.NullOr(Schema.Int),
  maybeSent: Schema.Boolean
}) {
  override get message(): string {
    const { reason } = this
    const what = `${this.method} ${this.path}`
    switch (reason._tag) {
      case "Unreachable":
        return `${what}: no answer of ComfyUI (${reason.by}): ${reason.cause}`
      case "RateLimited":
        return `${what}: rate limited`
      case "Unauthorized":
        return `${what}: credentials refused (${reason.status})`
      case "ProtocolViolation":
        return `${what}: unexpected ${reason.kind}: ${reason.excerpt}`
      case "Answered":
        return `${what}: ${this.status ?? ""} ${reason.body.slice(0, 200)}`
    }
  }
}

/** The same as the reason of a run: an error status that nobody expected there is a violation. */
export const toExecutionReason = (error: ComfyHttpError): ExecutionReason =>
  error.reason._tag === "Answered"
    ? { _tag: "ProtocolViolation", kind: `status ${error.status ?? ""}`, excerpt: error.reason.body.slice(0, 200) }
    : error.reason

/** A request that failed, as the error of a backend's question. */
export const toBackendError = (error: ComfyHttpError): BackendError =>
  new BackendError({
    reason: error.reason._tag === "Answered"
      ? { _tag: "ProtocolViolation", kind: `status ${error.status ?? ""}`, excerpt: error.reason.body.slice(0, 200) }
      : error.reason
  })
