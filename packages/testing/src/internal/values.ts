// What nodes give on: typed outputs, blockers, and the ui that `executed` shows, as the server iterates it.
import { type Dict, Float, isDict, isList, Opaque, type Py, typeName } from "./py.ts"
import type { PyError } from "./pyText.ts"

/** What an output holds when the node was blocked. */
export class Blocker {
  readonly message: string | undefined
  constructor(message: string | undefined) {
    this.message = message
  }
}

/** A returned value as the next node gets it: an output of type FLOAT holds a float even if it is whole. */
export const typed = (type: string, list: boolean, value: unknown): unknown => {
  if (list && Array.isArray(value)) return value.map((item: unknown) => typed(type, false, item))
  if (type === "FLOAT" && typeof value === "number") return new Float(value)
  if (type === "INT" && typeof value === "number") return Math.trunc(value)
  if (typeof value === "number" && !Number.isInteger(value)) return new Float(value)
  return value === undefined ? null : value
}

/** An ui value as the server iterates it: a list stays, a text falls into characters, a dict into its keys. */
const iterate = (value: Py): ReadonlyArray<Py> | undefined => {
  if (isList(value)) return value
  if (typeof value === "string") return Array.from(value)
  if (isDict(value)) return [...value.keys()]
  return value instanceof Opaque && value.type === "bytes" ? [value] : undefined
}

/** Arrays of all items joined, key by key of the first; a value that cannot be iterated is a TypeError. */
export const mergeUi = (uis: ReadonlyArray<Dict>): { readonly ui: Dict | undefined } | { readonly error: PyError } => {
  const [first] = uis
  if (first === undefined) return { ui: undefined }
  const out: Dict = new Map()
  for (const key of first.keys()) {
    const joined: Array<Py> = []
    for (const ui of uis) {
      const value = ui.get(key) ?? null
      const items = iterate(value)
      if (items === undefined) {
        return { error: { type: "TypeError", message: `'${typeName(value)}' object is not iterable` } }
      }
      joined.push(...items)
    }
    out.set(key, joined)
  }
  return { ui: out.size === 0 ? undefined : out }
}
