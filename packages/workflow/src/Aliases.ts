/** Names of the caller's own for output nodes. A name may be any text, and an id stays whole: `57:8` is one node. */
import * as Result from "effect/Result"
import { fail, filter } from "./internal/edit.ts"
import { node, type NodeId, type Workflow } from "./Workflow.ts"
import type { WorkflowError } from "./WorkflowError.ts"

/** Calls a node so; the name leaves the node that had it. Fails with `NodeNotFound`. */
export const set = (workflow: Workflow, alias: string, nodeId: NodeId): Result.Result<Workflow, WorkflowError> =>
  node(workflow, nodeId) === undefined
    ? fail({ _tag: "NodeNotFound", nodeId })
    : Result.succeed({ ...workflow, aliases: { ...workflow.aliases, [alias]: nodeId } })

/** Forgets a name. Fails with `AliasNotFound`. */
export const remove = (workflow: Workflow, alias: string): Result.Result<Workflow, WorkflowError> =>
  Object.hasOwn(workflow.aliases, alias)
    ? Result.succeed({ ...workflow, aliases: filter(workflow.aliases, (_, name) => name !== alias) })
    : fail({ _tag: "AliasNotFound", alias })

/** The node of that name. Fails with `AliasNotFound`. */
export const nodeId = (workflow: Workflow, alias: string): Result.Result<NodeId, WorkflowError> => {
  const id = Object.hasOwn(workflow.aliases, alias) ? workflow.aliases[alias] : undefined
  return id === undefined ? fail({ _tag: "AliasNotFound", alias }) : Result.succeed(id)
}
