// Cache keys: what a node is made of, its ancestors included, its id and theirs left out.
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

/** Keys of all nodes of a prompt, by id. Costs a visit of every ancestor per node, as on the server. */
export const signatures = (state: State, prompt: Dict): ReadonlyMap<string, string> => {
  let uniques = 0
  const unique = (): string => `?${state.tasks}.${uniques++}`
  const changed = new Map<string, string>()
  const changedOf = (id: string): string => {
    const known = changed.get(id)
    if (known !== undefined) return known
    const node = state.nodes.get(classOf(prompt, id))
    let text = ""
    if (node?.changed !== undefined) {
      const inputs = inputsOf(prompt, id) ?? new Map<string, Py>()
      const found = node.changed(inputs, { readFile: (name) => state.files.read(name) })
      text = found === "never" ? unique() : found
    }
    changed.set(id, text)
    return text
  }
  const immediate = (id: string, order: ReadonlyMap<string, number>): string => {
    if (!prompt.has(id)) return unique()
    const className = classOf(prompt, id)
    const node = state.nodes.get(className)
    let out = `${className}|${changedOf(id)}`
    if (node !== undefined && Object.values(node.hidden).includes("UNIQUE_ID")) out += `|${id}`
    const inputs = inputsOf(prompt, id)
    if (inputs === undefined) return out
    for (const name of [...inputs.keys()].toSorted()) {
      const value = inputs.get(name) ?? null
      const link = asLink(value)
      out += link === undefined
        ? `;${name}=${literal(value, unique)}`
        : `;${name}@${order.get(link[0]) ?? -1}.${link[1]}`
    }
    return out
  }
  const keys = new Map<string, string>()
  for (const id of prompt.keys()) {
    const order = new Map<string, number>()
    const ancestors: Array<string> = []
    // Depth first, each ancestor numbered when first met.
    const walk: Array<string> = [id]
    while (walk.length > 0) {
      const current = walk.pop() ?? id
      const inputs = inputsOf(prompt, current)
      if (inputs === undefined) continue
      for (const name of [...inputs.keys()].toSorted()) {
        const link = asLink(inputs.get(name))
        if (link === undefined || order.has(link[0])) continue
        order.set(link[0], ancestors.length)
        ancestors.push(link[0])
        walk.push(link[0])
      }
    }
    let key = immediate(id, order)
    for (const ancestor of ancestors) key += `\n${immediate(ancestor, order)}`
    keys.set(id, key)
  }
  return keys
}
