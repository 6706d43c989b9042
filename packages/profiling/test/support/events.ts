// Events by hand: lifecycle events count themselves, times are milliseconds since the submission.
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import type { NodeProfile } from "@effect-comfyui/profiling/NodeProfile"
import type { Profile } from "@effect-comfyui/profiling/Profile"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert } from "@effect/vitest"

export const runId = RunId.make("0b2f6c3e-5a8d-4e7b-9a56-1c2d3e4f5a6b")
export const backend = BackendId.make("gpu-1")
export const epoch = 1_700_000_000_000

/** A script of one run. `wall` says what the wall clock shows at a time. */
export const script = (wall: (elapsed: number) => number = (elapsed) => epoch + elapsed, id = runId) => {
  let sequence = -1
  const common = (elapsed: number) => ({ runId: id, backend, sequence, at: wall(elapsed), elapsed })
  const next = (elapsed: number) => {
    sequence++
    return common(elapsed)
  }
  return {
    submitted: (at: number): ExecutionEvent => ({
      _tag: "Submitted",
      ...next(at),
      promptId: id,
      number: 0,
      seeds: []
    }),
    started: (at: number, serverAt: number | null = null): ExecutionEvent => ({
      _tag: "Started",
      ...next(at),
      serverAt
    }),
    cached: (at: number, ...nodeIds: ReadonlyArray<string>): ExecutionEvent => ({
      _tag: "NodesCached",
      ...next(at),
      nodeIds
    }),
    start: (
      at: number,
      nodeId: string,
      shown: { readonly displayId?: string; readonly parentId?: string; readonly classType?: string } = {}
    ): ExecutionEvent => ({
      _tag: "NodeStarted",
      ...next(at),
      nodeId,
      displayId: shown.displayId ?? nodeId,
      parentId: shown.parentId ?? null,
      classType: shown.classType ?? "KSampler"
    }),
    finish: (at: number, nodeId: string, displayId = nodeId): ExecutionEvent => ({
      _tag: "NodeFinished",
      ...next(at),
      nodeId,
      displayId
    }),
    progress: (at: number, nodeId: string, value: number, max = 20): ExecutionEvent => ({
      _tag: "NodeProgress",
      ...common(at),
      nodeId,
      displayId: nodeId,
      value,
      max
    }),
    output: (at: number, nodeId: string, cached: boolean): ExecutionEvent => ({
      _tag: "NodeOutput",
      ...next(at),
      nodeId,
      displayId: nodeId,
      cached,
      output: null
    }),
    gap: (at: number, cause: "socket" | "attached"): ExecutionEvent => ({
      _tag: "Gap",
      ...next(at),
      cause,
      lifecycle: 0,
      progress: 0,
      previews: 0
    }),
    /** So many lifecycle events fell out, and this is told instead. */
    lost: (at: number, lifecycle: number): ExecutionEvent => {
      sequence += lifecycle
      return { _tag: "Gap", ...common(at), cause: "consumer", lifecycle, progress: 0, previews: 0 }
    },
    completed: (at: number, via: "socket" | "http" = "socket"): ExecutionEvent => ({
      _tag: "Completed",
      ...next(at),
      via,
      outputs: {},
      executions: { atLeast: 1, atMost: 1 }
    }),
    failed: (at: number, reason: Reason, via: "socket" | "http" | "client" = "socket"): ExecutionEvent => ({
      _tag: "Failed",
      ...next(at),
      via,
      error: new ExecutionError({ reason, runId: id, backend })
    }),
    cancelled: (at: number): ExecutionEvent => ({ _tag: "Cancelled", ...next(at), via: "socket", by: "us" })
  }
}

export const nodeFailed = (nodeId: string): Reason => ({
  _tag: "NodeFailed",
  nodeId,
  classType: "KSampler",
  exceptionType: "ValueError",
  message: "no",
  traceback: []
})

/** A chain of these nodes, each fed by the one before it. */
export const chain = (...nodeIds: ReadonlyArray<string>): Workflow.Workflow =>
  Workflow.fromNodes(
    Object.fromEntries(nodeIds.map((id, i) => {
      const before = nodeIds[i - 1]
      const inputs = before === undefined ? {} : { image: [before, 0] }
      return [id, { class_type: `Class${id}`, inputs, _meta: { title: `Title ${id}` } }]
    }))
  )

export const nodeOf = (profile: Profile, nodeId: string): NodeProfile =>
  profile.nodes.find((node) => node.nodeId === nodeId) ?? assert.fail(`there is no node ${nodeId}`)

/** Equal but for the last digits of a sum. */
export const near = (actual: number | null | undefined, expected: number, what?: string): void =>
  assert.closeTo(actual ?? assert.fail(`${what ?? "a figure"} is missing`), expected, 1e-6, what)

/** What is dealt out is what there was. */
export const addsUp = ({ executionMs, idleMs, nodes }: Profile): void => {
  const dealt = nodes.reduce((sum, { exclusiveMs }) => sum + exclusiveMs, idleMs)
  const all = executionMs ?? 0
  assert.isAtMost(Math.abs(dealt - all), 1e-6 * Math.max(1, all))
}
