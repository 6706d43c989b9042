/** `POST /prompt` and its answers. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import * as Wire from "./Wire.ts"

const node = Schema.Struct({
  class_type: Schema.String,
  inputs: Wire.object,
  _meta: Schema.optionalKey(Schema.Struct({ title: Schema.optionalKey(Schema.String) }))
})

/**
 * What to run. `prompt_id` should be a lowercase UUID (a must since 0.25); `number` is the priority, lowest first, and
 * `front` is ignored beside it. Omit members instead of sending null: a null in `extra_pnginfo` breaks the jobs list.
 */
export const Request = Wire.make(
  "prompt request",
  Schema.Struct({
    prompt: Schema.Record(Schema.String, node),
    client_id: Schema.optionalKey(Schema.String),
    prompt_id: Wire.nullish(Schema.String),
    number: Schema.optionalKey(Wire.number),
    front: Schema.optionalKey(Schema.Boolean),
    partial_execution_targets: Wire.nullish(Wire.strings),
    extra_data: Schema.optionalKey(
      Schema.Struct({
        client_id: Schema.optionalKey(Schema.String),
        extra_pnginfo: Schema.optionalKey(Wire.object),
        api_key_comfy_org: Schema.optionalKey(Schema.String),
        auth_token_comfy_org: Schema.optionalKey(Schema.String),
        preview_method: Schema.optionalKey(Wire.open("default", "none", "auto", "latent2rgb", "taesd")),
        comfy_usage_source: Schema.optionalKey(Schema.String)
      })
    ),
    workflow_metadata: Schema.optionalKey(Wire.object)
  })
)
export type Request = Wire.Type<typeof Request>

const reason = Schema.Struct({
  type: Wire.open(
    "required_input_missing",
    "bad_linked_input",
    "return_type_mismatch",
    "invalid_input_type",
    "value_smaller_than_min",
    "value_bigger_than_max",
    "value_not_in_list",
    "custom_validation_failed",
    "exception_during_validation",
    "exception_during_inner_validation",
    "dependency_cycle",
    "invalid_dynamic_input"
  ),
  message: Schema.String,
  details: Schema.String,
  extra_info: Schema.optionalKey(Wire.object)
})

const nodeError = Wire.make(
  "node error",
  Schema.Struct({
    errors: Schema.Array(reason),
    dependent_outputs: Wire.nullish(Wire.strings),
    class_type: Wire.nullish(Schema.String)
  })
)

/** What is wrong with one node; the order of `errors` means nothing, `extra_info.input_name` names the input. */
export type NodeError = Wire.Type<typeof nodeError>

/** Node errors by node id. */
export type NodeErrors = Readonly<Record<string, NodeError>>

const promptError = Wire.make(
  "prompt error",
  Schema.Struct({
    type: Wire.open(
      "no_prompt",
      "invalid_prompt_id",
      "invalid_prompt",
      "missing_node_type",
      "prompt_no_outputs",
      "prompt_outputs_failed_validation"
    ),
    message: Schema.String,
    details: Schema.String,
    extra_info: Schema.optionalKey(Wire.object)
  })
)

/** Why a whole prompt is refused; `details` can be empty, then the node errors say why. */
export type PromptError = Wire.Type<typeof promptError>

/**
 * The prompt is queued. {@link nodeErrorsOf} may name outputs that were dropped from it. `number` is the queue's (a
 * float, or NaN, where the request chose it).
 */
export const Receipt = Wire.make(
  "prompt receipt",
  Schema.Struct({ prompt_id: Schema.String, number: Wire.number, node_errors: Schema.optionalKey(Wire.json) })
)
export type Receipt = Wire.Type<typeof Receipt>

/** The prompt is refused, status 400: see {@link errorOf} and {@link nodeErrorsOf}. */
export const Refusal = Wire.make(
  "prompt refusal",
  Schema.Struct({ error: Wire.json, node_errors: Schema.optionalKey(Wire.json) })
)
export type Refusal = Wire.Type<typeof Refusal>

/** The node errors of a receipt or a refusal; none where a version before 0.3.28 sends `[]`. */
export const nodeErrorsOf = (answer: Receipt | Refusal): NodeErrors =>
  Object.fromEntries(
    Object.entries(Json.isObject(answer.node_errors) ? answer.node_errors : {}).flatMap(([id, error]) =>
      nodeError.is(error) ? [[id, error] as const] : []
    )
  )

/** The error of a refusal; some are plain strings before 0.3.28, and get a type here. */
export const errorOf = ({ error }: Refusal): PromptError => {
  if (promptError.is(error)) return error
  const message = typeof error === "string" ? error : Json.stringify(error)
  return { type: message === "no prompt" ? "no_prompt" : "unknown", message: Wire.excerpt(message), details: "" }
}

/** `GET /prompt`: prompts pending and running. The cheapest probe of load. */
export const Load = Wire.make(
  "prompt load",
  Schema.Struct({ exec_info: Schema.Struct({ queue_remaining: Wire.double }) })
)
