/** The chain of nodes that a run could not have been shorter than: the longest one along the links of its workflow. */
import { links, type NodeId, type Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Schema from "effect/Schema"

/** From the first node to the last, those without a time left out; `durationMs` is the sum of their times. */
export const CriticalPath = Schema.Struct({ nodeIds: Schema.Array(Schema.String), durationMs: Schema.Finite })
export type CriticalPath = typeof CriticalPath.Type

/** Every node with what it takes its inputs from, sources first. */
export type Order = ReadonlyArray<readonly [nodeId: NodeId, sources: ReadonlyArray<NodeId>]>

/** Workflows are values: what is run again and again is ordered once. */
const orders = new WeakMap<Workflow, Order>()

/** Sources before what they feed. Links that lead nowhere, or back into a circle, do not count. */
export const order = (workflow: Workflow): Order => {
  const known = orders.get(workflow) ?? sort(workflow)
  orders.set(workflow, known)
  return known
}

const sort = ({ nodes }: Workflow): Order => {
  const sourcesOf = new Map(
    Object.entries(nodes).map(([id, node]) => [id, [...new Set(links(node).map(([, [source]]) => source))]] as const)
  )
  const sorted: Array<readonly [NodeId, ReadonlyArray<NodeId>]> = []
  const done = new Set<NodeId>()
  const open = new Set<NodeId>()
  for (const start of sourcesOf.keys()) {
    // Depth first without recursion: a chain may be longer than the stack.
    const stack = done.has(start) ? [] : [{ nodeId: start, next: 0 }]
    open.add(start)
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const sources = sourcesOf.get(top.nodeId) ?? []
      const source = sources[top.next++]
      if (source !== undefined) {
        if (done.has(source) || open.has(source) || !sourcesOf.has(source)) continue
        open.add(source)
        stack.push({ nodeId: source, next: 0 })
        continue
      }
      stack.pop()
      open.delete(top.nodeId)
      done.add(top.nodeId)
      sorted.push([top.nodeId, sources.filter((id) => done.has(id))])
    }
  }
  return sorted
}

/** The longest chain by the milliseconds of its nodes; of equal ones the first in order. Linear in nodes and links. */
export const longest = (order: Order, durationOf: (nodeId: NodeId) => number): CriticalPath => {
  const before = new Map<NodeId, NodeId | undefined>()
  const lengths = new Map<NodeId, number>()
  let last: NodeId | undefined
  let longest = 0
  for (const [nodeId, sources] of order) {
    let through: NodeId | undefined
    for (const source of sources) {
      const length = lengths.get(source) ?? 0
      if (through === undefined || length > (lengths.get(through) ?? 0)) through = source
    }
    const length = durationOf(nodeId) + (through === undefined ? 0 : lengths.get(through) ?? 0)
    before.set(nodeId, through)
    lengths.set(nodeId, length)
    if (length > longest) {
      longest = length
      last = nodeId
    }
  }
  const nodeIds: Array<NodeId> = []
  for (let at = last; at !== undefined; at = before.get(at)) if (durationOf(at) > 0) nodeIds.push(at)
  return { nodeIds: nodeIds.toReversed(), durationMs: longest }
}
