// One prompt from its start to its last message: the frames in the order in which the real server sends them.
import type { FakeNode } from "../FakeNode.ts"
import type { Plan, Step } from "../Plan.ts"
import { nodeContext } from "./context.ts"
import { describeInputs, failureTrace, memoryTip } from "./failure.ts"
import { doom, killWorker } from "./lifecycle.ts"
import { PlanList } from "./planList.ts"
import { Progress, textFrame } from "./progress.ts"
import { type Dict, dict, Float, fromJs, isDict, isList, Opaque, type Py } from "./py.ts"
import { quote } from "./pyJson.ts"
import type { PyError } from "./pyText.ts"
import { asLink, classOf, inputsOf, signatures } from "./signature.ts"
import { publish, publishEvent } from "./sockets.ts"
import {
  type CacheEntry,
  type Item,
  log,
  type NodeOutcome,
  type NodeRecord,
  type NodeUi,
  type Run,
  type State,
  type Wake,
  wallMs
} from "./state.ts"

/** What an output holds when the node was blocked. */
export class Blocker {
  readonly message: string | undefined
  constructor(message: string | undefined) {
    this.message = message
  }
}

type Ending =
  | { readonly _tag: "Done"; readonly outputs: ReadonlyArray<unknown>; readonly ui: Dict | undefined }
  | { readonly _tag: "Failed"; readonly error: PyError; readonly traceback: ReadonlyArray<string> | undefined }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Gone" }

/** A node that runs beside others. */
interface Async {
  readonly steps: Generator<Wake, NodeResult, void>
  wake: Wake
}

type NodeResult =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Failure"; readonly event: "execution_error" | "execution_interrupted"; readonly data: Dict }
  | { readonly _tag: "Gone" }

/** The outcome that history is written from. */
export interface Result {
  readonly outputs: Map<string, NodeUi>
  readonly messages: Array<Py>
  success: boolean
}

const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

/** A message that Python cannot write to its log: the worker dies of it before anybody is told. */
const unprintable = (data: Dict): boolean => {
  const message = data.get("exception_message")
  return typeof message === "string" && loneSurrogate.test(message)
}

const success: NodeResult = { _tag: "Success" }
const gone: NodeResult = { _tag: "Gone" }

/** Whether the flag was up; asking takes it down. */
const takeInterrupt = (state: State): boolean => {
  const raised = state.interrupt
  state.interrupt = false
  return raised
}

/** An ui value as the server iterates it: a list stays, a text falls into characters, a dict into its keys. */
const iterate = (value: Py): ReadonlyArray<Py> | undefined => {
  if (isList(value)) return value
  if (typeof value === "string") return Array.from(value)
  if (isDict(value)) return [...value.keys()]
  return value instanceof Opaque && value.type === "bytes" ? [value] : undefined
}

class Execution {
  readonly state: State
  readonly item: Item
  readonly client: string | undefined
  readonly result: Result
  readonly #open: Set<NodeRecord>
  readonly #progress: Progress
  readonly #executed = new Set<string>()
  #keys: ReadonlyMap<string, string> = new Map()

  constructor(state: State, item: Item, client: string | undefined, open: Set<NodeRecord>, result: Result) {
    this.state = state
    this.item = item
    this.client = client
    this.result = result
    this.#open = open
    this.#progress = new Progress(state, item.id, client)
  }

  message(event: string, data: Dict, broadcast: boolean): void {
    data.set("timestamp", wallMs(this.state))
    this.result.messages.push([event, data])
    if (this.client !== undefined || broadcast) publishEvent(this.state, this.client, event, data)
  }

  cached(id: string): CacheEntry | undefined {
    const key = this.#keys.get(id)
    return key === undefined ? undefined : this.state.cache.get(key)
  }

  /** Keeps of the cache what this prompt names, and of the node objects those of its ids. */
  prepare(): void {
    const { prompt } = this.item
    this.#keys = signatures(this.state, prompt)
    const keep = new Set(this.#keys.values())
    for (const key of this.state.cache.keys()) if (!keep.has(key)) this.state.cache.delete(key)
    for (const key of this.state.objects.keys()) {
      const split = key.indexOf("|")
      const id = key.slice(0, split)
      if (!prompt.has(id) || classOf(prompt, id) !== key.slice(split + 1)) this.state.objects.delete(key)
    }
  }

  *run(): Generator<Wake, void, void> {
    const { item, state } = this
    this.message("execution_start", dict({ prompt_id: item.id }), false)
    this.prepare()
    const cachedNodes = [...item.prompt.keys()].filter((id) => this.cached(id) !== undefined)
    this.message("execution_cached", dict({ nodes: cachedNodes, prompt_id: item.id }), false)
    const list = new PlanList(item.prompt, state.nodes, (id) => this.cached(id) !== undefined)
    for (const output of item.outputs) {
      if (list.add(output) !== undefined) {
        // A link under an undeclared name to a node that is not there: raised outside of every handler.
        killWorker(state)
        return
      }
    }
    const asyncs = new Map<string, Async>()
    const busy = new Set<string>()
    while (list.size > 0) {
      const id = list.next(busy)
      let finished: string | undefined
      let outcome: NodeResult | undefined
      if (id === undefined) {
        let soonest: string | undefined
        for (const [node, running] of asyncs) {
          const best = soonest === undefined ? undefined : asyncs.get(soonest)
          if (best === undefined || running.wake.at < best.wake.at) soonest = node
        }
        const running = soonest === undefined ? undefined : asyncs.get(soonest)
        if (soonest === undefined || running === undefined) {
          outcome = this.#failure(list.first ?? "", {
            type: "DependencyCycleError",
            message: "Dependency cycle detected"
          })
        } else {
          yield { at: running.wake.at, watches: [...asyncs.values()].some((other) => other.wake.watches) }
          const next = running.steps.next()
          if (next.done !== true) {
            running.wake = next.value
            continue
          }
          asyncs.delete(soonest)
          busy.delete(soonest)
          finished = soonest
          outcome = next.value
        }
      } else {
        const steps = this.#node(id)
        const isAsync = state.nodes.get(classOf(item.prompt, id))?.async ?? false
        const first = steps.next()
        if (first.done === true) outcome = first.value
        else if (isAsync) {
          asyncs.set(id, { steps, wake: first.value })
          busy.add(id)
          continue
        } else {
          yield first.value
          outcome = yield* steps
        }
        finished = id
      }
      if (outcome._tag === "Gone") return
      if (outcome._tag === "Failure") {
        if (unprintable(outcome.data)) {
          killWorker(state)
          return
        }
        this.result.success = false
        this.message(outcome.event, outcome.data, outcome.event === "execution_interrupted")
        for (const record of this.#open) this.#close(record, "lost")
        return
      }
      if (finished !== undefined) list.done(finished)
    }
    this.message("execution_success", dict({ prompt_id: item.id }), false)
  }

  /** Old releases write history from the cache: every node of the prompt that has an ui there, target or not. */
  outputsFromCache(): void {
    for (const id of this.item.prompt.keys()) {
      const ui = this.cached(id)?.ui
      if (ui !== undefined) this.result.outputs.set(id, ui)
    }
  }

  #close(record: NodeRecord, outcome: NodeOutcome): void {
    record.endedAt = this.state.now
    record.outcome = outcome
    this.#open.delete(record)
  }

  #begin(id: string, classType: string): NodeRecord {
    const { ledger, now } = this.state
    const record: NodeRecord = {
      promptId: this.item.id,
      nodeId: id,
      classType,
      startedAt: now,
      endedAt: undefined,
      outcome: undefined
    }
    ledger.nodes.push(record)
    if (ledger.nodes.length > this.state.settings.maxLedger) {
      ledger.dropped += ledger.nodes.splice(0, Math.ceil(ledger.nodes.length / 10)).length
    }
    this.#open.add(record)
    return record
  }

  #executedEvent(id: string, ui: NodeUi | undefined): void {
    if (this.client === undefined) return
    publishEvent(
      this.state,
      this.client,
      "executed",
      dict({ node: id, display_node: id, output: ui?.output ?? null, prompt_id: this.item.id })
    )
  }

  #failure(id: string, error: PyError, traceback?: ReadonlyArray<string>, inputs?: Dict): NodeResult {
    const classType = classOf(this.item.prompt, id)
    return {
      _tag: "Failure",
      event: "execution_error",
      data: dict({
        prompt_id: this.item.id,
        node_id: id,
        node_type: classType,
        executed: [...this.#executed],
        exception_message: `${error.message}\n${memoryTip(error)}`,
        exception_type: error.type,
        traceback: traceback ?? failureTrace(this.state.settings.folders.source, classType, error),
        current_inputs: inputs ?? new Map(),
        current_outputs: [...this.item.prompt.keys()]
      })
    }
  }

  #interrupted(id: string): NodeResult {
    return {
      _tag: "Failure",
      event: "execution_interrupted",
      data: dict({
        prompt_id: this.item.id,
        node_id: id,
        node_type: classOf(this.item.prompt, id),
        executed: [...this.#executed]
      })
    }
  }

  /** Every input as the list that the node is mapped over. */
  #inputs(id: string, node: FakeNode): Map<string, ReadonlyArray<unknown>> {
    const out = new Map<string, ReadonlyArray<unknown>>()
    for (const [name, value] of inputsOf(this.item.prompt, id) ?? new Map<string, Py>()) {
      const link = asLink(value)
      if (link !== undefined) out.set(name, this.cached(link[0])?.outputs[link[1]] ?? [null])
      else if (Object.hasOwn(node.required, name) || Object.hasOwn(node.optional, name)) out.set(name, [value])
    }
    return out
  }

  *#node(id: string): Generator<Wake, NodeResult, void> {
    const { item, state } = this
    const hit = this.cached(id)
    if (hit !== undefined) {
      this.#executedEvent(id, hit.ui)
      if (hit.ui !== undefined && (this.client !== undefined || state.profile.cachedOutputsWithoutClient)) {
        this.result.outputs.set(id, hit.ui)
      }
      this.#progress.finish(id)
      return success
    }
    const classType = classOf(item.prompt, id)
    const node = state.nodes.get(classType)
    if (node === undefined) return this.#failure(id, { type: "KeyError", message: `'${classType}'` })
    this.#progress.start(id)
    const inputs = this.#inputs(id, node)
    if (this.client !== undefined) {
      state.lastNode = id
      publish(
        state,
        this.client,
        () =>
          `{"type": "executing", "data": {"node": ${quote(id)}, "display_node": ${quote(id)}, ` +
          `"prompt_id": ${quote(item.id)}}}`
      )
    }
    const record = this.#begin(id, classType)
    const length = node.inputIsList ? 1 : Math.max(1, ...[...inputs.values()].map((values) => values.length))
    const outputs: Array<Array<unknown>> = node.outputs.map(() => [])
    const uis: Array<Dict> = []
    for (let index = 0; index < length; index++) {
      if (takeInterrupt(state)) {
        this.#close(record, "interrupted")
        return this.#interrupted(id)
      }
      const given = new Map<string, unknown>()
      let blocked: Blocker | undefined
      for (const [name, values] of inputs) {
        const value = node.inputIsList ? values : values[Math.min(index, values.length - 1)]
        const block = node.inputIsList ? values.find((one) => one instanceof Blocker) : value
        if (block instanceof Blocker && blocked === undefined) blocked = block
        given.set(name, value)
      }
      if (blocked !== undefined) {
        this.#warnBlocked(id, classType, blocked)
        for (const output of outputs) output.push(new Blocker(undefined))
        continue
      }
      const undeclared = [...given.keys()].find((name) =>
        !Object.hasOwn(node.required, name) && !Object.hasOwn(node.optional, name)
      )
      const ending: Ending = undeclared === undefined
        ? yield* this.#play(id, node, node.run(given, nodeContext(state, item, id, classType, index)))
        : failed({
          type: "TypeError",
          message: `${classType}.execute() got an unexpected keyword argument '${undeclared}'`
        })
      if (ending._tag === "Gone") return gone
      if (ending._tag === "Interrupted") {
        this.#close(record, "interrupted")
        return this.#interrupted(id)
      }
      if (ending._tag === "Failed") {
        this.#close(record, "error")
        return this.#failure(id, ending.error, ending.traceback, describeInputs(item, id, node, inputs))
      }
      ending.outputs.forEach((value, slot) => {
        const values = outputs[slot]
        if (values === undefined) return
        if (node.outputs[slot]?.list === true && Array.isArray(value)) values.push(...value)
        else values.push(value)
      })
      if (ending.ui !== undefined) uis.push(ending.ui)
    }
    const merged = mergeUi(uis)
    if ("error" in merged) {
      this.#close(record, "error")
      return this.#failure(id, merged.error, undefined, describeInputs(item, id, node, inputs))
    }
    const ui = merged.ui === undefined ? undefined : {
      meta: dict({ node_id: id, display_node: id, parent_node: null, real_node_id: id }),
      output: merged.ui
    }
    if (ui !== undefined) {
      this.result.outputs.set(id, ui)
      this.#executedEvent(id, ui)
    }
    this.#close(record, outputs.some((values) => values.some((one) => one instanceof Blocker)) ? "blocked" : "success")
    const key = this.#keys.get(id)
    if (key !== undefined) state.cache.set(key, { outputs, ui })
    this.#progress.finish(id)
    this.#executed.add(id)
    return success
  }

  #warnBlocked(id: string, classType: string, blocked: Blocker): void {
    if (blocked.message === undefined) return
    publishEvent(
      this.state,
      this.client,
      "execution_error",
      dict({
        prompt_id: this.item.id,
        node_id: id,
        node_type: classType,
        executed: [...this.#executed],
        exception_message: `Execution Blocked: ${blocked.message}`,
        exception_type: "ExecutionBlocked",
        traceback: [],
        current_inputs: [],
        current_outputs: []
      })
    )
  }

  *#play(id: string, node: FakeNode, plan: Plan): Generator<Wake, Ending, void> {
    const { state } = this
    for (const step of plan.steps) {
      if (step._tag === "Wait") {
        const ms = step.ms * state.settings.speed
        if (step.watches && takeInterrupt(state)) return { _tag: "Interrupted" }
        if (ms > 0) yield { at: state.now + ms, watches: step.watches }
        if (step.watches && takeInterrupt(state)) return { _tag: "Interrupted" }
      } else {
        const problem = this.#step(id, step)
        if (problem !== undefined) return problem
      }
    }
    const { end } = plan
    switch (end._tag) {
      case "Return": {
        const ui = end.ui === undefined ? undefined : fromJs(end.ui)
        return {
          _tag: "Done",
          outputs: node.outputs.map((output, slot) => typed(output.type, output.list === true, end.outputs[slot])),
          ui: isDict(ui) ? ui : undefined
        }
      }
      case "Raise":
        return { _tag: "Failed", error: { type: end.type, message: end.message }, traceback: end.traceback }
      case "Block":
        return { _tag: "Done", outputs: node.outputs.map(() => new Blocker(end.message)), ui: undefined }
      case "Interrupt":
        return { _tag: "Interrupted" }
      case "KillWorker":
        killWorker(state)
        return { _tag: "Gone" }
      case "Exit":
        doom(state, "a node ended the process", 0)
        return { _tag: "Gone" }
    }
  }

  #step(id: string, step: Exclude<Step, { readonly _tag: "Wait" }>): Ending | undefined {
    const { state } = this
    switch (step._tag) {
      case "Progress": {
        if (!this.#progress.wouldSend(id, step.value, step.max, step.preview !== undefined)) return undefined
        if (takeInterrupt(state)) return { _tag: "Interrupted" }
        const problem = this.#progress.update(id, step.value, step.max, step.preview)
        return problem === undefined ? undefined : failed({ type: "AttributeError", message: problem })
      }
      case "Text":
        publish(state, this.#audience(step.to), () => textFrame(step.node ?? id, step.text))
        return undefined
      case "Event":
        publishEvent(state, this.#audience(step.to), step.type, fromJs(step.data))
        return undefined
      case "Binary":
        publish(state, this.#audience(step.to), () => Uint8Array.from(step.bytes))
        return undefined
      case "Log":
        log(state, step.text)
        return undefined
    }
  }

  #audience(to: "client" | "everyone"): string | undefined {
    return to === "everyone" ? undefined : this.client
  }
}

const failed = (error: PyError): Ending => ({ _tag: "Failed", error, traceback: undefined })

/** A returned value as the next node gets it: an output of type FLOAT holds a float even if it is whole. */
const typed = (type: string, list: boolean, value: unknown): unknown => {
  if (list && Array.isArray(value)) return value.map((item: unknown) => typed(type, false, item))
  if (type === "FLOAT" && typeof value === "number") return new Float(value)
  if (type === "INT" && typeof value === "number") return Math.trunc(value)
  if (typeof value === "number" && !Number.isInteger(value)) return new Float(value)
  return value === undefined ? null : value
}

/** Arrays of all items joined, key by key of the first; a value that cannot be iterated is a TypeError. */
const mergeUi = (uis: ReadonlyArray<Dict>): { readonly ui: Dict | undefined } | { readonly error: PyError } => {
  const [first] = uis
  if (first === undefined) return { ui: undefined }
  const out: Dict = new Map()
  for (const key of first.keys()) {
    const joined: Array<Py> = []
    for (const ui of uis) {
      const value = ui.get(key) ?? null
      const items = iterate(value)
      if (items === undefined) {
        const name = value === null ? "NoneType" : value instanceof Float ? "float" : typeof value === "boolean"
          ? "bool"
          : "int"
        return { error: { type: "TypeError", message: `'${name}' object is not iterable` } }
      }
      joined.push(...items)
    }
    out.set(key, joined)
  }
  return { ui: out.size === 0 ? undefined : out }
}

/** A run of a prompt that was just taken from the queue. Its first step happens at the first `next()`. */
export const begin = (state: State, item: Item, finish: (result: Result) => void): Run => {
  const asked = isDict(item.extraData) ? item.extraData.get("client_id") : undefined
  const client = typeof asked === "string" ? asked : undefined
  const open = new Set<NodeRecord>()
  const result: Result = { outputs: new Map(), messages: [], success: true }
  function* steps(): Generator<Wake, void, void> {
    state.interrupt = false
    state.client = client
    const execution = new Execution(state, item, client, open, result)
    yield* execution.run()
    if (state.profile.historyFromCache) execution.outputsFromCache()
    if (state.worker.dead || state.doom?.at === state.now) return
    finish(result)
  }
  return { item, client, steps: steps(), wake: { at: state.now, watches: false }, open }
}
