// A digest of a graph that its ids and the order of its keys do not touch.
//
// Each node gets a label of 64 bits: from the loaders up, of itself and the labels of its sources; then from the outputs
// down, of that and the labels of its consumers, which tells apart two that share a source and two that have a copy each.
// Sums take the place of sorting. Exact labels, as texts, cost four times as much (measured).
import * as Result from "effect/Result"
import { namedBy } from "../ModelInputs.ts"
import { cycle, isLink, type Node, type NodeId, type Nodes } from "../Workflow.ts"
import type { WorkflowReason } from "../WorkflowError.ts"

/** A hash in two halves of 32 bits, as JavaScript's integer arithmetic wants it. */
interface Hash {
  a: number
  b: number
}

const make = (): Hash => ({ a: 0, b: 0 })

const set = (hash: Hash, a: number, b: number): void => {
  hash.a = a
  hash.b = b
}

const add = (sum: Hash, { a, b }: Hash): void => set(sum, (sum.a + a) | 0, (sum.b + b) | 0)

const absorb = (hash: Hash, value: number): void =>
  set(hash, Math.imul(hash.a ^ value, 0x9e37_79b1), Math.imul(hash.b ^ value, 0x5f35_6495))

/** The length comes first, so that no two texts pass for two others. */
const absorbText = (hash: Hash, text: string): void => {
  absorb(hash, text.length)
  let { a, b } = hash
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    a = Math.imul(a ^ unit ^ (b >>> 15), 0x9e37_79b1)
    b = Math.imul(b ^ unit, 0x5f35_6495)
  }
  set(hash, a, b)
}

/** Spreads every bit over both halves. */
const finish = (hash: Hash): void => {
  const a = Math.imul(hash.a ^ (hash.a >>> 16), 0x85eb_ca6b) ^ Math.imul(hash.b ^ (hash.b >>> 13), 0xc2b2_ae35)
  const b = Math.imul(hash.b ^ (hash.b >>> 16), 0x85eb_ca6b) ^ Math.imul(a ^ (a >>> 13), 0xc2b2_ae35)
  set(hash, a, b)
}

const seedA = 0x2e5c_1b7d
const seedB = 0x51ed_270b

/** Adds an input with its value. */
const addSetting = (sum: Hash, hash: Hash, name: string, value: string): void => {
  set(hash, seedA, seedB)
  absorbText(hash, name)
  absorbText(hash, value)
  finish(hash)
  add(sum, hash)
}

/** Settings of loaders that change what is kept in memory. */
const setting = /(^|_)(d?type|device|precision|quant(ization)?|attention(_mode)?)$/i

const addSettings = (sum: Hash, hash: Hash, { inputs }: Node): void => {
  for (const name of Object.keys(inputs)) {
    const value = inputs[name]
    if ((typeof value === "string" || typeof value === "boolean") && setting.test(name)) {
      addSetting(sum, hash, name, String(value))
    }
  }
}

/** Nodes by their index, links by the order of reading; arrays of numbers, because this is what the time goes into. */
interface Graph {
  /** Halves of a node's label. */
  readonly a: Int32Array
  readonly b: Int32Array
  /** A node's sources that have no label yet. */
  readonly waiting: Int32Array
  /** The last link from a node, or −1; and from the same node, the link before this one, or −1. */
  readonly last: Int32Array
  readonly before: Array<number>
  /** The node that a link feeds, and the halves of the hash of its input and output. */
  readonly target: Array<number>
  readonly nameA: Array<number>
  readonly nameB: Array<number>
}

const read = (nodes: Nodes): Result.Result<Graph, WorkflowReason> => {
  const ids = Object.keys(nodes)
  const graph: Graph = {
    a: new Int32Array(ids.length),
    b: new Int32Array(ids.length),
    waiting: new Int32Array(ids.length),
    last: new Int32Array(ids.length).fill(-1),
    before: [],
    target: [],
    nameA: [],
    nameB: []
  }
  const indexes = new Map<NodeId, number>()
  for (let i = 0; i < ids.length; i++) indexes.set(ids[i] ?? "", i)
  const hash = make()
  const sum = make()
  for (let i = 0; i < ids.length; i++) {
    const nodeId = ids[i] ?? ""
    const node = nodes[nodeId]
    if (node === undefined) continue
    const { class_type, inputs } = node
    const names = Object.keys(inputs)
    let isLoader = false
    set(sum, 0, 0)
    for (let j = 0; j < names.length; j++) {
      const inputName = names[j] ?? ""
      const value = inputs[inputName]
      if (typeof value === "number") continue
      if (!isLink(value)) {
        for (const file of namedBy(class_type, inputName, value)) {
          addSetting(sum, hash, inputName, file)
          isLoader = true
        }
        continue
      }
      const source = indexes.get(value[0])
      if (source === undefined) return Result.fail({ _tag: "DanglingLink", nodeId, inputName, target: value[0] })
      set(hash, seedA, seedB)
      absorbText(hash, inputName)
      absorb(hash, Number(value[1]))
      graph.before.push(graph.last[source] ?? -1)
      graph.last[source] = graph.target.length
      graph.target.push(i)
      graph.nameA.push(hash.a)
      graph.nameB.push(hash.b)
      graph.waiting[i] = (graph.waiting[i] ?? 0) + 1
    }
    if (isLoader) addSettings(sum, hash, node)
    set(hash, seedA, seedB)
    absorbText(hash, class_type)
    absorb(hash, sum.a)
    absorb(hash, sum.b)
    finish(hash)
    graph.a[i] = hash.a
    graph.b[i] = hash.b
  }
  return Result.succeed(graph)
}

/** Makes `hash` that of a link whose other end has this label. */
const setLink = (hash: Hash, { nameA, nameB }: Graph, link: number, labelA: number, labelB: number): void => {
  set(hash, nameA[link] ?? 0, nameB[link] ?? 0)
  absorb(hash, labelA)
  absorb(hash, labelB)
  finish(hash)
}

/** Labels nodes after their sources, and says in which order; nodes of a circle get none. */
const labelUp = (graph: Graph): ReadonlyArray<number> => {
  const { a, b, before, last, target, waiting } = graph
  const order: Array<number> = []
  const hash = make()
  for (let node = 0; node < waiting.length; node++) if (waiting[node] === 0) order.push(node)
  for (let k = 0; k < order.length; k++) {
    const node = order[k] ?? 0
    set(hash, a[node] ?? 0, b[node] ?? 0)
    finish(hash)
    const labelA = a[node] = hash.a
    const labelB = b[node] = hash.b
    for (let link = last[node] ?? -1; link !== -1; link = before[link] ?? -1) {
      const consumer = target[link] ?? 0
      setLink(hash, graph, link, labelA, labelB)
      a[consumer] = (a[consumer] ?? 0) + hash.a
      b[consumer] = (b[consumer] ?? 0) + hash.b
      const left = (waiting[consumer] ?? 0) - 1
      waiting[consumer] = left
      if (left === 0) order.push(consumer)
    }
  }
  return order
}

/** Labels nodes after their consumers; the sum of all labels. */
const labelDown = (graph: Graph, order: ReadonlyArray<number>): Hash => {
  const { a, b, before, last, target } = graph
  const total = make()
  const label = make()
  const hash = make()
  for (let k = order.length - 1; k >= 0; k--) {
    const node = order[k] ?? 0
    set(label, a[node] ?? 0, b[node] ?? 0)
    for (let link = last[node] ?? -1; link !== -1; link = before[link] ?? -1) {
      const consumer = target[link] ?? 0
      setLink(hash, graph, link, a[consumer] ?? 0, b[consumer] ?? 0)
      add(label, hash)
    }
    finish(label)
    a[node] = label.a
    b[node] = label.b
    add(total, label)
  }
  return total
}

/** The digest as text; fails on a link to no node, and on a circle. */
export const digest = (nodes: Nodes): Result.Result<string, WorkflowReason> =>
  Result.flatMap(read(nodes), (graph) => {
    const order = labelUp(graph)
    const circle = order.length < graph.a.length ? cycle(nodes) : undefined
    if (circle !== undefined) return Result.fail(circle)
    const { a, b } = labelDown(graph, order)
    return Result.succeed(`${order.length} ${a} ${b}`)
  })
