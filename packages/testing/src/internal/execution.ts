// What the run of one prompt knows and says: its cache keys, its messages, its node records, its errors.
import type { NodeClass } from "../NodeClass.ts"
import { type ExpandedNode, Link } from "../Plan.ts"
import { tagOutputs } from "./assets.ts"
import { DynPrompt, Held } from "./dynPrompt.ts"
import { failureTrace, memoryTip } from "./failure.ts"
import type { CacheEntry, Place } from "./nodeCache.ts"
import { PlanList } from "./planList.ts"
import { Progress } from "./progress.ts"
import { type Dict, dict, type Py } from "./py.ts"
import type { PyError } from "./pyText.ts"
import { asLink, classOf, inputsOf, Signatures } from "./signature.ts"
import { publishEvent } from "./sockets.ts"
import { type Item, type NodeOutcome, type NodeRecord, type NodeUi, type State, wallMs } from "./state.ts"
import { isShortOfRam, sweep } from "./vram.ts"

/** How a node ended, as its prompt sees it. `Gone`: the worker or the process ended under it. */
export type NodeResult =
  | { readonly _tag: "Success" }
  /** It has to wait for other nodes, and runs again then. */
  | { readonly _tag: "Pending" }
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

/** What one call of an expanding node gave: values, or links to the nodes that will give them. */
export type Call = ReadonlyArray<unknown>

/** An input that is a link as {@link Execution.inputs} has it until somebody asks for what is behind it. */
const unknownValue: ReadonlyArray<unknown> = [null]

export class Execution {
  readonly state: State
  readonly item: Item
  readonly client: string | undefined
  readonly result: Result = { outputs: new Map(), messages: [], success: true }
  readonly prompt: DynPrompt
  readonly list: PlanList
  readonly progress: Progress
  /** The node records that have no end yet. */
  readonly open = new Set<NodeRecord>()
  /** Nodes that have expanded, and what their outputs will be. */
  readonly expansions = new Map<string, ReadonlyArray<Call>>()
  readonly #executed = new Set<string>()
  readonly #signatures: Signatures
  /** Results of this run, whatever the cache keeps of them. */
  readonly #results = new Map<string, CacheEntry>()
  /** By node, the nodes behind lazy inputs that it asked for. */
  readonly #asked = new Map<string, Set<string>>()
  #oldIds: ReadonlyArray<string> = []

  constructor(state: State, item: Item, client: string | undefined) {
    this.state = state
    this.item = item
    this.client = client
    this.prompt = new DynPrompt(item.prompt)
    this.list = new PlanList(this.prompt, state.nodes, (id) => this.cached(id) !== undefined)
    this.progress = new Progress(state, this.prompt, item.id, client)
    this.#signatures = new Signatures(state, () => this.prompt.nodes)
  }

  #place(id: string): Place {
    const { prompt } = this
    return { id, key: this.#signatures.of(id), name: prompt.nameOf(id), path: prompt.path(id) }
  }

  /** Keeps of the cache what its rule keeps for this prompt, and of the node objects those of its ids. */
  prepare(): void {
    const { item: { prompt }, state } = this
    state.cache.begin([...prompt.keys()].map((id) => this.#place(id)))
    this.#oldIds = state.cache.expandedIds()
    for (const [key, { root }] of state.objects) {
      const split = root.indexOf("|")
      const id = root.slice(0, split)
      if (!prompt.has(id) || classOf(prompt, id) !== root.slice(split + 1)) state.objects.delete(key)
    }
    sweep(state)
  }

  cached(id: string): CacheEntry | undefined {
    return this.prompt.nodes.has(id) ? this.state.cache.get(this.#place(id)) : undefined
  }

  /** What a node has given in this run, or an earlier one. */
  resultOf(id: string): CacheEntry | undefined {
    return this.#results.get(id) ?? this.cached(id)
  }

  /** Every input as the list that the node is mapped over, and the names of lazy ones that are not there. */
  inputs(id: string, node: NodeClass): {
    readonly values: ReadonlyMap<string, ReadonlyArray<unknown>>
    readonly missing: ReadonlySet<string>
  } {
    const values = new Map<string, ReadonlyArray<unknown>>()
    const missing = new Set<string>()
    const given = inputsOf(this.prompt.nodes, id) ?? new Map<string, Py>()
    const { optional, required } = node.declare?.(given) ?? node
    for (const [name, value] of given) {
      const input = Object.hasOwn(required, name)
        ? required[name]
        : Object.hasOwn(optional, name)
        ? optional[name]
        : undefined
      const link = asLink(value)
      if (link === undefined) {
        if (input !== undefined) values.set(name, [value instanceof Held ? value.value : value])
      } else if (input?.options["rawLink"] === true) values.set(name, [new Link(link[0], link[1])])
      else if (node.lazy.has(name) && !this.#isLinked(id, node, given, link[0])) {
        missing.add(name)
        values.set(name, unknownValue)
      } else values.set(name, this.resultOf(link[0])?.outputs[link[1]] ?? unknownValue)
    }
    return { values, missing }
  }

  /** Whether a node was waited for, for the sake of another one. */
  #isLinked(id: string, node: NodeClass, inputs: Dict, from: string): boolean {
    if (this.#asked.get(id)?.has(from) === true) return true
    for (const [name, value] of inputs) if (!node.lazy.has(name) && asLink(value)?.[0] === from) return true
    return false
  }

  /** A node wants what is behind a lazy input; an error where there is no such input, or a link that leads nowhere. */
  ask(id: string, name: string): PyError | undefined {
    const link = asLink(inputsOf(this.prompt.nodes, id)?.get(name))
    if (link === undefined) {
      const message = `Node ${id} says it needs input ${name}, but there is no input to that node at all`
      return { type: "comfy_execution.graph.NodeInputError", message }
    }
    const asked = this.#asked.get(id)
    if (asked === undefined) this.#asked.set(id, new Set([link[0]]))
    else asked.add(link[0])
    return this.follow(link[0], id)
  }

  /** A node that runs again has to wait for another one. */
  follow(from: string, to: string): PyError | undefined {
    const lost = this.list.link(from, to)
    return lost === undefined
      ? undefined
      : { type: "comfy_execution.graph.NodeNotFoundError", message: `Node ${lost} not found` }
  }

  /** Brings the nodes of an expansion into the prompt. */
  expand(parent: string, prefix: string, nodes: Readonly<Record<string, ExpandedNode>>): PyError | undefined {
    const outputs: Array<string> = []
    for (const [name, node] of Object.entries(nodes)) {
      const id = prefix + name
      if (this.prompt.nodes.has(id)) {
        const message = `Attempt to add duplicate node ${id}. Ensure node ids are unique and deterministic or use ` +
          "graph_utils.GraphBuilder."
        return { type: "comfy_execution.graph.DuplicateNodeError", message }
      }
      this.prompt.add(id, node, prefix, parent)
      const known = this.state.nodes.get(node.class)
      if (known === undefined) return { type: "KeyError", message: `'${node.class}'` }
      if (known.outputNode) outputs.push(id)
    }
    this.state.cache.expand(this.#place(parent), Object.keys(nodes).map((name) => this.#place(prefix + name)))
    for (const id of outputs) {
      const lost = this.list.add(id)
      if (lost !== undefined) {
        return { type: "comfy_execution.graph.NodeNotFoundError", message: `Node ${lost} not found` }
      }
    }
    return undefined
  }

  /** A message that history keeps, with its time. */
  message(event: string, data: Dict, broadcast: boolean): void {
    data.set("timestamp", wallMs(this.state))
    this.result.messages.push([event, data])
    if (this.client !== undefined || broadcast) publishEvent(this.state, this.client, event, data)
  }

  /** What a cached node shows, as if it had run. */
  replay(id: string, hit: CacheEntry): void {
    const { ui } = hit
    this.#results.set(id, hit)
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

  /** What a node shows is announced. */
  show(id: string, output: Dict): void {
    const { prompt } = this
    tagOutputs(this.state, this.item.id, output)
    const ui = {
      meta: dict({
        node_id: id,
        display_node: prompt.displayOf(id),
        parent_node: prompt.parentOf(id) ?? null,
        real_node_id: prompt.realOf(id)
      }),
      output
    }
    this.result.outputs.set(id, ui)
    this.#announce(id, ui)
  }

  /** A node has run: what it gives on is cached. */
  finish(id: string, outputs: ReadonlyArray<ReadonlyArray<unknown>>): void {
    const entry = { outputs, ui: this.result.outputs.get(id) }
    this.#results.set(id, entry)
    this.state.cache.set(this.#place(id), entry)
    this.progress.finish(id)
    this.#executed.add(id)
  }

  /** A node has ended, or was served from the cache: the prompt goes on without what memory is too short for. */
  relieve(): void {
    this.state.cache.relieve(() => isShortOfRam(this.state))
  }

  #announce(id: string, ui: NodeUi | undefined): void {
    if (this.client === undefined) return
    publishEvent(
      this.state,
      this.client,
      "executed",
      dict({ node: id, display_node: this.prompt.displayOf(id), output: ui?.output ?? null, prompt_id: this.item.id })
    )
  }

  /** The members that every message about a node that did not end well begins with. */
  #about(id: string): Readonly<Record<string, Py>> {
    return {
      prompt_id: this.item.id,
      node_id: id,
      node_type: classOf(this.prompt.nodes, id),
      executed: [...this.#executed]
    }
  }

  /** Whoever failed in an expansion, the node of the prompt is named; only the traceback tells. */
  failure(id: string, error: PyError, inputs?: Dict, given?: ReadonlyArray<string>): NodeResult {
    const { prompt, state } = this
    const traceback = given ?? failureTrace(state.settings.folders.source, classOf(prompt.nodes, id), error)
    return {
      _tag: "Failed",
      error,
      traceback,
      data: dict({
        ...this.#about(prompt.realOf(id)),
        exception_message: `${error.message}\n${memoryTip(error)}`,
        exception_type: error.type,
        traceback,
        current_inputs: inputs ?? new Map(),
        current_outputs: this.#known()
      })
    }
  }

  /** Nothing is ready and something is pending: only nodes of an expansion can bring that about. */
  stuck(): NodeResult {
    const error = { type: "graph.DependencyCycleError", message: "Dependency cycle detected" }
    return {
      _tag: "Failed",
      error,
      traceback: [],
      data: dict({
        ...this.#about(this.list.stuck),
        exception_message: error.message,
        exception_type: error.type,
        traceback: [],
        current_inputs: [],
        current_outputs: this.#known()
      })
    }
  }

  /** Every node that the cache could have known when the prompt began. */
  #known(): ReadonlyArray<string> {
    return this.state.settings.cache === "none" ? [] : [...this.item.prompt.keys(), ...this.#oldIds]
  }

  interrupted(id: string): NodeResult {
    return { _tag: "Interrupted", data: dict(this.#about(this.prompt.realOf(id))) }
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
    for (const id of this.prompt.nodes.keys()) {
      const ui = this.cached(id)?.ui
      if (ui !== undefined) this.result.outputs.set(id, ui)
    }
  }
}
