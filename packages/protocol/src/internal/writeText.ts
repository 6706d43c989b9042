// A text message to its frame, spaced as Python spaces the outer levels, so that the fast reading serves fakes too.
import * as Json from "@effect-comfyui/workflow/Json"
import type { TextMessage } from "../ServerMessage.ts"
import { fromObject } from "./readText.ts"

interface WireFrame {
  readonly type: string
  readonly data: Json.Json
}

/** The server leaves out what it does not know, apart from a few members that it writes as null. */
const known = (members: Readonly<Record<string, Json.Json>>): Json.JsonObject =>
  Object.fromEntries(Object.entries(members).filter((entry) => entry[1] !== null))

const frameOf = (message: TextMessage): WireFrame => {
  switch (message._tag) {
    case "Status":
      return {
        type: "status",
        data: {
          status: { exec_info: known({ queue_remaining: message.queueRemaining }) },
          ...known({ sid: message.sid })
        }
      }
    case "FeatureFlags":
      return { type: "feature_flags", data: message.flags }
    case "ExecutionStart":
      return {
        type: "execution_start",
        data: { prompt_id: message.promptId, ...known({ timestamp: message.timestamp }) }
      }
    case "ExecutionSuccess":
      return {
        type: "execution_success",
        data: { prompt_id: message.promptId, ...known({ timestamp: message.timestamp }) }
      }
    case "ExecutionCached":
      return {
        type: "execution_cached",
        data: { nodes: message.nodes, prompt_id: message.promptId, ...known({ timestamp: message.timestamp }) }
      }
    case "ProgressState":
      return { type: "progress_state", data: { prompt_id: message.promptId, nodes: message.nodes } }
    case "Executing":
      return {
        type: "executing",
        data: { node: message.node, ...known({ display_node: message.displayNode, prompt_id: message.promptId }) }
      }
    case "Progress":
      return {
        type: "progress",
        data: {
          value: message.value,
          max: message.max,
          ...known({ prompt_id: message.promptId, node: message.node })
        }
      }
    case "Executed":
      return {
        type: "executed",
        data: {
          node: message.node,
          ...known({ display_node: message.displayNode }),
          output: message.output,
          prompt_id: message.promptId
        }
      }
    case "ExecutionError":
      return {
        type: "execution_error",
        data: {
          prompt_id: message.promptId,
          node_id: message.nodeId,
          node_type: message.nodeType,
          executed: message.executed,
          exception_message: message.exceptionMessage,
          exception_type: message.exceptionType,
          traceback: message.traceback,
          current_inputs: message.currentInputs,
          current_outputs: message.currentOutputs,
          ...known({ timestamp: message.timestamp })
        }
      }
    case "ExecutionInterrupted":
      return {
        type: "execution_interrupted",
        data: {
          prompt_id: message.promptId,
          node_id: message.nodeId,
          node_type: message.nodeType,
          executed: message.executed,
          ...known({ timestamp: message.timestamp })
        }
      }
    case "Logs":
      return { type: "logs", data: { entries: message.entries, size: message.size } }
    case "Extension":
      return { type: message.type, data: message.data }
  }
}

const frameText = ({ type, data }: WireFrame): string => {
  const members = Json.isObject(data)
    ? `{${Object.entries(data).map(([key, value]) => `${Json.stringify(key)}: ${Json.stringify(value)}`).join(", ")}}`
    : Json.stringify(data)
  return `{"type": ${Json.stringify(type)}, "data": ${members}}`
}

const same = (a: Json.Json | undefined, b: Json.Json | undefined): boolean =>
  Object.is(a, b) || (a !== undefined && b !== undefined && Json.stringify(a) === Json.stringify(b))

/** `raw` with the members that differ between `before` and `after` taken from `after`. */
const layOver = (raw: Json.JsonObject, before: Json.JsonObject, after: Json.JsonObject): Json.JsonObject => {
  const changed = Object.keys(after).filter((key) => !same(Json.get(after, key), Json.get(before, key)))
  const removed = new Set(Object.keys(before).filter((key) => !Object.hasOwn(after, key)))
  if (changed.length === 0 && removed.size === 0) return raw
  return Object.fromEntries([
    ...Object.entries(raw).filter(([key]) => !removed.has(key)),
    ...changed.map((key) => [key, Json.get(after, key) ?? null] as const)
  ])
}

export const writeText = (message: TextMessage): string => {
  const after = frameOf(message)
  const { raw } = message
  const decoded = raw === null ? undefined : fromObject(raw)
  if (raw === null || decoded?._tag !== message._tag) return frameText(after)
  const before = frameOf(decoded)
  const data = Json.get(raw, "data")
  const whole = message._tag === "Extension" || message._tag === "FeatureFlags"
  return whole || !Json.isObject(data) || !Json.isObject(before.data) || !Json.isObject(after.data)
    ? Json.stringify(layOver(raw, { ...before }, { ...after }))
    : Json.stringify({ ...raw, data: layOver(data, before.data, after.data) })
}
