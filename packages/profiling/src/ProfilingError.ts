/** Why a document of profiles cannot be read. */
import * as Schema from "effect/Schema"

/** It is of a version that this release does not read: newer, or of something else. `found` is null without one. */
export const UnsupportedVersion = Schema.TaggedStruct("UnsupportedVersion", {
  found: Schema.NullOr(Schema.Finite),
  supported: Schema.Int
})
/** It says the right version, and is no such document; `problem` is at most 500 characters. */
export const InvalidDocument = Schema.TaggedStruct("InvalidDocument", { problem: Schema.String })

/** Every reason. */
export const Reason = Schema.Union([UnsupportedVersion, InvalidDocument])
export type Reason = typeof Reason.Type

/** A reason in one sentence for people. */
export const describe = (reason: Reason): string =>
  reason._tag === "InvalidDocument"
    ? `not a document of profiles: ${reason.problem}`
    : `version ${reason.found ?? "unknown"} of the document, ${reason.supported} is supported`

/** The failure of reading profiles. Survives JSON. */
export class ProfilingError extends Schema.TaggedError<ProfilingError>()("ProfilingError", { reason: Reason }) {
  override get message(): string {
    return describe(this.reason)
  }
}
