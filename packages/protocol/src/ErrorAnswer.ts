/**
 * The four unrelated shapes in which a server says no: `/prompt`'s object, a plain string, the coded
 * object of the assets, and no body at all; beside them the plain text of the HTTP framework and of proxies.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

/** What stands under `error`. */
export const detail = Schema.Union([
  Schema.String,
  Schema.Struct({
    type: Wire.nullish(
      Wire.open(
        "no_prompt",
        "invalid_prompt_id",
        "invalid_prompt",
        "missing_node_type",
        "prompt_no_outputs",
        "prompt_outputs_failed_validation"
      )
    ),
    code: Wire.nullish(Schema.String),
    message: Wire.nullish(Schema.String),
    details: Schema.optionalKey(Wire.json),
    extra_info: Schema.optionalKey(Wire.json)
  })
])

/** Any JSON error body. */
export const Body = Wire.make("error", Schema.Struct({ error: detail }))
export type Body = Wire.Type<typeof Body>

/**
 * Any error answer, brought to one form. `type` is `/prompt`'s `type` or the assets' `code`; `details` is text (JSON
 * where the server sent a value); `message` and `details` hold at most 200 characters, `body` is the whole JSON, if any.
 */
export interface ErrorAnswer {
  readonly shape: "object" | "string" | "text" | "empty"
  readonly type: string | null
  readonly message: string
  readonly details: string
  readonly body: Json.Json | null
}

const textOf = (value: Json.Json | undefined): string =>
  value === undefined || value === null ? "" : Wire.excerpt(typeof value === "string" ? value : Json.stringify(value))

/** The first two lines of the server's 500 say the same thing; pages of proxies are HTML. */
const fromText = (text: string): ErrorAnswer => ({
  shape: text.trim() === "" ? "empty" : "text",
  type: null,
  message: Wire.excerpt(text.trim()),
  details: "",
  body: null
})

/** Reads the body of an answer whose status is an error; never fails, as anything may stand between us and the server. */
export const read = (text: string): ErrorAnswer => {
  const json = text.startsWith("{") ? Json.parse(text) : undefined
  if (json === undefined || Result.isFailure(json)) return fromText(text)
  const body = json.success
  if (!Body.is(body)) return { ...fromText(text), body }
  const { error } = body
  return typeof error === "string"
    ? { shape: "string", type: null, message: Wire.excerpt(error), details: "", body }
    : {
      shape: "object",
      type: error.type ?? error.code ?? null,
      message: textOf(error.message),
      details: textOf(error.details),
      body
    }
}
