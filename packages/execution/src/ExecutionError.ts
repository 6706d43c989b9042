/**
 * Why a run ended without success: one error with a tagged `reason`, and one table that says of every reason whose
 * fault it is, what a pool does next and which breaker counts it.
 */
import * as Schema from "effect/Schema"
import { BackendId, RunId } from "./Ids.ts"

/** One complaint of a server's validation about one node; `type` is an open set of the server's words. */
export const NodeComplaint = Schema.Struct({
  nodeId: Schema.String,
  classType: Schema.NullOr(Schema.String),
  inputName: Schema.NullOr(Schema.String),
  type: Schema.String,
  message: Schema.String,
  details: Schema.String
})
export type NodeComplaint = typeof NodeComplaint.Type

/** The prompt was refused before it ran: `by` the server's validation, or here because it would break the server. */
export const Rejected = Schema.TaggedStruct("Rejected", {
  by: Schema.Literals(["server", "client"]),
  type: Schema.String,
  message: Schema.String,
  complaints: Schema.Array(NodeComplaint)
})

/** This server lacks node classes or model files that the prompt names: a fact about the pair, not a failure. */
export const MissingCapability = Schema.TaggedStruct("MissingCapability", {
  classes: Schema.Array(Schema.String),
  models: Schema.Array(Schema.String)
})

/** A file that belongs to the run could not be brought to the server. */
export const AttachmentFailed = Schema.TaggedStruct("AttachmentFailed", { name: Schema.String, cause: Schema.String })

/** What a node raised, in the server's words; `message` is cut at 8 KiB. */
const raised = {
  nodeId: Schema.NullOr(Schema.String),
  classType: Schema.NullOr(Schema.String),
  exceptionType: Schema.String,
  message: Schema.String
}

/** A node raised, and nothing says that it was the server's fault. `traceback` is cut at 8 KiB in all. */
export const NodeFailed = Schema.TaggedStruct("NodeFailed", { ...raised, traceback: Schema.Array(Schema.String) })

/** The graphics card had too little memory for this prompt. */
export const OutOfMemory = Schema.TaggedStruct("OutOfMemory", raised)

/** The card or its driver is broken until the process restarts: every later run would fail in milliseconds. */
export const GpuPoisoned = Schema.TaggedStruct("GpuPoisoned", raised)

/** The server has no disk space left. */
export const DiskFull = Schema.TaggedStruct("DiskFull", raised)

/** What the server reads from or writes to does not answer: a disk that breaks, a share that is away. */
export const StorageFailed = Schema.TaggedStruct("StorageFailed", raised)

/** The server answers, but its worker thread is dead: prompts are taken and never run. */
export const WorkerStuck = Schema.TaggedStruct("WorkerStuck", { evidence: Schema.String })

/** The server was asked twice and does not know the run any more (restart, or removed by somebody). */
export const Lost = Schema.TaggedStruct("Lost", { evidence: Schema.String })

/** The POST had no answer and asking did not tell whether the server took the prompt. */
export const SubmitAmbiguous = Schema.TaggedStruct("SubmitAmbiguous", { promptId: Schema.String, cause: Schema.String })

/** Nothing was ahead of the run, and it did not start. `limitMs` is the limit that ran out. */
export const StartTimeout = Schema.TaggedStruct("StartTimeout", { limitMs: Schema.Finite })

/** A node gave no sign of life for `limitMs`. */
export const NodeTimeout = Schema.TaggedStruct("NodeTimeout", {
  nodeId: Schema.NullOr(Schema.String),
  limitMs: Schema.Finite
})

/** The run took longer than the caller allows one to take, whoever runs it. */
export const TotalTimeout = Schema.TaggedStruct("TotalTimeout", { limitMs: Schema.Finite })

/** The deadline that the caller gave has passed. */
export const DeadlineExceeded = Schema.TaggedStruct("DeadlineExceeded", { deadline: Schema.Finite })

/**
 * No answer that is ComfyUI's: refused, reset, timed out, or something in between answered (`proxy`: HTML, an empty
 * 404, a login page, a redirect, a gateway's 5xx).
 */
export const Unreachable = Schema.TaggedStruct("Unreachable", {
  by: Schema.Literals(["network", "proxy", "timeout"]),
  status: Schema.NullOr(Schema.Finite),
  cause: Schema.String
})

/** The server or a gateway asks to come back later. */
export const RateLimited = Schema.TaggedStruct("RateLimited", { retryAfterMs: Schema.NullOr(Schema.Finite) })

/** Credentials were refused twice. */
export const Unauthorized = Schema.TaggedStruct("Unauthorized", { status: Schema.Finite })

/** An answer or frame in a shape that no known version sends; `excerpt` is at most 200 characters. */
export const ProtocolViolation = Schema.TaggedStruct("ProtocolViolation", {
  kind: Schema.String,
  excerpt: Schema.String
})

/** This server can only interrupt whatever runs, which may be somebody else's: nothing was done. */
export const CannotCancelSafely = Schema.TaggedStruct("CannotCancelSafely", { version: Schema.String })

/** A run with this id exists already in this client. */
export const DuplicateRun = Schema.TaggedStruct("DuplicateRun", {})

/** The client's scope was closed while the run was open. */
export const Closed = Schema.TaggedStruct("Closed", {})

/** Somebody cancelled the run: us, or an operator elsewhere. */
export const Cancelled = Schema.TaggedStruct("Cancelled", { by: Schema.Literals(["us", "elsewhere"]) })

/** Every reason a run can end without success. */
export const Reason = Schema.Union([
  Rejected,
  MissingCapability,
  AttachmentFailed,
  NodeFailed,
  OutOfMemory,
  GpuPoisoned,
  DiskFull,
  StorageFailed,
  WorkerStuck,
  Lost,
  SubmitAmbiguous,
  StartTimeout,
  NodeTimeout,
  TotalTimeout,
  DeadlineExceeded,
  Unreachable,
  RateLimited,
  Unauthorized,
  ProtocolViolation,
  CannotCancelSafely,
  DuplicateRun,
  Closed,
  Cancelled
])
export type Reason = typeof Reason.Type

/** Whose fault: the graph's, this graph on this server, the server's, the way to it, or the caller's own doing. */
export type Category = "workflow" | "pairing" | "server" | "transport" | "caller"

/** What a pool does next, unless its policy says otherwise. */
export type Verdict = "give-up" | "same-server" | "another-server" | "dead-letter"

/** Which breaker counts the failure: the server's, that of this affinity key on this server, or none. */
export type BreakerScope = "server" | "key" | "none"

/** How one reason is to be read. */
export interface Attribution {
  readonly category: Category
  readonly verdict: Verdict
  readonly breaker: BreakerScope
}

const attribution = (category: Category, verdict: Verdict, breaker: BreakerScope): Attribution => ({
  category,
  verdict,
  breaker
})

/** The one reading of every reason; adding a reason without a row does not compile. */
export const attributions: { readonly [Tag in Reason["_tag"]]: Attribution } = {
  Rejected: attribution("workflow", "give-up", "none"),
  MissingCapability: attribution("pairing", "another-server", "none"),
  AttachmentFailed: attribution("transport", "another-server", "server"),
  NodeFailed: attribution("workflow", "give-up", "key"),
  OutOfMemory: attribution("pairing", "another-server", "none"),
  GpuPoisoned: attribution("server", "another-server", "server"),
  DiskFull: attribution("server", "another-server", "server"),
  // Who shares the storage is the pool's to find out: no breaker of one server can.
  StorageFailed: attribution("server", "another-server", "none"),
  WorkerStuck: attribution("server", "another-server", "server"),
  Lost: attribution("server", "another-server", "server"),
  SubmitAmbiguous: attribution("transport", "dead-letter", "server"),
  StartTimeout: attribution("server", "another-server", "server"),
  NodeTimeout: attribution("pairing", "another-server", "key"),
  // The caller's own limit: a server that was given too little time has not failed.
  TotalTimeout: attribution("caller", "give-up", "none"),
  DeadlineExceeded: attribution("caller", "give-up", "none"),
  Unreachable: attribution("transport", "another-server", "server"),
  RateLimited: attribution("transport", "same-server", "none"),
  Unauthorized: attribution("server", "another-server", "server"),
  ProtocolViolation: attribution("server", "another-server", "server"),
  CannotCancelSafely: attribution("caller", "give-up", "none"),
  DuplicateRun: attribution("caller", "give-up", "none"),
  Closed: attribution("caller", "give-up", "none"),
  // By us. What somebody else interrupted a pool may run once more, on another server: see its `Failover`.
  Cancelled: attribution("caller", "give-up", "none")
}

const named = (nodeId: string | null, classType: string | null): string =>
  `${classType ?? "a node"}${nodeId === null ? "" : ` (#${nodeId})`}`

const complaintText = (complaint: NodeComplaint): string => {
  const input = complaint.inputName === null ? "" : `, input "${complaint.inputName}"`
  return `${named(complaint.nodeId, complaint.classType)}${input}: ${complaint.message}`
}

/** A reason in one sentence for people. */
export const describe = (reason: Reason): string => {
  switch (reason._tag) {
    case "Rejected":
      return [
        `prompt refused by the ${reason.by}: ${reason.message}`,
        ...reason.complaints.slice(0, 5).map(complaintText)
      ]
        .join("; ")
    case "MissingCapability":
      return `the server lacks ${[...reason.classes.map((c) => `class ${c}`), ...reason.models].join(", ")}`
    case "AttachmentFailed":
      return `attachment ${reason.name} could not be brought to the server: ${reason.cause}`
    case "NodeFailed":
      return `${named(reason.nodeId, reason.classType)} raised ${reason.exceptionType}: ${reason.message.trim()}`
    case "OutOfMemory":
      return `${named(reason.nodeId, reason.classType)} ran out of memory`
    case "GpuPoisoned":
      return `the graphics card failed: ${reason.message.trim()}`
    case "DiskFull":
      return "the server's disk is full"
    case "StorageFailed":
      return `the server's storage failed: ${reason.message.trim()}`
    case "WorkerStuck":
      return `the server's worker is stuck: ${reason.evidence}`
    case "Lost":
      return `the server does not know the run any more: ${reason.evidence}`
    case "SubmitAmbiguous":
      return `nobody knows whether the server took prompt ${reason.promptId}: ${reason.cause}`
    case "StartTimeout":
      return `not started within ${reason.limitMs} ms with nothing ahead`
    case "NodeTimeout":
      return `node ${reason.nodeId ?? "unknown"} silent for ${reason.limitMs} ms`
    case "TotalTimeout":
      return `not done within ${reason.limitMs} ms`
    case "DeadlineExceeded":
      return "the deadline has passed"
    case "Unreachable":
      return `no answer of ComfyUI (${reason.by}${reason.status === null ? "" : ` ${reason.status}`}): ${reason.cause}`
    case "RateLimited":
      return reason.retryAfterMs === null ? "rate limited" : `rate limited for ${reason.retryAfterMs} ms`
    case "Unauthorized":
      return `credentials refused (${reason.status})`
    case "ProtocolViolation":
      return `unexpected ${reason.kind}: ${reason.excerpt}`
    case "CannotCancelSafely":
      return `ComfyUI ${reason.version} can only interrupt whatever runs`
    case "DuplicateRun":
      return "a run with this id exists already"
    case "Closed":
      return "the client was closed"
    case "Cancelled":
      return reason.by === "us" ? "cancelled" : "cancelled by somebody else"
  }
}

/**
 * The failure of one run. Survives JSON with its reason; carries no object of a platform, no stack of a transport and
 * no secret.
 */
export class ExecutionError extends Schema.TaggedError<ExecutionError>()("ExecutionError", {
  reason: Reason,
  runId: Schema.NullOr(RunId),
  backend: Schema.NullOr(BackendId)
}) {
  override get message(): string {
    return describe(this.reason)
  }

  /** Whose fault, what next, which breaker. */
  get attribution(): Attribution {
    return attributions[this.reason._tag]
  }

  get category(): Category {
    return this.attribution.category
  }
}

/** Cuts a text that others chose to `limit` characters, so that no error grows with what a server sends. */
export const bounded = (text: string, limit: number): string => text.length <= limit ? text : `${text.slice(0, limit)}…`
