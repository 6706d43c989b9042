/** Why an `object_info` cannot be made into classes. */
import * as Schema from "effect/Schema"

/** It is no object of classes by name. */
export const NotAnObject = Schema.TaggedStruct("NotAnObject", {})
/** The entry of this class is not what a server sends: cut short, of another shape, or with an input that says nothing. */
export const BadClass = Schema.TaggedStruct("BadClass", { class: Schema.String, problem: Schema.String })
/** More than is read. `class` is null where all classes together are meant. */
export const TooLarge = Schema.TaggedStruct("TooLarge", {
  class: Schema.NullOr(Schema.String),
  what: Schema.Literals(["classes", "values", "levels", "inputs", "outputs"]),
  limit: Schema.Finite
})

export const ObjectInfoReason = Schema.Union([NotAnObject, BadClass, TooLarge])
export type ObjectInfoReason = typeof ObjectInfoReason.Type

/** What is wrong with an `object_info`, by the first class that has something wrong. Survives JSON. */
export class ObjectInfoError extends Schema.TaggedError<ObjectInfoError>()("ObjectInfoError", {
  reason: ObjectInfoReason
}) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "NotAnObject":
        return "object_info is not an object of classes"
      case "BadClass":
        return `class ${reason.class}: ${reason.problem}`
      case "TooLarge":
        return `${reason.class === null ? "" : `class ${reason.class}: `}more than ${reason.limit} ${reason.what}`
    }
  }
}
