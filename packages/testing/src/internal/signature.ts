// Cache keys: what a node is made of, its ancestors included, its id and theirs left out.
import type { NodeClass } from "../NodeClass.ts"
import { type Dict, Float, isDict, isInt, isList, type Py } from "./py.ts"
import { floatText } from "./pyText.ts"
import type { State } from "./state.ts"

/** A link as the server recognises it: two items, a string and a number. */
export const asLink = (value: Py | undefined): readonly [id: string, slot: number] | undefined => {
  if (!isList(value) || value.length !== 2) return undefined
  const [id, slot] = value
  if (typeof id !== "string") return undefined
  if (slot instanceof Float) return [id, slot.value]
  return typeof slot === "number" ? [id, slot] : undefined
}

export const inputsOf = (prompt: Dict, id: string): Dict | undefined => {
  const node = prompt.get(id)
  const inputs = isDict(node) ? node.get("inputs") : undefined
  return isDict(inputs) ? inputs : undefined
}

export const classOf = (prompt: Dict, id: string): string => {
  const node = prompt.get(id)
  const name = isDict(node) ? node.get("class_type") : undefined
  return typeof name === "string" ? name : ""
}

/** A text that two values share exactly if Python hashes and compares them as equal; NaN equals nothing. */
const literal = (value: Py, unique: () => string): string => {
  if (value instanceof Float) {
    if (Number.isNaN(value.value)) return unique()
    return Number.isInteger(value.value) ? `n${BigInt(value.value)}` : `n${floatText(value.value)}`
  }
  if (isInt(value)) return `n${value}`
  if (typeof value === "boolean") return `n${Number(value)}`
  if (typeof value === "string") return JSON.stringify(value)
  if (value === null) return "none"
  if (isList(value)) return `[${value.map((item) => literal(item, unique)).join(",")}]`
  if (isDict(value)) {
    return `{${
      [...value].map(([key, member]) => `${JSON.stringify(key)}:${literal(member, unique)}`).toSorted().join(",")
    }}`
  }
  return unique()
}

/** Cache keys of the nodes of a prompt, by id, as they are asked for. */
export class Signatures {
  readonly #state: State
  readonly #nodes: () => Dict
  readonly #changed = new Map<string, string>()
  readonly #keys = new Map<string, string>()
  #uniques = 0

  /** `nodes` gives all nodes, also those that came in later; one that is there does not change. */
  constructor(state: State, nodes: () => Dict) {
    this.#state = state
    this.#nodes = nodes
  }

  readonly #unique = (): string => `?${this.#state.tasks}.${this.#uniques++}`

  #changedOf(id: string, node: NodeClass): string {
    if (node.changed === undefined) return ""
    const known = this.#changed.get(id)
    if (known !== undefined) return known
    const inputs = inputsOf(this.#nodes(), id) ?? new Map<string, Py>()
    const found = node.changed(inputs, { readFile: (name) => this.#state.files.read(name) })
    const text = found === "never" ? this.#unique() : found
    this.#changed.set(id, text)
    return text
  }

  #immediate(id: string, order: ReadonlyMap<string, number>): string {
    const nodes = this.#nodes()
    if (!nodes.has(id)) return this.#unique()
    const className = classOf(nodes, id)
    const node = this.#state.nodes.get(className)
    let out = `${className}|`
    if (node !== undefined) {
      out += this.#changedOf(id, node)
      for (const hidden of Object.values(node.hidden)) if (hidden === "UNIQUE_ID") out += `|${id}`
    }
    const inputs = inputsOf(nodes, id)
    if (inputs === undefined) return out
    for (const name of [...inputs.keys()].toSorted()) {
      const value = inputs.get(name) ?? null
      const link = asLink(value)
      out += link === undefined
        ? `;${name}=${literal(value, this.#unique)}`
        : `;${name}@${order.get(link[0]) ?? -1}.${link[1]}`
    }
    return out
  }

  /** Costs a visit of every ancestor, as on the server. */
  of(id: string): string {
    const known = this.#keys.get(id)
    if (known !== undefined) return known
    const nodes = this.#nodes()
    const order = new Map<string, number>()
    // Depth first, each ancestor numbered when first met.
    const walk: Array<string> = [id]
    for (let current = walk.pop(); current !== undefined; current = walk.pop()) {
      const inputs = inputsOf(nodes, current)
      if (inputs === undefined) continue
      for (const name of [...inputs.keys()].toSorted()) {
        const link = asLink(inputs.get(name))
        if (link === undefined || order.has(link[0])) continue
        order.set(link[0], order.size)
        walk.push(link[0])
      }
    }
    let key = this.#immediate(id, order)
    for (const ancestor of order.keys()) key += `\n${this.#immediate(ancestor, order)}`
    this.#keys.set(id, key)
    return key
  }
}
