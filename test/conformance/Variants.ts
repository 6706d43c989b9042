/** Graphs that want the same models in memory as a given one, and graphs that do not. */
import { type Graph, isLink, mapValues, type Value } from "./Graph.ts"
import { isListed, listed } from "./ModelTable.ts"

/** A changed graph, with a word for the change. */
export interface Variant {
  readonly what: string
  readonly graph: Graph
}

const renumbered = (graph: Graph): Graph => {
  const ids = new Map(graph.nodes.map(({ id }, index) => [id, `${1_000 - index}:${index}`]))
  const linked = mapValues(graph, (value) => isLink(value) ? [ids.get(value[0]) ?? value[0], value[1]] : value)
  return { nodes: linked.nodes.map((node) => ({ ...node, id: ids.get(node.id) ?? node.id })) }
}

const reversed = ({ nodes }: Graph): Graph => ({
  nodes: nodes.toReversed().map((node) => ({ ...node, inputs: node.inputs.toReversed() }))
})

const isSeed = (name: string): boolean => /(^|_)seed$/.test(name)
const prose = /(^|_)(text|prompt|positive|negative|caption)(_|$)/i

/** What is neither a link nor the name of a model. */
const changed = (graph: Graph, f: (value: Value, name: string) => Value): Graph =>
  mapValues(graph, (value, name, { classType }) => isLink(value) || isListed(classType, name) ? value : f(value, name))

/** Variants with the same affinity. */
export const alike = (graph: Graph): ReadonlyArray<Variant> => [
  { what: "other ids", graph: renumbered(graph) },
  { what: "keys in another order", graph: reversed(graph) },
  {
    what: "other seeds",
    graph: changed(
      graph,
      (value, name) => typeof value === "number" && isSeed(name) ? 4_711 + (value === 4_711 ? 1 : 0) : value
    )
  },
  {
    what: "other texts",
    graph: changed(graph, (value, name) => typeof value === "string" && prose.test(name) ? `${value} at dawn` : value)
  },
  {
    what: "other sizes and numbers",
    graph: changed(graph, (value) => typeof value === "number" ? value + 8 : value)
  }
]

/** The graph with the first value for which `f` has another one. */
const changedOnce = (graph: Graph, f: (value: Value, name: string, classType: string) => Value | undefined) => {
  let done = false
  const next = mapValues(graph, (value, name, { classType }) => {
    const other = done ? undefined : f(value, name, classType)
    if (other === undefined) return value
    done = true
    return other
  })
  return done ? next : undefined
}

const otherClass = ({ nodes }: Graph, index: number): Graph => ({
  nodes: nodes.map((node, at) => at === index ? { ...node, classType: `${node.classType}Other` } : node)
})

/** Variants with another affinity: another model, another class, another link. */
export const unlike = (graph: Graph): ReadonlyArray<Variant> => {
  const models = [...listed(graph)].flatMap((file): ReadonlyArray<Variant> => {
    const next = changedOnce(graph, (value) => value === file ? `other ${file}` : undefined)
    return next === undefined ? [] : [{ what: `another model than ${file}`, graph: next }]
  })
  const slot = changedOnce(graph, (value) => isLink(value) ? [value[0], Number(value[1]) + 7] : undefined)
  const cut = changedOnce(graph, (value) => isLink(value) ? 0 : undefined)
  return [
    ...models,
    ...graph.nodes.map(({ classType }, index) => ({
      what: `another class than ${classType}`,
      graph: otherClass(graph, index)
    })),
    ...(slot === undefined ? [] : [{ what: "a link from another output", graph: slot }]),
    ...(cut === undefined ? [] : [{ what: "a link less", graph: cut }])
  ]
}
