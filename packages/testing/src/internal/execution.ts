// What the run of one prompt knows and says: its cache keys, its messages, its node records, its errors.
import type { NodeClass } from "../NodeClass.ts"
import { failureTrace, memoryTip } from "./failure.ts"
import { Progress } from "./progress.ts"
import { type Dict, dict, type Py } from "./py.ts"
import type { PyError } from "./pyText.ts"
import { asLink, classOf, inputsOf, signatures } from "./signature.ts"
import { publishEvent } from "./sockets.ts"
import {
  type CacheEntry,
  type Item,
  type NodeOutcome,
  type NodeRecord,
  type NodeUi,
  type State,
  wallMs
} from "./state.ts"

/** How a node ended, as its prompt sees it. `Gone`: the worker or the process ended under it. */
export type NodeResult =
  | { readonly _tag: "Success" }
  | {
    readonly _tag: "Failed"
    readonly error: PyError
    readonly traceback: ReadonlyArray<string>
    /** Of the message `execution_error`. */
    readonly data: Dict
  }
  /** `data` of the message `execution_interrupted`. */
  | { readonly _tag: "Interrupted"; readonly data: Dict }
  | { readonly _tag: "Gone" }

/** The outcome that history is written from. */
export interface Result {
  readonly outputs: Map<string, NodeUi>
  readonly messages: Array<Py>
  success: boolean
}

export class Execution {
  readonly state: State
  readonly item: Item
  readonly client: string | undefined
  readonly result: Result = { outputs: new Map(), messages: [], success: true }
  readonly progress: Progress
  /** The node records that have no end yet. */
  readonly open = new Set<NodeRecord>()
  readonly #executed = new Set<string>()
  #keys: ReadonlyMap<string, string> = new Map()

  constructor(state: State, item: Item, client: string | undefined) {
    this.state = state
    this.item = item
    this.client = client
    this.progress = new Progress(state, item.id, client)
  }

  /** Keeps of the cache what this prompt names, and of the node objects those of its ids. */
  prepare(): void {
    const { item: { prompt }, state } = this
    this.#keys = signatures(state, prompt)
    const keep = new Set(this.#keys.values())
    for (const key of state.cache.keys()) if (!keep.has(key)) state.cache.delete(key)
    for (const key of state.objects.keys()) {
      const split = key.indexOf("|")
      const id = key.slice(0, split)
      if (!prompt.has(id) || classOf(prompt, id) !== key.slice(split + 1)) state.objects.delete(key)
    }
  }

  cached(id: string): CacheEntry | undefined {
    const key = this.#keys.get(id)
    return key === undefined ? undefined : this.state.cache.get(key)
  }

  /** Every input as the list that the node is mapped over. */
  inputs(id: string, node: NodeClass): ReadonlyMap<string, ReadonlyArray<unknown>> {
    const out = new Map<string, ReadonlyArray<unknown>>()
    for (const [name, value] of inputsOf(this.item.prompt, id) ?? new Map<string, Py>()) {
      const link = asLink(value)
      if (link !== undefined) out.set(name, this.cached(link[0])?.outputs[link[1]] ?? [null])
      else if (Object.hasOwn(node.required, name) || Object.hasOwn(node.optional, name)) out.set(name, [value])
    }
    return out
  }

  /** A message that history keeps, with its time. */
  message(event: string, data: Dict, broadcast: boolean): void {
    data.set("timestamp", wallMs(this.state))
    this.result.messages.push([event, data])
    if (this.client !== undefined || broadcast) publishEvent(this.state, this.client, event, data)
  }

  /** What a cached node shows, as if it had run. */
  replay(id: string, ui: NodeUi | undefined): void {
    this.#announce(id, ui)
    if (ui !== undefined && (this.client !== undefined || this.state.profile.cachedOutputsWithoutClient)) {
      this.result.outputs.set(id, ui)
    }
  }

  begin(id: string, classType: string): NodeRecord {
    const { ledger, now, settings } = this.state
    const record: NodeRecord = {
      promptId: this.item.id,
      nodeId: id,
      classType,
      startedAt: now,
      endedAt: undefined,
      outcome: undefined
    }
    ledger.nodes.push(record)
    if (ledger.nodes.length > settings.maxLedger) {
      ledger.dropped += ledger.nodes.splice(0, Math.ceil(ledger.nodes.length / 10)).length
    }
    this.open.add(record)
    return record
  }

  close(record: NodeRecord, outcome: NodeOutcome): void {
    record.endedAt = this.state.now
    record.outcome = outcome
    this.open.delete(record)
  }

  /** A node has run: what it shows is announced, what it gives on is cached. */
  finish(id: string, outputs: ReadonlyArray<ReadonlyArray<unknown>>, output: Dict | undefined): void {
    const ui = output === undefined
      ? undefined
      : { meta: dict({ node_id: id, display_node: id, parent_node: null, real_node_id: id }), output }
    if (ui !== undefined) {
      this.result.outputs.set(id, ui)
      this.#announce(id, ui)
    }
    const key = this.#keys.get(id)
    if (key !== undefined) this.state.cache.set(key, { outputs, ui })
    this.progress.finish(id)
    this.#executed.add(id)
  }

  #announce(id: string, ui: NodeUi | undefined): void {
    if (this.client === undefined) return
    publishEvent(
      this.state,
      this.client,
      "executed",
      dict({ node: id, display_node: id, output: ui?.output ?? null, prompt_id: this.item.id })
    )
  }

  /** The members that every message about a node that did not end well begins with. */
  #about(id: string): Readonly<Record<string, Py>> {
    return {
      prompt_id: this.item.id,
      node_id: id,
      node_type: classOf(this.item.prompt, id),
      executed: [...this.#executed]
    }
  }

  failure(id: string, error: PyError, inputs?: Dict, given?: ReadonlyArray<string>): NodeResult {
    const { item, state } = this
    const traceback = given ?? failureTrace(state.settings.folders.source, classOf(item.prompt, id), error)
    return {
      _tag: "Failed",
      error,
      traceback,
      data: dict({
        ...this.#about(id),
        exception_message: `${error.message}\n${memoryTip(error)}`,
        exception_type: error.type,
        traceback,
        current_inputs: inputs ?? new Map(),
        current_outputs: [...item.prompt.keys()]
      })
    }
  }

  interrupted(id: string): NodeResult {
    return { _tag: "Interrupted", data: dict(this.#about(id)) }
  }

  /** A node that a blocker with a message kept from running: a warning, which no history keeps. */
  warnBlocked(id: string, message: string): void {
    publishEvent(
      this.state,
      this.client,
      "execution_error",
      dict({
        ...this.#about(id),
        exception_message: `Execution Blocked: ${message}`,
        exception_type: "ExecutionBlocked",
        traceback: [],
        current_inputs: [],
        current_outputs: []
      })
    )
  }

  /** Old releases write history from the cache: every node of the prompt that has an ui there, target or not. */
  outputsFromCache(): void {
    for (const id of this.item.prompt.keys()) {
      const ui = this.cached(id)?.ui
      if (ui !== undefined) this.result.outputs.set(id, ui)
    }
  }
}
