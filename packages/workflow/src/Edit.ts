/**
 * Edits as pure functions: each returns a new workflow that shares what it did not change, or says typed why it cannot.
 * A chain of them is `Result.flatMap`. Whether the graph as a whole may be sent is asked once, by `Workflow.check`.
 */
import * as Result from "effect/Result"
import { fail, filter, mapLinks, mapValues, withInputs, withNode } from "./internal/edit.ts"
import { get, type Json } from "./Json.ts"
import {
  type Bypassed,
  isForbidden,
  type Link,
  links,
  type Node,
  node,
  type NodeId,
  nodeProblem,
  type Workflow
} from "./Workflow.ts"
import type { WorkflowError } from "./WorkflowError.ts"

type Edited = Result.Result<Workflow, WorkflowError>

/** Changes one node; a bypassed one is not in the graph. */
const editNode = (workflow: Workflow, nodeId: NodeId, edit: (before: Node) => Result.Result<Node, WorkflowError>) => {
  const before = node(workflow, nodeId)
  return before === undefined
    ? fail({ _tag: "NodeNotFound", nodeId })
    : Result.map(edit(before), (after): Workflow => withNode(workflow, nodeId, after))
}

/** Whether the id is taken: by a node, or by one that is bypassed. */
const isTaken = (workflow: Workflow, nodeId: NodeId): boolean =>
  Object.hasOwn(workflow.nodes, nodeId) || Object.hasOwn(workflow.bypassed, nodeId)

/**
 * Gives an input of a node a value, whether it had one or not. An array of a text and a number is a link; wrap a literal
 * array as `{"__value__": […]}`. Fails with `NodeNotFound`, `ForbiddenName`.
 */
export const setInput = (workflow: Workflow, nodeId: NodeId, inputName: string, value: Json): Edited =>
  setInputs(workflow, { [nodeId]: { [inputName]: value } })

/** {@link setInput} of many, all or none: `{ "3": { seed: 7, steps: 20 }, "57:8": { text: "a lighthouse" } }`. */
export const setInputs = (
  workflow: Workflow,
  values: Readonly<Record<NodeId, Readonly<Record<string, Json>>>>
): Edited => {
  const changed = new Map<NodeId, Node>()
  for (const [nodeId, inputs] of Object.entries(values)) {
    const before = node(workflow, nodeId)
    if (before === undefined) return fail({ _tag: "NodeNotFound", nodeId })
    const inputName = Object.keys(inputs).find(isForbidden)
    if (inputName !== undefined) return fail({ _tag: "ForbiddenName", nodeId, inputName })
    changed.set(nodeId, withInputs(before, Object.entries(inputs)))
  }
  return Result.succeed({ ...workflow, nodes: { ...workflow.nodes, ...Object.fromEntries(changed) } })
}

/** Takes an input away, so that the server uses its default. Fails with `NodeNotFound`, `InputNotFound`. */
export const removeInput = (workflow: Workflow, nodeId: NodeId, inputName: string): Edited =>
  editNode(workflow, nodeId, (before) =>
    get(before.inputs, inputName) === undefined
      ? fail({ _tag: "InputNotFound", nodeId, inputName })
      : Result.succeed(withInputs(before, [[inputName, undefined]])))

/**
 * Links an output, `["4", 0]`, to an input of a node, in place of what that input was. Fails with `NodeNotFound` of
 * either node, `ForbiddenName`.
 */
export const connect = (workflow: Workflow, output: Link, nodeId: NodeId, inputName: string): Edited =>
  node(workflow, output[0]) === undefined
    ? fail({ _tag: "NodeNotFound", nodeId: output[0] })
    : setInput(workflow, nodeId, inputName, output)

/** Makes a node one of another class; its inputs and title stay. Fails with `NodeNotFound`. */
export const replaceClass = (workflow: Workflow, nodeId: NodeId, classType: string): Edited =>
  editNode(workflow, nodeId, (before) => Result.succeed({ ...before, class_type: classType }))

/** An id that no node has: one above the largest number among them. */
export const freshId = (workflow: Workflow): NodeId => {
  const ids = [...Object.keys(workflow.nodes), ...Object.keys(workflow.bypassed)]
  const numbers = ids.map(Number).filter((id) => Number.isSafeInteger(id) && id < Number.MAX_SAFE_INTEGER)
  return String(numbers.reduce((a, b) => Math.max(a, b), 0) + 1)
}

/**
 * Adds a node. Fails with `NodeExists` (a bypassed node keeps its id), `ForbiddenName`, `InvalidNode`, and with
 * `DanglingLink` where an input leads to no node: add sources first.
 */
export const addNode = (workflow: Workflow, nodeId: NodeId, added: Node): Edited => {
  const problem = nodeProblem(nodeId, added)
  if (problem !== undefined) return fail(problem)
  if (isTaken(workflow, nodeId)) return fail({ _tag: "NodeExists", nodeId })
  const lost = links(added).find(([, [target]]) => node(workflow, target) === undefined)
  return lost === undefined
    ? Result.succeed(withNode(workflow, nodeId, added))
    : fail({ _tag: "DanglingLink", nodeId, inputName: lost[0], target: lost[1][0] })
}

/**
 * Takes a node out, with its aliases. Links to it, those of bypassed nodes included, refuse that as `StillLinked`; with
 * `links: "drop"` their inputs go too. Fails with `NodeNotFound`; to take it out of a chain, see `Bypass`.
 */
export const removeNode = (
  workflow: Workflow,
  nodeId: NodeId,
  options: { readonly links: "refuse" | "drop" } = { links: "refuse" }
): Edited => {
  if (node(workflow, nodeId) === undefined) return fail({ _tag: "NodeNotFound", nodeId })
  const nodes = filter(workflow.nodes, (_, id) => id !== nodeId)
  const everyNode = [...Object.entries(nodes), ...Object.entries(mapValues(workflow.bypassed, ({ node }) => node))]
  const by = everyNode.flatMap(([id, consumer]) =>
    links(consumer).flatMap(([inputName, [target]]) => target === nodeId ? [{ nodeId: id, inputName }] : [])
  )
  if (by.length > 0 && options.links === "refuse") return fail({ _tag: "StillLinked", nodeId, by })
  const unlinked = (consumer: Node): Node => mapLinks(consumer, (link) => link[0] === nodeId ? undefined : link)
  return Result.succeed({
    nodes: by.length === 0 ? nodes : mapValues(nodes, unlinked),
    aliases: filter(workflow.aliases, (id) => id !== nodeId),
    bypassed: mapValues(workflow.bypassed, (bypassed): Bypassed => ({
      node: unlinked(bypassed.node),
      links: bypassed.links.filter((detour) => detour.nodeId !== nodeId)
    }))
  })
}

/**
 * Gives nodes other ids, all at once, so that two may change places: links, aliases and bypassed nodes follow. Fails with
 * `NodeNotFound`, `ForbiddenName`, and with `NodeExists` where two nodes would have one id.
 */
export const renameNodes = (workflow: Workflow, ids: Readonly<Record<NodeId, NodeId>>): Edited => {
  const missing = Object.keys(ids).find((nodeId) => !isTaken(workflow, nodeId))
  if (missing !== undefined) return fail({ _tag: "NodeNotFound", nodeId: missing })
  const renamed = (nodeId: NodeId): NodeId => Object.hasOwn(ids, nodeId) ? ids[nodeId] ?? nodeId : nodeId
  const taken = new Set<NodeId>()
  for (const before of [...Object.keys(workflow.nodes), ...Object.keys(workflow.bypassed)]) {
    const nodeId = renamed(before)
    if (isForbidden(nodeId)) return fail({ _tag: "ForbiddenName", nodeId, inputName: null })
    if (taken.has(nodeId)) return fail({ _tag: "NodeExists", nodeId })
    taken.add(nodeId)
  }
  const linkOf = (link: Link): Link => {
    const target = renamed(link[0])
    return target === link[0] ? link : [target, link[1]]
  }
  const rekey = <A>(record: Readonly<Record<NodeId, A>>, change: (value: A) => A): Readonly<Record<NodeId, A>> =>
    Object.fromEntries(Object.entries(record).map(([nodeId, value]) => [renamed(nodeId), change(value)]))
  return Result.succeed({
    nodes: rekey(workflow.nodes, (node) => mapLinks(node, linkOf)),
    aliases: mapValues(workflow.aliases, renamed),
    bypassed: rekey(workflow.bypassed, (bypassed) => ({
      node: mapLinks(bypassed.node, linkOf),
      links: bypassed.links.map((detour) => ({
        ...detour,
        nodeId: renamed(detour.nodeId),
        link: linkOf(detour.link)
      }))
    }))
  })
}
