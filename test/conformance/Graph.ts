/** A prompt as plain JSON, read and rewritten without the library: what its keys are held against. */
import * as Schema from "effect/Schema"

/** Any JSON, as `JSON.parse` reads it. */
export type Value = string | number | boolean | null | ReadonlyArray<Value> | { readonly [name: string]: Value }

/** One node, its inputs in their order. */
export interface GraphNode {
  readonly id: string
  readonly classType: string
  readonly inputs: ReadonlyArray<readonly [name: string, value: Value]>
}

/** A graph, its nodes in their order. */
export interface Graph {
  readonly nodes: ReadonlyArray<GraphNode>
}

const node = Schema.Struct({ class_type: Schema.String, inputs: Schema.Record(Schema.String, Schema.Json) })
const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Record(Schema.String, node)))

/** The graph of a prompt; throws for what is none. */
export const read = (text: string): Graph => ({
  nodes: Object.entries(decode(text)).map(([id, { class_type, inputs }]) => ({
    id,
    classType: class_type,
    inputs: Object.entries(inputs)
  }))
})

/** `{id: {class_type, inputs}}`, which is all that identity looks at. */
export const plain = ({ nodes }: Graph): Value =>
  Object.fromEntries(
    nodes.map(({ classType, id, inputs }) => [id, { class_type: classType, inputs: Object.fromEntries(inputs) }])
  )

/** The text of a graph. */
export const write = (graph: Graph): string => JSON.stringify(plain(graph))

/** A value that the server takes for a link. */
export const isLink = (value: Value): value is readonly [string, number | boolean] =>
  Array.isArray(value) && value.length === 2 && typeof value[0] === "string" &&
  (typeof value[1] === "number" || typeof value[1] === "boolean")

/** The same graph with each value replaced. */
export const mapValues = (graph: Graph, f: (value: Value, name: string, node: GraphNode) => Value): Graph => ({
  nodes: graph.nodes.map((node) => ({
    ...node,
    inputs: node.inputs.map(([name, value]) => [name, f(value, name, node)] as const)
  }))
})

/** What makes a graph harmful or meaningless, told from the sources of each node alone. */
export const flaw = (
  sources: ReadonlyMap<string, ReadonlyArray<string>>
): "Empty" | "DanglingLink" | "Cycle" | undefined => {
  if (sources.size === 0) return "Empty"
  if ([...sources.values()].flat().some((source) => !sources.has(source))) return "DanglingLink"
  const left = new Map(sources)
  // Nodes whose sources are all gone go too; who stays feeds itself.
  for (let before = -1; before !== left.size;) {
    before = left.size
    for (const [id, from] of left) if (from.every((source) => !left.has(source))) left.delete(id)
  }
  return left.size === 0 ? undefined : "Cycle"
}
