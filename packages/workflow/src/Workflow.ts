/**
 * The graph that a ComfyUI server runs, in API format: an immutable value whose nodes are the JSON that was read, so that
 * whatever a node carries, every digit included, is written again. Edits live in `Edit`, identity in `WorkflowKey`.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Json from "./Json.ts"
import { fromJsonProblem, WorkflowError, type WorkflowReason } from "./WorkflowError.ts"

/** An id of a node: digits as a rule, `57:8` inside subgraphs, any text in truth. */
export type NodeId = string

/** A node as the server takes it. Members beyond these three are kept and sent. */
export interface Node extends Json.JsonObject {
  readonly class_type: string
  readonly inputs: Json.JsonObject
  readonly _meta?: Json.JsonObject
}

/** Nodes by id. Ask {@link node}: an id that others chose may be the name of something inherited. */
export type Nodes = Readonly<Record<NodeId, Node>>

/** A node that a bypass took out, as it was: put back by `Bypass.reinstate`. */
export interface Bypassed {
  readonly node: Node
  readonly links: ReadonlyArray<Detour>
}

/** A link to a bypassed node, which now leads to what feeds that node's input `through`; null: to nothing. */
export interface Detour {
  readonly nodeId: NodeId
  readonly inputName: string
  readonly link: Link
  readonly through: string | null
}

/** A workflow: what is sent is `nodes` alone. */
export interface Workflow {
  readonly nodes: Nodes
  /** Names that the caller gave to output nodes. */
  readonly aliases: Readonly<Record<string, NodeId>>
  readonly bypassed: Readonly<Record<NodeId, Bypassed>>
}

/** The index of an output, from 0. Python's booleans are integers: `true` is output 1. */
export type Slot = number | bigint | boolean

/** A link: the node and its output. A literal array is written `{"__value__": […]}` instead. */
export type Link = readonly [nodeId: NodeId, slot: Slot]

/** Whether the server takes this value for a link: an array of a text and of what Python counts as a number. */
export const isLink = (value: Json.Json | undefined): value is Link => {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== "string") return false
  const kind = typeof value[1]
  return kind === "number" || kind === "bigint" || kind === "boolean"
}

/** Limits of a text. The defaults, 32 Mi characters and 200 levels, are far beyond any graph a server can run. */
export const limits: Json.DocumentLimits = { maxLength: 32 * 1024 * 1024, maxDepth: 200 }

/** Names that reach a prototype in careless code; neither a node nor an input has one of them. */
const forbidden: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype"])

/** Whether this can be neither the id of a node nor the name of an input. */
export const isForbidden = (name: string): boolean => forbidden.has(name)

const fail = (reason: WorkflowReason): Result.Result<never, WorkflowError> => Result.fail(new WorkflowError({ reason }))

const ofNodes = (nodes: Nodes): Workflow => ({ nodes, aliases: {}, bypassed: {} })

/**
 * A workflow of these nodes as they are now, unchecked: an input that is set in the given object afterwards changes
 * nothing. Values of inputs are taken as they are.
 */
export const fromNodes = (nodes: Nodes): Workflow => {
  const copies: Record<NodeId, Node> = { ...nodes }
  for (const [id, node] of Object.entries(copies)) copies[id] = { ...node, inputs: { ...node.inputs } }
  return ofNodes(copies)
}

/** The node of that id, if there is one. */
export const node = (workflow: Workflow, nodeId: NodeId): Node | undefined =>
  Object.hasOwn(workflow.nodes, nodeId) ? workflow.nodes[nodeId] : undefined

/** What people call a node in the editor; null where nobody has said anything. */
export const titleOf = (node: Node | undefined): string | null => {
  const title = node?._meta?.["title"]
  return typeof title === "string" ? title : null
}

/** All links into a node, by input. */
export const links = (node: Node): ReadonlyArray<readonly [inputName: string, link: Link]> =>
  Object.entries(node.inputs).flatMap(([name, value]) => isLink(value) ? [[name, value] as const] : [])

const kindOf = (value: Json.Json): string => value === null ? "null" : Array.isArray(value) ? "an array" : typeof value

const isUiFormat = (document: Json.JsonObject): boolean =>
  Array.isArray(Json.get(document, "nodes")) ||
  (Object.hasOwn(document, "last_node_id") && Object.hasOwn(document, "links"))

/** Why this value cannot be a node under this id, looked at alone; undefined if it can. */
export const nodeProblem = (nodeId: NodeId, value: Json.Json): WorkflowReason | undefined => {
  if (isForbidden(nodeId)) return { _tag: "ForbiddenName", nodeId, inputName: null }
  if (!Json.isObject(value)) return { _tag: "InvalidNode", nodeId, problem: `${kindOf(value)} is no node` }
  const classType = Json.get(value, "class_type")
  if (classType === undefined || classType === null) return { _tag: "MissingClassType", nodeId }
  if (typeof classType !== "string") return { _tag: "InvalidNode", nodeId, problem: "class_type is no text" }
  const inputs = Json.get(value, "inputs")
  if (!Json.isObject(inputs)) return { _tag: "InvalidNode", nodeId, problem: "inputs is no object" }
  const name = Object.keys(inputs).find(isForbidden)
  if (name !== undefined) return { _tag: "ForbiddenName", nodeId, inputName: name }
  const meta = Json.get(value, "_meta")
  return meta === undefined || Json.isObject(meta)
    ? undefined
    : { _tag: "InvalidNode", nodeId, problem: "_meta is no object" }
}

const isNodes = (document: Json.JsonObject): document is Json.JsonObject & Nodes =>
  Object.entries(document).every(([nodeId, value]) => nodeProblem(nodeId, value) === undefined)

const dangling = (nodes: Nodes): WorkflowReason | undefined => {
  for (const [nodeId, node] of Object.entries(nodes)) {
    for (const [inputName, [target]] of links(node)) {
      if (!Object.hasOwn(nodes, target)) return { _tag: "DanglingLink", nodeId, inputName, target }
    }
  }
  return undefined
}

/** A circle of nodes that feed themselves, if there is one; links that lead nowhere do not matter. */
export const cycle = (nodes: Nodes): WorkflowReason | undefined => {
  // Depth first without recursion: a chain of 100,000 nodes is no stack overflow.
  const done = new Set<string>()
  for (const start of Object.keys(nodes)) {
    if (done.has(start)) continue
    const open = new Set<string>([start])
    const stack: Array<
      { readonly nodeId: string; readonly links: ReadonlyArray<readonly [string, Link]>; next: number }
    > = [{ nodeId: start, links: linksOf(nodes, start), next: 0 }]
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const link = top.links[top.next++]
      if (link === undefined) {
        open.delete(top.nodeId)
        done.add(top.nodeId)
        stack.pop()
        continue
      }
      const target = link[1][0]
      if (open.has(target)) {
        const path = stack.slice(stack.findIndex((level) => level.nodeId === target))
        const first = path[0]
        const inputName = first === undefined ? link[0] : first.links[first.next - 1]?.[0] ?? link[0]
        return { _tag: "Cycle", nodeIds: [...path.map((level) => level.nodeId), target], inputName }
      }
      if (!done.has(target)) {
        open.add(target)
        stack.push({ nodeId: target, links: linksOf(nodes, target), next: 0 })
      }
    }
  }
  return undefined
}

const linksOf = (nodes: Nodes, nodeId: string): ReadonlyArray<readonly [string, Link]> => {
  const node = Object.hasOwn(nodes, nodeId) ? nodes[nodeId] : undefined
  return node === undefined ? [] : links(node)
}

/**
 * Whether the graph may be sent: it has nodes, every link leads to one, under declared and undeclared names alike (the
 * server does not check those and its worker dies of them), and no node feeds itself.
 */
export const check = (workflow: Workflow): Result.Result<Workflow, WorkflowError> => {
  if (Object.keys(workflow.nodes).length === 0) return fail({ _tag: "Empty" })
  const reason = dangling(workflow.nodes) ?? cycle(workflow.nodes)
  return reason === undefined ? Result.succeed(workflow) : fail(reason)
}

/** A workflow of parsed JSON: checked as a whole, kept as it is. */
export const fromDocument = (document: Json.Json): Result.Result<Workflow, WorkflowError> => {
  if (!Json.isObject(document)) return fail({ _tag: "NotAWorkflow", found: kindOf(document) })
  if (isUiFormat(document)) return fail({ _tag: "UiFormat" })
  if (isNodes(document)) return check(ofNodes(document))
  for (const [nodeId, value] of Object.entries(document)) {
    const reason = nodeProblem(nodeId, value)
    if (reason !== undefined) return fail(reason)
  }
  return fail({ _tag: "Empty" })
}

/** A workflow of JSON text. Nothing is thrown, whatever the text is. */
export const fromJson = (
  text: string,
  within: Json.DocumentLimits = limits
): Result.Result<Workflow, WorkflowError> => {
  const document = Json.parseDocument(text, within)
  return Result.isFailure(document) ? Result.fail(fromJsonProblem(document.failure)) : fromDocument(document.success)
}

/** The text that is sent: every member and digit that was read, edits included. */
export const toJson = (workflow: Workflow): string => Json.stringify(workflow.nodes)

/** JSON text ↔ workflow, for configuration and queues. Aliases and bypassed nodes stay behind. */
export const FromJson: Schema.Codec<Workflow, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.declare((value: unknown): value is Workflow =>
      typeof value === "object" && value !== null && "nodes" in value && "bypassed" in value
    ),
    SchemaTransformation.transformEffect({
      decode: (text, options) => {
        const workflow = fromJson(text)
        return Result.isSuccess(workflow)
          ? Effect.succeed(workflow.success)
          : Effect.fail(new SchemaIssue.InvalidValue({ message: workflow.failure.message }, text, options))
      },
      encode: (workflow) => Effect.succeed(toJson(workflow))
    })
  )
)
