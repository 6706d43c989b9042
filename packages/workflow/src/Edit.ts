/** Edits as pure functions: each returns a new workflow, or says typed why it cannot. */
import * as Result from "effect/Result"
import { keepNumberTexts } from "./internal/numberText.ts"
import type { Json } from "./Json.ts"
import { node, type NodeId, type Workflow } from "./Workflow.ts"
import { WorkflowError } from "./WorkflowError.ts"

/** Gives an input of a node a value, whether it had one or not. */
export const setInput = (
  workflow: Workflow,
  nodeId: NodeId,
  inputName: string,
  value: Json
): Result.Result<Workflow, WorkflowError> => {
  const before = node(workflow, nodeId)
  if (before === undefined) return Result.fail(new WorkflowError({ reason: { _tag: "NodeNotFound", nodeId } }))
  const inputs = keepNumberTexts(before.inputs, { ...before.inputs, [inputName]: value })
  return Result.succeed({ ...workflow, nodes: { ...workflow.nodes, [nodeId]: { ...before, inputs } } })
}
