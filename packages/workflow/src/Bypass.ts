/**
 * Takes nodes out of the graph without losing them, as the editor's bypass (mode 4) does: what a bypassed node fed is led
 * to what feeds one of its inputs of the same type. A bypassed node is not sent.
 */
import * as Result from "effect/Result"
import { type Classes, type ClassInfo, type ClassInput, fits, isWildcard } from "./ClassInfo.ts"
import { fail, filter, mapValues, withInputs } from "./internal/edit.ts"
import { get } from "./Json.ts"
import { type Bypassed, cycle, type Detour, isLink, type Link, links, type Node, type NodeId } from "./Workflow.ts"
import type { Workflow } from "./Workflow.ts"
import type { WorkflowError } from "./WorkflowError.ts"

type AllBypassed = Workflow["bypassed"]
type Inputs = Map<string, Link | undefined>

const at = (bypassed: AllBypassed, nodeId: NodeId): Bypassed | undefined =>
  Object.hasOwn(bypassed, nodeId) ? bypassed[nodeId] : undefined

/** Where a detour comes out behind all bypassed nodes: undefined where nothing feeds it. */
const exit = (bypassed: AllBypassed, detour: Detour): Link | undefined => {
  const passed = new Set<NodeId>()
  let nodeId = detour.link[0]
  let inputName = detour.through
  while (inputName !== null && !passed.has(nodeId)) {
    passed.add(nodeId)
    const from = at(bypassed, nodeId)
    const link = from === undefined ? undefined : get(from.node.inputs, inputName)
    if (!isLink(link)) return undefined
    const next = at(bypassed, link[0])
    if (next === undefined) return link
    const onward = next.links.find((other) => other.nodeId === nodeId && other.inputName === inputName)
    nodeId = link[0]
    inputName = onward?.through ?? null
  }
  return undefined
}

/** Changes inputs of some nodes: by node, then by input. */
const withChanges = (nodes: Workflow["nodes"], changes: ReadonlyMap<NodeId, Inputs>): Workflow["nodes"] =>
  changes.size === 0 ? nodes : mapValues(nodes, (node, nodeId) => {
    const inputs = changes.get(nodeId)
    return inputs === undefined ? node : withInputs(node, inputs)
  })

const change = (changes: Map<NodeId, Inputs>, { inputName, nodeId }: Detour, link: Link | undefined): void => {
  const inputs = changes.get(nodeId)
  if (inputs === undefined) changes.set(nodeId, new Map([[inputName, link]]))
  else inputs.set(inputName, link)
}

const isSame = (a: Link | undefined, b: unknown): boolean =>
  a === undefined ? b === undefined : Array.isArray(b) && a[0] === b[0] && a[1] === b[1]

/** The graph with nothing bypassed. A detour whose input was edited since is forgotten: the edit stands. */
const restore = (workflow: Workflow): Workflow => {
  const changes = new Map<NodeId, Inputs>()
  const bypassed = mapValues(workflow.bypassed, ({ links, node }): Bypassed => ({
    node,
    links: links.filter((detour) => {
      const consumer = Object.hasOwn(workflow.nodes, detour.nodeId) ? workflow.nodes[detour.nodeId] : undefined
      if (consumer === undefined) return at(workflow.bypassed, detour.nodeId) !== undefined
      if (!isSame(exit(workflow.bypassed, detour), get(consumer.inputs, detour.inputName))) return false
      change(changes, detour, detour.link)
      return true
    })
  }))
  const nodes = withChanges(workflow.nodes, changes)
  return { ...workflow, nodes: { ...nodes, ...mapValues(bypassed, ({ node }) => node) }, bypassed }
}

/** The graph without these nodes; the inverse of {@link restore}. */
const detach = (whole: Workflow, bypassed: AllBypassed): Workflow => {
  const changes = new Map<NodeId, Inputs>()
  for (const { links } of Object.values(bypassed)) {
    for (const detour of links) change(changes, detour, exit(bypassed, detour))
  }
  const nodes = filter(whole.nodes, (_, nodeId) => at(bypassed, nodeId) === undefined)
  return { ...whole, nodes: withChanges(nodes, changes), bypassed }
}

/** Sockets, then fields, as the editor numbers them; of dynamic inputs (`images.image0`) those that the node has. */
const slotsOf = (node: Node, info: ClassInfo): ReadonlyArray<ClassInput> => {
  const present = info.inputs.filter(({ name }) => !name.includes(".") || Object.hasOwn(node.inputs, name))
  return [...present.filter(({ widget }) => !widget), ...present.filter(({ widget }) => widget)]
}

/** The editor's rules, in their order. Whether something feeds the input they choose, they do not ask. */
const choose = (slots: ReadonlyArray<ClassInput>, slot: number, output: string, wanted: string): string | null => {
  const same = slots[slot]
  if (isWildcard(wanted)) return (same ?? slots[0])?.name ?? null
  const suits = ({ type }: ClassInput): boolean => fits(type, output) && fits(type, wanted)
  if (same !== undefined && suits(same)) return same.name
  const found = slots.find(({ type }) => type === wanted) ?? slots.find(suits)
  return found?.name ?? null
}

/** The detours of one node's consumers; undefined if it has some and nothing is known of its class. */
const detoursOf = (
  node: Node,
  consumers: ReadonlyArray<readonly [consumerId: NodeId, consumer: Node, inputName: string, link: Link]>,
  classes: Classes
): ReadonlyArray<Detour> | undefined => {
  if (consumers.length === 0) return []
  const info = classes(node.class_type)
  if (info === undefined) return undefined
  const slots = slotsOf(node, info)
  return consumers.map(([consumerId, consumer, inputName, link]) => {
    const slot = Number(link[1])
    const output = info.outputs[slot]
    const declared = classes(consumer.class_type)?.inputs.find(({ name }) => name === inputName)
    const through = output === undefined ? null : choose(slots, slot, output, declared?.type ?? output)
    return { nodeId: consumerId, inputName, link, through }
  })
}

/**
 * Bypasses nodes; those that are already stay so. Each consumer of an output gets what feeds the first fitting input of
 * the node, by the editor's rules: a consumer of any type the input with the output's number, else input 0; else the
 * input with the output's number if it fits, else the first of the very type, else the first that fits. Where nothing
 * feeds the chosen input, or none fits, the consumer loses its input. A consumer whose class is unknown takes the
 * output's type.
 *
 * Fails with `NodeNotFound`, with `UnknownClass` if a node has consumers and `classes` does not know it, and with `Cycle`
 * if bypassed nodes feed themselves.
 */
export const bypass = (
  workflow: Workflow,
  nodeIds: ReadonlyArray<NodeId>,
  classes: Classes
): Result.Result<Workflow, WorkflowError> => {
  const whole = restore(workflow)
  const added = new Set(nodeIds.filter((nodeId) => at(whole.bypassed, nodeId) === undefined))
  const consumers = new Map<NodeId, Array<readonly [NodeId, Node, string, Link]>>()
  for (const nodeId of added) consumers.set(nodeId, [])
  for (const [consumerId, consumer] of Object.entries(whole.nodes)) {
    for (const [inputName, link] of links(consumer)) {
      consumers.get(link[0])?.push([consumerId, consumer, inputName, link])
    }
  }
  const bypassed = new Map<NodeId, Bypassed>(Object.entries(whole.bypassed))
  for (const [nodeId, itsConsumers] of consumers) {
    const node = Object.hasOwn(whole.nodes, nodeId) ? whole.nodes[nodeId] : undefined
    if (node === undefined) return fail({ _tag: "NodeNotFound", nodeId })
    const detours = detoursOf(node, itsConsumers, classes)
    if (detours === undefined) return fail({ _tag: "UnknownClass", nodeId, classType: node.class_type })
    bypassed.set(nodeId, { node, links: detours })
  }
  const all = Object.fromEntries(bypassed)
  const circle = cycle(mapValues(all, ({ node }) => node))
  return circle === undefined ? Result.succeed(detach(whole, all)) : fail(circle)
}

/**
 * Puts bypassed nodes back, each as it was, with the links of its consumers, whatever the order of the bypasses. A link
 * that was edited since stays as it is. Fails with `NotBypassed`.
 */
export const reinstate = (
  workflow: Workflow,
  nodeIds: ReadonlyArray<NodeId>
): Result.Result<Workflow, WorkflowError> => {
  const unknown = nodeIds.find((nodeId) => at(workflow.bypassed, nodeId) === undefined)
  if (unknown !== undefined) return fail({ _tag: "NotBypassed", nodeId: unknown })
  const back = new Set(nodeIds)
  const whole = restore(workflow)
  return Result.succeed(detach(whole, filter(whole.bypassed, (_, nodeId) => !back.has(nodeId))))
}
