// What goes wrong within a server, as its own code asks for it: the only way from the faults to the running nodes.
import type { NodeAction, NodeInfo } from "../FaultData.ts"
import type { Strikes } from "./strikes.ts"

const additions = new Set<NodeAction["_tag"]>(["Silent", "Slower", "Uninterruptible", "StallServer"])

export class Trouble {
  readonly #strikes: Strikes
  #stallMs = 0
  #noSpace = false
  #deafPrompt = ""
  readonly #deaf = new Set<string>()
  /** The GPU is broken until the process is started again. */
  poisoned = false

  constructor(strikes: Strikes) {
    this.#strikes = strikes
  }

  /** Whether it is worth to describe nodes. */
  get watchesNodes(): boolean {
    return this.#strikes.watchesNodes
  }

  onNode(node: NodeInfo, now: number): ReadonlyArray<NodeAction> {
    const actions = this.#strikes.onNode(node, now, (action) => additions.has(action._tag))
    if (this.#deafPrompt !== node.promptId) this.#deaf.clear()
    this.#deafPrompt = node.promptId
    if (actions.some((action) => action._tag === "Uninterruptible")) this.#deaf.add(node.nodeId)
    else this.#deaf.delete(node.nodeId)
    for (const action of actions) if (action._tag === "StallServer") this.#stallMs += action.ms
    return actions
  }

  /** Whether a node looks at no interrupt. */
  isDeaf(promptId: string, nodeId: string): boolean {
    return promptId === this.#deafPrompt && this.#deaf.has(nodeId)
  }

  /** For how long nodes hold the event loop from now on; asking takes it. */
  takeStall(): number {
    const ms = this.#stallMs
    this.#stallMs = 0
    return ms
  }

  losesInterrupt(now: number): boolean {
    return this.#strikes.once("LoseInterrupts", now)
  }

  /** Whether a write finds no space. */
  refusesWrite(now: number): boolean {
    return this.#strikes.once("DiskFull", now)
  }

  /** The same for a picture that a node saves: its class may make another exception of it, so that it is noted. */
  refusesSave(now: number): boolean {
    const full = this.refusesWrite(now)
    if (full) this.#noSpace = true
    return full
  }

  /** Whether a picture was refused since somebody asked. */
  takeNoSpace(): boolean {
    const full = this.#noSpace
    this.#noSpace = false
    return full
  }

  deletesOutputs(now: number): boolean {
    return this.#strikes.once("DeleteOutputs", now)
  }

  skewMs(now: number): number {
    return this.#strikes.skewMs(now)
  }

  /** A new process: what was broken in the old one is whole. */
  reborn(): void {
    this.poisoned = false
    this.#noSpace = false
    this.#stallMs = 0
    this.#deaf.clear()
  }
}
