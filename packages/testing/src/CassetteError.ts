/** Why a cassette cannot be recorded, read or replayed. */
import * as Schema from "effect/Schema"

/** A line is not what the format says; `line` counts from 1. A file cut in the middle of a line ends so. */
export const Malformed = Schema.TaggedStruct("Malformed", { line: Schema.Int, problem: Schema.String })
/** A line stands where it cannot: an answer before its request, a frame on a closed socket, a time that goes back. */
export const OutOfOrder = Schema.TaggedStruct("OutOfOrder", { line: Schema.Int, problem: Schema.String })
/** The file has fewer or more lines than its first line says. */
export const Truncated = Schema.TaggedStruct("Truncated", { expected: Schema.Int, found: Schema.Int })
/** More than a cassette may hold. */
export const TooLarge = Schema.TaggedStruct("TooLarge", {
  what: Schema.Literals(["characters", "lines", "bytes", "secrets"]),
  limit: Schema.Finite
})
/** A request that was not recorded, or not any more. `nearest` is the recorded one that is most like it. */
export const UnexpectedRequest = Schema.TaggedStruct("UnexpectedRequest", {
  method: Schema.String,
  path: Schema.String,
  nearest: Schema.NullOr(Schema.String),
  difference: Schema.NullOr(Schema.String)
})
/** A socket was opened that was not recorded, or not any more. */
export const UnexpectedDial = Schema.TaggedStruct("UnexpectedDial", {
  path: Schema.String,
  nearest: Schema.NullOr(Schema.String)
})
/** A frame was sent that was not recorded. */
export const UnexpectedFrame = Schema.TaggedStruct("UnexpectedFrame", {
  conn: Schema.String,
  difference: Schema.String
})
/** The file could not be read or written. */
export const File = Schema.TaggedStruct("File", { path: Schema.String, cause: Schema.String })

export const CassetteReason = Schema.Union([
  Malformed,
  OutOfOrder,
  Truncated,
  TooLarge,
  UnexpectedRequest,
  UnexpectedDial,
  UnexpectedFrame,
  File
])
export type CassetteReason = typeof CassetteReason.Type

/** What went wrong with a cassette. Survives JSON; texts from requests are redacted and cut. */
export class CassetteError extends Schema.TaggedError<CassetteError>()("CassetteError", { reason: CassetteReason }) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "Malformed":
      case "OutOfOrder":
        return `line ${reason.line}: ${reason.problem}`
      case "Truncated":
        return `the cassette says that it has ${reason.expected} lines, and has ${reason.found}`
      case "TooLarge":
        return `more than ${reason.limit} ${reason.what}`
      case "UnexpectedRequest":
        return `${reason.method} ${reason.path} was not recorded here${nearest(reason.nearest)}${
          reason.difference === null ? "" : `: ${reason.difference}`
        }`
      case "UnexpectedDial":
        return `a socket to ${reason.path} was not recorded here${nearest(reason.nearest)}`
      case "UnexpectedFrame":
        return `a frame that was not recorded was sent on ${reason.conn}: ${reason.difference}`
      case "File":
        return `${reason.path}: ${reason.cause}`
    }
  }

  /** What transports put on their errors: clients that show codes alone show this one. */
  get code(): string {
    return "CASSETTE"
  }
}

const nearest = (text: string | null): string => text === null ? "" : `; nearest is ${text}`
