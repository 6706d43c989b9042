// What the edits share: copies that keep everything they do not change.
import * as Result from "effect/Result"
import type { Json } from "../Json.ts"
import { isLink, type Link, type Node, type NodeId, type Workflow } from "../Workflow.ts"
import { WorkflowError, type WorkflowReason } from "../WorkflowError.ts"
import { keepNumberTexts } from "./numberText.ts"

export const fail = (reason: WorkflowReason): Result.Result<never, WorkflowError> =>
  Result.fail(new WorkflowError({ reason }))

/** The node with these inputs set, or taken away where they are undefined. */
export const withInputs = (node: Node, changes: Iterable<readonly [string, Json | undefined]>): Node => {
  const inputs = new Map<string, Json>(Object.entries(node.inputs))
  for (const [name, value] of changes) {
    if (value === undefined) inputs.delete(name)
    else inputs.set(name, value)
  }
  return { ...node, inputs: keepNumberTexts(node.inputs, Object.fromEntries(inputs)) }
}

export const withNode = (workflow: Workflow, nodeId: NodeId, node: Node): Workflow => ({
  ...workflow,
  nodes: { ...workflow.nodes, [nodeId]: node }
})

/** The node with its links changed, or taken away where `change` gives undefined; the same node if none is. */
export const mapLinks = (node: Node, change: (link: Link) => Link | undefined): Node => {
  const changes = Object.entries(node.inputs).flatMap(([name, value]): ReadonlyArray<[string, Link | undefined]> => {
    const changed = isLink(value) ? change(value) : undefined
    return isLink(value) && changed !== value ? [[name, changed]] : []
  })
  return changes.length === 0 ? node : withInputs(node, changes)
}

/** The values of a record changed, with their keys; a key becomes own whatever it is. */
export const mapValues = <A, B>(
  record: Readonly<Record<string, A>>,
  change: (value: A, key: string) => B
): Readonly<Record<string, B>> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value, key)]))

/** The members that are to stay. */
export const filter = <A>(
  record: Readonly<Record<string, A>>,
  keep: (value: A, key: string) => boolean
): Readonly<Record<string, A>> => Object.fromEntries(Object.entries(record).filter(([key, value]) => keep(value, key)))
