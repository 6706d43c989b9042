/** What client and server tell each other that they can do, since 0.3.45. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import * as ServerMessage from "./ServerMessage.ts"
import * as Wire from "./Wire.ts"

/** `GET /features`, and the data of the socket's `feature_flags`. `max_upload_size` in bytes, perhaps with fractions. */
export const FeatureFlags = Wire.make(
  "feature flags",
  Schema.Struct({
    supports_preview_metadata: Schema.optionalKey(Wire.json),
    supports_progress_text_metadata: Schema.optionalKey(Wire.json),
    supports_model_type_tags: Schema.optionalKey(Wire.json),
    max_upload_size: Wire.nullish(Wire.double),
    extension: Schema.optionalKey(Wire.json),
    node_replacements: Schema.optionalKey(Wire.json),
    assets: Schema.optionalKey(Wire.json)
  })
)
export type FeatureFlags = Wire.Type<typeof FeatureFlags>

/** Whether a flag is set: only `true` counts. */
export const has = (flags: Json.JsonObject, name: string): boolean => Json.get(flags, name) === true

/** The flags this library sends. */
export const client = { supports_preview_metadata: true } as const

/**
 * The text that must be a socket's very first frame from the client. Its data has to be an object: with anything else
 * every node that sends this client a preview fails.
 */
export const hello = (flags: Json.JsonObject = client): string => {
  const frame = ServerMessage.encode({ _tag: "FeatureFlags", flags, raw: null })
  return typeof frame === "string" ? frame : ""
}
