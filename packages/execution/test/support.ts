import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"

export const runId = RunId.make("0b2f6c3e-5a8d-4e7b-9a56-1c2d3e4f5a6b")
export const backend = BackendId.make("http://gpu-1:8188")

export const at = (sequence: number, elapsed = sequence * 10) => ({
  runId,
  backend,
  sequence,
  at: 1_000 + elapsed,
  elapsed
})

export const submitted: ExecutionEvent = { _tag: "Submitted", ...at(0), promptId: runId, number: 3, seeds: [] }

export const completed = (sequence: number): ExecutionEvent => ({
  _tag: "Completed",
  ...at(sequence),
  via: "socket",
  outputs: {},
  executions: { atLeast: 1, atMost: 1 }
})

export const failed = (sequence: number): ExecutionEvent => ({
  _tag: "Failed",
  ...at(sequence),
  via: "http",
  error: new ExecutionError({ reason: { _tag: "Lost", evidence: "two answers" }, runId, backend })
})

export const cancelled = (sequence: number): ExecutionEvent => ({
  _tag: "Cancelled",
  ...at(sequence),
  via: "http",
  by: "elsewhere"
})

export const started = (sequence: number, nodeId: string, displayId = nodeId): ExecutionEvent => ({
  _tag: "NodeStarted",
  ...at(sequence),
  nodeId,
  displayId,
  parentId: null,
  classType: "KSampler"
})

export const finished = (sequence: number, nodeId: string, displayId = nodeId): ExecutionEvent => ({
  _tag: "NodeFinished",
  ...at(sequence),
  nodeId,
  displayId
})

export const progress = (sequence: number, nodeId: string, value: number, max = 20): ExecutionEvent => ({
  _tag: "NodeProgress",
  ...at(sequence),
  nodeId,
  displayId: nodeId,
  value,
  max
})

export const preview = (sequence: number, bytes: number): ExecutionEvent => ({
  _tag: "Preview",
  ...at(sequence),
  nodeId: "3",
  displayId: "3",
  format: "image/png",
  image: new Uint8Array(bytes)
})
