/** What is wrong with a configuration: every problem of it at once, each by the path of its key, none with a secret. */
import * as Schema from "effect/Schema"

/** Keys from the outermost, list places as numbers: `servers.0.weight`; empty for the whole. */
const path = Schema.String

/** There is no such key. `nearest`: the valid one beside it that looks most like it; null where none does. */
export const UnknownKey = Schema.TaggedStruct("UnknownKey", {
  path,
  nearest: Schema.NullOr(Schema.String),
  /** All that may stand there. */
  valid: Schema.Array(Schema.String)
})
/** The value has another type, no unit, another unit, or a meaning that it cannot have. `example`: one that would do. */
export const WrongValue = Schema.TaggedStruct("WrongValue", {
  path,
  problem: Schema.String,
  example: Schema.NullOr(Schema.String)
})
/** A key that is needed is not there. `example`: a value for it. */
export const Missing = Schema.TaggedStruct("Missing", { path, example: Schema.NullOr(Schema.String) })

export const Reason = Schema.Union([UnknownKey, WrongValue, Missing])
export type Reason = typeof Reason.Type

const suchAs = (example: string | null): string => example === null ? "" : `, such as ${example}`

/** A reason in one sentence for people. */
export const describe = (reason: Reason): string => {
  switch (reason._tag) {
    case "UnknownKey":
      return reason.nearest === null
        ? `${reason.path}: no such key; there are ${reason.valid.join(", ") || "none"}`
        : `${reason.path}: no such key; ${reason.nearest} is meant?`
    case "WrongValue":
      return `${reason.path === "" ? "the configuration" : reason.path}: ${reason.problem}${suchAs(reason.example)}`
    case "Missing":
      return `${reason.path}: is missing${suchAs(reason.example)}`
  }
}

/** The configuration is of no use. `reasons` are all of its problems, in no order of weight. Survives JSON. */
export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", {
  reasons: Schema.NonEmptyArray(Reason)
}) {
  override get message(): string {
    return this.reasons.map(describe).join("; ")
  }
}
