/**
 * The `data` of every text frame that core sends, as the wire has it. `ServerMessage` is what they
 * become; these are for fakes, recorders and whoever reads raw frames.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"
import type * as ServerMessage from "./ServerMessage.ts"
import * as Wire from "./Wire.ts"

const optionalText = Wire.nullish(Schema.String)
const optionalNumber = Wire.nullish(Wire.double)

/** `status`: prompts pending and running; `sid` in the first frame of a socket. */
export const Status = Wire.make(
  "status",
  Schema.Struct({
    status: Schema.Struct({
      exec_info: Schema.optionalKey(Schema.Struct({ queue_remaining: Schema.optionalKey(Wire.double) }))
    }),
    sid: optionalText
  })
)

/** `feature_flags`: any object, in both directions. */
export const FeatureFlags = Wire.make("feature_flags", Wire.object)

/** `execution_start` and `execution_success`. */
export const Moment = Wire.make(
  "execution_start",
  Schema.Struct({ prompt_id: Schema.String, timestamp: optionalNumber })
)

/** `execution_cached`. */
export const ExecutionCached = Wire.make(
  "execution_cached",
  Schema.Struct({ prompt_id: Schema.String, nodes: Wire.strings, timestamp: optionalNumber })
)

const progressNodes: Schema.Codec<Readonly<Record<string, ServerMessage.ProgressNode>>> = Schema.Record(
  Schema.String,
  Schema.Struct({
    value: Wire.double,
    max: Wire.double,
    state: Wire.open("pending", "running", "finished", "error"),
    node_id: Schema.optionalKey(Schema.String),
    prompt_id: Schema.optionalKey(Schema.String),
    display_node_id: optionalText,
    parent_node_id: optionalText,
    real_node_id: optionalText
  })
)

/** The nodes of a `progress_state`, by node id. */
export const ProgressNodes = Wire.make("progress_state.nodes", progressNodes)

/** `progress_state`: all nodes of the prompt that have begun. */
export const ProgressState = Wire.make(
  "progress_state",
  Schema.Struct({ prompt_id: Schema.String, nodes: progressNodes })
)

/** `executing`; without `prompt_id` in the one that follows the first status of a socket. */
export const Executing = Wire.make(
  "executing",
  Schema.Struct({ node: Schema.NullOr(Schema.String), display_node: optionalText, prompt_id: optionalText })
)

/** `progress`. */
export const Progress = Wire.make(
  "progress",
  Schema.Struct({ value: Wire.double, max: Wire.double, prompt_id: optionalText, node: optionalText })
)

/** `executed`. */
export const Executed = Wire.make(
  "executed",
  Schema.Struct({
    node: Schema.String,
    display_node: optionalText,
    output: Wire.nullish(Wire.object),
    prompt_id: Schema.String
  })
)

/** `execution_error`, also what history and jobs keep of it; read it with {@link executionError}. */
export const ExecutionError = Wire.make("execution_error", Schema.Struct({ prompt_id: Schema.String }))

const text = (data: Json.JsonObject, key: string): string | null => {
  const value = Json.get(data, key)
  return typeof value === "string" ? value : null
}

const texts = (data: Json.JsonObject, key: string): ReadonlyArray<string> => {
  const value = Json.get(data, key)
  return Wire.isStrings(value) ? value : []
}

/** What an `execution_error` says, from a frame, a history message or a job alike. */
export type NodeFailure = Omit<ServerMessage.ExecutionError, "_tag" | "promptId" | "raw">

/** Reads the data of an `execution_error`; never fails: what is missing or of another type is null, "" or empty. */
export const executionError = (data: Json.JsonObject): NodeFailure => {
  const exceptionType = text(data, "exception_type") ?? ""
  const timestamp = Json.get(data, "timestamp")
  return {
    nodeId: text(data, "node_id"),
    nodeType: text(data, "node_type"),
    exceptionType,
    exceptionMessage: text(data, "exception_message") ?? "",
    traceback: texts(data, "traceback"),
    executed: texts(data, "executed"),
    currentInputs: Json.get(data, "current_inputs") ?? null,
    currentOutputs: texts(data, "current_outputs"),
    timestamp: typeof timestamp === "number" ? timestamp : null,
    blocked: exceptionType === "ExecutionBlocked"
  }
}

/** `execution_interrupted`, also what history keeps of it. */
export const ExecutionInterrupted = Wire.make(
  "execution_interrupted",
  Schema.Struct({
    prompt_id: Schema.String,
    node_id: optionalText,
    node_type: optionalText,
    executed: Wire.nullish(Wire.strings),
    timestamp: optionalNumber
  })
)

/** `logs`; the size is the server's terminal, in characters. */
export const Logs = Wire.make(
  "logs",
  Schema.Struct({
    entries: Schema.Array(Schema.Struct({ t: Schema.String, m: Schema.String })),
    size: Wire.nullish(Schema.Struct({ cols: Wire.double, rows: Wire.double }))
  })
)
