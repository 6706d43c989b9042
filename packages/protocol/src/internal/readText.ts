// A text frame to its message: each core type's check, and what its data becomes.
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as MessageData from "../MessageData.ts"
import type { ServerMessage, TextMessage } from "../ServerMessage.ts"
import type * as Wire from "../Wire.ts"
import { excerpt } from "../Wire.ts"
import { fixedText, type Steps } from "./fixedText.ts"

/** Undefined where the data has another shape: then the frame is an Extension. */
type Reader = (data: Json.Json, raw: Json.JsonObject) => TextMessage | undefined

const reader = <A extends Json.Json>(
  codec: Wire.Codec<A>,
  make: (data: A, raw: Json.JsonObject) => TextMessage | undefined
): Reader =>
(data, raw) => codec.is(data) ? make(data, raw) : undefined

const moment = (_tag: "ExecutionStart" | "ExecutionSuccess"): Reader =>
  reader(MessageData.Moment, (data, raw) => ({
    _tag,
    promptId: data.prompt_id,
    timestamp: data.timestamp ?? null,
    raw
  }))

const readers: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  [
    "status",
    reader(MessageData.Status, (data, raw) => ({
      _tag: "Status",
      queueRemaining: data.status.exec_info?.queue_remaining ?? null,
      sid: data.sid ?? null,
      raw
    }))
  ],
  ["feature_flags", reader(MessageData.FeatureFlags, (flags, raw) => ({ _tag: "FeatureFlags", flags, raw }))],
  ["execution_start", moment("ExecutionStart")],
  ["execution_success", moment("ExecutionSuccess")],
  [
    "execution_cached",
    reader(MessageData.ExecutionCached, (data, raw) => ({
      _tag: "ExecutionCached",
      promptId: data.prompt_id,
      nodes: data.nodes,
      timestamp: data.timestamp ?? null,
      raw
    }))
  ],
  [
    "progress_state",
    reader(MessageData.ProgressState, (data, raw) => ({
      _tag: "ProgressState",
      promptId: data.prompt_id,
      nodes: data.nodes,
      raw
    }))
  ],
  [
    "executing",
    reader(MessageData.Executing, (data, raw) => ({
      _tag: "Executing",
      promptId: data.prompt_id ?? null,
      node: data.node,
      displayNode: data.display_node ?? null,
      raw
    }))
  ],
  [
    "progress",
    reader(MessageData.Progress, (data, raw) => ({
      _tag: "Progress",
      promptId: data.prompt_id ?? null,
      node: data.node ?? null,
      value: data.value,
      max: data.max,
      raw
    }))
  ],
  [
    "executed",
    reader(MessageData.Executed, (data, raw) => ({
      _tag: "Executed",
      promptId: data.prompt_id,
      node: data.node,
      displayNode: data.display_node ?? null,
      output: data.output ?? null,
      raw
    }))
  ],
  [
    "execution_error",
    reader(MessageData.ExecutionError, (data, raw) => ({
      _tag: "ExecutionError",
      promptId: data.prompt_id,
      ...MessageData.executionError(data),
      raw
    }))
  ],
  [
    "execution_interrupted",
    reader(MessageData.ExecutionInterrupted, (data, raw) => ({
      _tag: "ExecutionInterrupted",
      promptId: data.prompt_id,
      nodeId: data.node_id ?? null,
      nodeType: data.node_type ?? null,
      executed: data.executed ?? [],
      timestamp: data.timestamp ?? null,
      raw
    }))
  ],
  [
    "logs",
    reader(MessageData.Logs, (data, raw) => ({ _tag: "Logs", entries: data.entries, size: data.size ?? null, raw }))
  ]
])

/** The message of a parsed frame; undefined if it has no type. */
export const fromObject = (raw: Json.JsonObject): TextMessage | undefined => {
  const type = Json.get(raw, "type")
  if (typeof type !== "string") return undefined
  const data = Json.get(raw, "data") ?? null
  return readers.get(type)?.(data, raw) ?? { _tag: "Extension", type, data, raw }
}

/** Whatever text a socket brought. `steps` is what its connection remembers of the latest progress. */
export const readText = (frame: string, steps: Steps | null): ServerMessage => {
  const fixed = fixedText(frame, steps)
  if (fixed !== undefined) return fixed
  const json = Json.parse(frame)
  if (Result.isFailure(json)) return { _tag: "Malformed", kind: "json", excerpt: excerpt(frame), frame }
  const message = Json.isObject(json.success) ? fromObject(json.success) : undefined
  return message ?? { _tag: "Malformed", kind: "shape", excerpt: excerpt(frame), frame }
}
