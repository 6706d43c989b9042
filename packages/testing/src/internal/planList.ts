// Which nodes of a prompt are to run, and which of the ready ones comes next.
import type { NodeClass } from "../NodeClass.ts"
import type { DynPrompt } from "./dynPrompt.ts"
import type { Py } from "./py.ts"
import { asLink, classOf, inputsOf } from "./signature.ts"

export class PlanList {
  readonly #prompt: DynPrompt
  readonly #nodes: ReadonlyMap<string, NodeClass>
  readonly #isCached: (id: string) => boolean
  /** In the order in which they were found; the value counts what each still waits for. */
  readonly #pending = new Map<string, number>()
  readonly #blocks = new Map<string, Set<string>>()

  constructor(prompt: DynPrompt, nodes: ReadonlyMap<string, NodeClass>, isCached: (id: string) => boolean) {
    this.#prompt = prompt
    this.#nodes = nodes
    this.#isCached = isCached
  }

  get size(): number {
    return this.#pending.size
  }

  /** Adds a node and what it needs, lazy inputs left out; answers the id of a link that leads nowhere. */
  add(id: string): string | undefined {
    const walk = [id]
    const links: Array<readonly [from: string, to: string]> = []
    const prompt = this.#prompt.nodes
    while (walk.length > 0) {
      const current = walk.pop() ?? id
      if (this.#pending.has(current)) continue
      if (!prompt.has(current)) return current
      this.#pending.set(current, 0)
      this.#blocks.set(current, new Set())
      const node = this.#nodes.get(classOf(prompt, current))
      for (const [name, value] of inputsOf(prompt, current) ?? new Map<string, Py>()) {
        const link = asLink(value)
        if (link === undefined || (node?.lazy.has(name) ?? false)) continue
        if (!this.#isCached(link[0])) walk.push(link[0])
        links.push([link[0], current])
      }
    }
    for (const [from, to] of links) this.#block(from, to)
    return undefined
  }

  #block(from: string, to: string): void {
    const blocked = this.#blocks.get(from)
    if (blocked === undefined || blocked.has(to) || this.#isCached(from)) return
    blocked.add(to)
    this.#pending.set(to, (this.#pending.get(to) ?? 0) + 1)
  }

  /** `to`, which is to run again, also needs `from`; answers the id of a link that leads nowhere. */
  link(from: string, to: string): string | undefined {
    if (this.#isCached(from)) return undefined
    const lost = this.add(from)
    this.#block(from, to)
    return lost
  }

  #isOutput(id: string): boolean {
    return this.#nodes.get(classOf(this.#prompt.nodes, id))?.outputNode ?? false
  }

  #isAsync(id: string): boolean {
    return this.#nodes.get(classOf(this.#prompt.nodes, id))?.async ?? false
  }

  /** An output or async node first, then what an output waits for, then what leads there in two, then the first one. */
  next(busy: { readonly has: (id: string) => boolean }): string | undefined {
    const ready: Array<string> = []
    for (const [id, waits] of this.#pending) if (waits === 0 && !busy.has(id)) ready.push(id)
    if (ready.length <= 1) return ready[0]
    for (const id of ready) if (this.#isOutput(id) || this.#isAsync(id)) return id
    for (const id of ready) {
      for (const next of this.#blocks.get(id) ?? []) if (this.#isOutput(next)) return id
    }
    for (const id of ready) {
      for (const next of this.#blocks.get(id) ?? []) {
        for (const after of this.#blocks.get(next) ?? []) if (this.#isOutput(after)) return id
      }
    }
    return ready[0]
  }

  done(id: string): void {
    this.#pending.delete(id)
    for (const next of this.#blocks.get(id) ?? []) this.#pending.set(next, (this.#pending.get(next) ?? 1) - 1)
    this.#blocks.delete(id)
  }

  /** Who is blamed if nothing is ready though something is pending: the first one that an expansion brought in. */
  get stuck(): string {
    const [first = ""] = this.#pending.keys()
    for (const id of this.#pending.keys()) {
      const shown = this.#prompt.displayOf(id)
      if (shown !== id) return shown
    }
    return first
  }
}
