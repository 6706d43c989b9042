// A prompt as it grows while it runs: its own nodes, and those that expanding nodes add to it.
import { type ExpandedNode, Link, Out } from "../Plan.ts"
import { type Dict, dict, Float, fromJs, isDict, isList, Opaque, type Py, toJs } from "./py.ts"
import { asLink, classOf, inputsOf } from "./signature.ts"

/** A value that is no literal, in the place of one: a picture, a model. It equals nothing, so it is never cached. */
export class Held extends Opaque {
  readonly value: unknown
  constructor(value: unknown) {
    super("Tensor", "<object>")
    this.value = value
  }
}

const isPlain = (value: unknown): boolean => {
  if (typeof value !== "object" || value === null || value instanceof Float) return true
  if (Array.isArray(value)) return value.every(isPlain)
  if (value instanceof Map) return [...value.values()].every(isPlain)
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && Object.values(value).every(isPlain)
}

/** A value as the input of a new node; `prefix` is that of the names of its expansion. */
export const hold = (value: unknown, prefix: string): Py => {
  if (value instanceof Out) return [prefix + value.name, value.slot]
  if (value instanceof Link) return [value.node, value.slot]
  return isPlain(value) ? fromJs(value) : new Held(value)
}

/** What a node reads of another one's input. */
const release = (value: Py): unknown => {
  const link = asLink(value)
  if (link !== undefined) return new Link(link[0], link[1])
  return value instanceof Held
    ? value.value
    : isDict(value) || isList(value) || value instanceof Float
    ? toJs(value)
    : value
}

/** Display ids may point on and on; a ring of them would never end. */
const maxDisplays = 10_000

const noPath: ReadonlyArray<string> = []

export class DynPrompt {
  readonly root: Dict
  readonly #parents = new Map<string, string>()
  readonly #displays = new Map<string, string>()
  readonly #reals = new Map<string, string>()
  readonly #paths = new Map<string, ReadonlyArray<string>>()
  #nodes: Dict

  constructor(root: Dict) {
    this.root = root
    this.#nodes = root
  }

  /** Every node, the prompt's own first. Another map after an expansion. */
  get nodes(): Dict {
    return this.#nodes
  }

  add(id: string, node: ExpandedNode, prefix: string, parent: string): void {
    if (this.#nodes === this.root) this.#nodes = new Map(this.root)
    const inputs: Dict = new Map()
    for (const [name, value] of Object.entries(node.inputs)) {
      if (value !== undefined) inputs.set(name, hold(value, prefix))
    }
    this.#nodes.set(id, dict({ class_type: node.class, inputs }))
    this.#parents.set(id, parent)
    this.#reals.set(id, this.realOf(parent))
    this.#displays.set(id, node.display ?? parent)
  }

  parentOf(id: string): string | undefined {
    return this.#parents.get(id)
  }

  /** The node of the prompt itself that this one came from in the end. */
  realOf(id: string): string {
    return this.#reals.get(id) ?? id
  }

  displayOf(id: string): string {
    const first = this.#displays.get(id)
    if (first === undefined) return id
    let shown = first
    for (let i = 0; i < maxDisplays; i++) {
      const next = this.#displays.get(shown)
      if (next === undefined || next === shown) break
      shown = next
    }
    // In a deep loop each would otherwise be followed down to the prompt again.
    this.#displays.set(id, shown)
    return shown
  }

  /** How caches know a node of an id: by that and its class. */
  nameOf(id: string): string {
    return `${id}|${classOf(this.#nodes, id)}`
  }

  /** The names of the nodes that this one came from, the outermost first: none for a node of the prompt itself. */
  path(id: string): ReadonlyArray<string> {
    const parent = this.#parents.get(id)
    if (parent === undefined) return noPath
    let path = this.#paths.get(parent)
    if (path === undefined) {
      path = [...this.path(parent), this.nameOf(parent)]
      this.#paths.set(parent, path)
    }
    return path
  }

  /** A node as another one may look at it. */
  look(id: string): { readonly class: string; readonly inputs: Readonly<Record<string, unknown>> } | undefined {
    if (!this.#nodes.has(id)) return undefined
    const inputs: Record<string, unknown> = {}
    for (const [name, value] of inputsOf(this.#nodes, id) ?? []) inputs[name] = release(value)
    return { class: classOf(this.#nodes, id), inputs }
  }
}
