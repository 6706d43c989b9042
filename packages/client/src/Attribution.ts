/**
 * Whose fault a failure is, read where the error is decoded: patterns as data, because texts are all that a server
 * gives. One list serves frames, history and jobs alike.
 */
import { bounded, type NodeComplaint, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { NodeErrors, PromptError } from "@effect-comfyui/protocol/Prompt"
import * as Json from "@effect-comfyui/workflow/Json"
import { namesModel } from "@effect-comfyui/workflow/ModelInputs"

/** What a node raised, as `execution_error` says it. */
export interface Raised {
  readonly nodeId: string | null
  readonly nodeType: string | null
  readonly exceptionType: string
  readonly exceptionMessage: string
  readonly traceback: ReadonlyArray<string>
}

const textOf = (data: Json.JsonObject, name: string): string | null => {
  const value = Json.get(data, name)
  return typeof value === "string" ? value : null
}

/** The data of an `execution_error` as history and jobs keep it. */
export const raisedBy = (data: Json.JsonObject): Raised => {
  const traceback = Json.get(data, "traceback")
  return {
    nodeId: textOf(data, "node_id"),
    nodeType: textOf(data, "node_type"),
    exceptionType: textOf(data, "exception_type") ?? "",
    exceptionMessage: textOf(data, "exception_message") ?? "",
    traceback: Array.isArray(traceback) ? traceback.filter((line) => typeof line === "string") : []
  }
}

type Cause = "OutOfMemory" | "GpuPoisoned" | "DiskFull" | "StorageFailed"

/** The first row that matches decides; memory before the broken card, because its text may name both. */
const patterns: ReadonlyArray<{ readonly cause: Cause; readonly type?: RegExp; readonly text?: RegExp }> = [
  { cause: "OutOfMemory", type: /(^|\.)OutOfMemoryError$/ },
  { cause: "OutOfMemory", text: /ran out of memory on your GPU/ },
  { cause: "OutOfMemory", text: /\b(CUDA|HIP|XPU|MPS)\b.{0,40}\bout of memory\b/i },
  { cause: "GpuPoisoned", type: /(^|\.)AcceleratorError$/ },
  { cause: "GpuPoisoned", text: /\b(CUDA|HIP) error\b|device-side assert|no kernel image is available/i },
  { cause: "DiskFull", text: /\[Errno 28\]|No space left on device/ },
  // EIO, ENOTCONN of a mount, ESTALE, EREMOTEIO. A socket that times out names no file, a share does.
  { cause: "StorageFailed", type: /^(OSError|IOError)$/, text: /\[Errno (5|107|116|121)\]/ },
  { cause: "StorageFailed", type: /^(OSError|TimeoutError)$/, text: /\[Errno 110\].*: '/ }
]

const maxText = 8 * 1024

const boundedLines = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  let left = maxText
  return lines.flatMap((line) => {
    const kept = left > 0 ? [bounded(line, left)] : []
    left -= line.length
    return kept
  })
}

/** The reason of a run in which a node raised. */
export const classify = (error: Raised): Reason => {
  const raised = {
    nodeId: error.nodeId,
    classType: error.nodeType,
    exceptionType: bounded(error.exceptionType, 500),
    message: bounded(error.exceptionMessage, maxText)
  }
  const row = patterns.find(({ text, type }) =>
    (type === undefined || type.test(error.exceptionType)) && (text === undefined || text.test(raised.message))
  )
  return row === undefined
    ? { _tag: "NodeFailed", ...raised, traceback: boundedLines(error.traceback) }
    : { _tag: row.cause, ...raised }
}

/** At most so many complaints are kept of one refusal. */
const maxComplaints = 200

/** What validation said node by node. */
export const complaints = (nodeErrors: NodeErrors): ReadonlyArray<NodeComplaint> =>
  Object.entries(nodeErrors).flatMap(([nodeId, node]) =>
    node.errors.map((error): NodeComplaint => {
      const inputName = error.extra_info === undefined ? undefined : Json.get(error.extra_info, "input_name")
      return {
        nodeId,
        classType: node.class_type ?? null,
        inputName: typeof inputName === "string" ? inputName : null,
        type: error.type,
        message: bounded(error.message, 500),
        details: bounded(error.details, 2_000)
      }
    })
  ).slice(0, maxComplaints)

/** The class that the server does not have, from either form of the error (0.12 names it, older ones only say it). */
const missingClasses = (error: PromptError): ReadonlyArray<string> => {
  const named = error.extra_info === undefined ? undefined : Json.get(error.extra_info, "class_type")
  if (error.type === "missing_node_type") return typeof named === "string" ? [named] : []
  const old = /^Cannot execute because node (.+) does not exist\.$/.exec(error.message)
  return old?.[1] === undefined ? [] : [old[1]]
}

const missingModel = (complaint: NodeComplaint, received: string | undefined): string | undefined =>
  complaint.type === "value_not_in_list" && received !== undefined && complaint.inputName !== null &&
    namesModel(complaint.classType ?? "", complaint.inputName, received)
    ? received
    : undefined

const receivedValues = (nodeErrors: NodeErrors): ReadonlyArray<string | undefined> =>
  Object.values(nodeErrors).flatMap((node) =>
    node.errors.map((error) => {
      const value = error.extra_info === undefined ? undefined : Json.get(error.extra_info, "received_value")
      return typeof value === "string" ? value : undefined
    })
  )

/** The reason of a prompt that the server refused: what it lacks if that is all, else what is wrong with the prompt. */
export const refusal = (error: PromptError, nodeErrors: NodeErrors): Reason => {
  const classes = missingClasses(error)
  if (classes.length > 0) return { _tag: "MissingCapability", classes, models: [] }
  const all = complaints(nodeErrors)
  const received = receivedValues(nodeErrors)
  const models = all.flatMap((complaint, index) => missingModel(complaint, received[index]) ?? [])
  return all.length > 0 && models.length === all.length
    ? { _tag: "MissingCapability", classes: [], models: [...new Set(models)] }
    : {
      _tag: "Rejected",
      by: "server",
      type: error.type,
      message: bounded(error.message, 500),
      complaints: all
    }
}
