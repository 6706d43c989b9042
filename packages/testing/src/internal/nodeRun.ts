// One node of a running prompt: served from the cache, or its plan played on the server's clock.
import type { NodeClass } from "../NodeClass.ts"
import type { Plan, Step } from "../Plan.ts"
import { afflict, isDeaf, refusesWrite } from "./afflict.ts"
import { nodeContext } from "./context.ts"
import type { Call, Execution, NodeResult } from "./execution.ts"
import { awaitCalls, expandedCall, joinCalls } from "./expansion.ts"
import { describeInputs, outOfMemory } from "./failure.ts"
import { inside } from "./files.ts"
import { doom, killWorker } from "./lifecycle.ts"
import { print } from "./logs.ts"
import { textFrame } from "./progress.ts"
import { type Dict, fromJs, isDict } from "./py.ts"
import { quote } from "./pyJson.ts"
import type { PyError } from "./pyText.ts"
import { classOf } from "./signature.ts"
import { publish, publishEvent } from "./sockets.ts"
import { type State, type Wake, wallMs } from "./state.ts"
import { Blocker, mergeUi, typed } from "./values.ts"
import { bring } from "./vram.ts"

/** How one execution of a node ended: of several, where an input is a list. */
type Ending =
  | {
    readonly _tag: "Done"
    readonly outputs: Call
    readonly ui: Dict | undefined
    /** Nodes that came into the prompt give some of the outputs. */
    readonly expanded: boolean
  }
  | { readonly _tag: "Failed"; readonly error: PyError; readonly traceback: ReadonlyArray<string> | undefined }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Gone" }

const success: NodeResult = { _tag: "Success" }
const pending: NodeResult = { _tag: "Pending" }
const gone: NodeResult = { _tag: "Gone" }

const failed = (error: PyError): Ending => ({ _tag: "Failed", error, traceback: undefined })

/** What torch says of an allocation that does not fit. */
const noMemory = "Allocation on device 0 would exceed allowed memory. (out of memory)"

/** Whether the flag was up; asking takes it down. */
const takeInterrupt = (state: State): boolean => {
  const raised = state.interrupt
  state.interrupt = false
  return raised
}

const audience = (execution: Execution, to: "client" | "everyone"): string | undefined =>
  to === "everyone" ? undefined : execution.client

/** What a step does at once; an ending where it ends the node. */
const perform = (
  execution: Execution,
  id: string,
  step: Exclude<Step, { readonly _tag: "Wait" | "Load" }>
): Ending | undefined => {
  const { progress, state } = execution
  switch (step._tag) {
    case "Progress": {
      if (!progress.wouldSend(id, step.value, step.max, step.preview !== undefined)) return undefined
      if (!isDeaf(state, execution.item, id) && takeInterrupt(state)) return { _tag: "Interrupted" }
      const problem = progress.update(id, step.value, step.max, step.preview)
      return problem === undefined ? undefined : failed({ type: "AttributeError", message: problem })
    }
    case "Text":
      publish(state, audience(execution, step.to), () => textFrame(step.node ?? id, step.text))
      return undefined
    case "Event":
      publishEvent(state, audience(execution, step.to), step.type, fromJs(step.data))
      return undefined
    case "Binary":
      publish(state, audience(execution, step.to), () => Uint8Array.from(step.bytes))
      return undefined
    case "File": {
      const path = inside(step.path)
      if (path === undefined || path === "") {
        return failed({ type: "PermissionError", message: `[Errno 13] Permission denied: '${step.path}'` })
      }
      if (refusesWrite(state)) return failed({ type: "OSError", message: "[Errno 28] No space left on device" })
      state.files.write(step.folder, path, step.bytes, wallMs(state))
      return undefined
    }
    case "Log":
      print(state, step.text)
      return undefined
  }
}

const uiOf = (ui: Readonly<Record<string, unknown>> | undefined): Dict | undefined => {
  const held = ui === undefined ? undefined : fromJs(ui)
  return isDict(held) ? held : undefined
}

function* play(
  execution: Execution,
  id: string,
  node: NodeClass,
  plan: Plan,
  index: number
): Generator<Wake, Ending, void> {
  const { state } = execution
  const { speed } = state.settings
  let msPerStep = 0
  for (const step of plan.steps) {
    if (step._tag === "Load") {
      const move = bring(state, step)
      if (move === "full") return failed({ type: outOfMemory, message: noMemory })
      msPerStep = move.msPerStep
      if (move.ms > 0) yield { at: state.now + move.ms * speed, watches: false }
    } else if (step._tag === "Wait") {
      const ms = (step.ms + msPerStep) * speed
      if (step.watches && takeInterrupt(state)) return { _tag: "Interrupted" }
      if (ms > 0) yield { at: state.now + ms, watches: step.watches }
      if (step.watches && takeInterrupt(state)) return { _tag: "Interrupted" }
    } else {
      const ending = perform(execution, id, step)
      if (ending !== undefined) return ending
    }
  }
  const { end } = plan
  switch (end._tag) {
    case "Return":
      return {
        _tag: "Done",
        outputs: node.outputs.map((output, slot) => typed(output.type, output.list === true, end.outputs[slot])),
        ui: uiOf(end.ui),
        expanded: false
      }
    case "Expand": {
      const prefix = `${id}.${index}.0.`
      const error = execution.expand(id, prefix, end.nodes)
      if (error !== undefined) return failed(error)
      return { _tag: "Done", outputs: expandedCall(node, end, prefix), ui: uiOf(end.ui), expanded: true }
    }
    case "Raise":
      return { _tag: "Failed", error: { type: end.type, message: end.message }, traceback: end.traceback }
    case "Block":
      return {
        _tag: "Done",
        outputs: node.outputs.map(() => new Blocker(end.message)),
        ui: undefined,
        expanded: false
      }
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

/** What one execution gets of the lists, and the blocker that keeps it from running. */
const pick = (
  inputs: ReadonlyMap<string, ReadonlyArray<unknown>>,
  whole: boolean,
  index: number
): { readonly given: ReadonlyMap<string, unknown>; readonly blocked: Blocker | undefined } => {
  const given = new Map<string, unknown>()
  let blocked: Blocker | undefined
  for (const [name, values] of inputs) {
    const value = whole ? values : values[Math.min(index, values.length - 1)]
    const block = whole ? values.find((one) => one instanceof Blocker) : value
    if (block instanceof Blocker) blocked ??= block
    given.set(name, value)
  }
  return { given, blocked }
}

const start = (execution: Execution, id: string): void => {
  const { client, item, progress, prompt, state } = execution
  progress.start(id)
  if (client === undefined) return
  const shown = prompt.displayOf(id)
  state.lastNode = shown
  publish(
    state,
    client,
    () =>
      `{"type": "executing", "data": {"node": ${quote(id)}, "display_node": ${quote(shown)}, ` +
      `"prompt_id": ${quote(item.id)}}}`
  )
}

type Inputs = ReturnType<Execution["inputs"]>

/** How often a node runs: once per item of its longest input. */
const timesOf = (node: NodeClass, { values }: Inputs): number =>
  node.inputIsList ? 1 : Math.max(1, ...[...values.values()].map((items) => items.length))

/** Lazy inputs that a node wants and does not have: then it waits for them. Undefined if it has what it wants. */
const askLazily = (execution: Execution, id: string, node: NodeClass, inputs: Inputs): NodeResult | undefined => {
  const { needs } = node
  if (needs === undefined) return undefined
  const wanted = new Set<string>()
  for (let index = 0; index < timesOf(node, inputs); index++) {
    if (takeInterrupt(execution.state)) return execution.interrupted(id)
    const { blocked, given } = pick(inputs.values, node.inputIsList, index)
    if (blocked === undefined) { for (const name of needs(given)) wanted.add(name) }
  }
  let waits = false
  for (const name of wanted) {
    if (inputs.values.has(name) && !inputs.missing.has(name)) continue
    waits = true
    const error = execution.ask(id, name)
    if (error === undefined) continue
    return execution.failure(id, error, describeInputs(execution, id, node, inputs.values))
  }
  return waits ? pending : undefined
}

/** Runs a node, once per item where an input is a list. Yields where it waits. */
export function* runNode(execution: Execution, id: string): Generator<Wake, NodeResult, void> {
  const { item, prompt, state } = execution
  const hit = execution.cached(id)
  if (hit !== undefined) {
    execution.replay(id, hit)
    execution.progress.finish(id)
    return success
  }
  const classType = classOf(prompt.nodes, id)
  const node = state.nodes.get(classType)
  if (node === undefined) return execution.failure(id, { type: "KeyError", message: `'${classType}'` })
  const waiting = execution.expansions.get(id)
  if (waiting !== undefined) {
    execution.expansions.delete(id)
    execution.finish(id, joinCalls(execution, node, waiting))
    return success
  }
  start(execution, id)
  const inputs = execution.inputs(id, node)
  const asking = askLazily(execution, id, node, inputs)
  if (asking !== undefined) return asking
  const record = execution.begin(id, classType)
  const calls: Array<Call> = []
  const uis: Array<Dict> = []
  let expanded = false
  for (let index = 0; index < timesOf(node, inputs); index++) {
    if (takeInterrupt(state)) {
      execution.close(record, "interrupted")
      return execution.interrupted(id)
    }
    const { blocked, given } = pick(inputs.values, node.inputIsList, index)
    if (blocked !== undefined) {
      if (blocked.message !== undefined) execution.warnBlocked(id, blocked.message)
      calls.push(node.outputs.map(() => new Blocker(undefined)))
      continue
    }
    const { optional, required } = node.declare?.(given) ?? node
    const undeclared = [...given.keys()].find((name) =>
      !Object.hasOwn(required, name) && !Object.hasOwn(optional, name)
    )
    const ending: Ending = undeclared === undefined
      ? yield* play(
        execution,
        id,
        node,
        yield* afflict(
          state,
          item,
          prompt.nodes,
          id,
          index,
          node.run(given, nodeContext(state, item, prompt, id, index))
        ),
        index
      )
      : failed({
        type: "TypeError",
        message: `${classType}.execute() got an unexpected keyword argument '${undeclared}'`
      })
    if (ending._tag === "Gone") return gone
    if (ending._tag === "Interrupted") {
      execution.close(record, "interrupted")
      return execution.interrupted(id)
    }
    if (ending._tag === "Failed") {
      execution.close(record, "error")
      if (ending.error.type === outOfMemory) state.vram.clear()
      return execution.failure(id, ending.error, describeInputs(execution, id, node, inputs.values), ending.traceback)
    }
    calls.push(ending.outputs)
    expanded ||= ending.expanded
    if (ending.ui !== undefined) uis.push(ending.ui)
  }
  const merged = mergeUi(uis)
  const error = "error" in merged ? merged.error : expanded ? awaitCalls(execution, id, calls) : undefined
  if (error !== undefined) {
    execution.close(record, "error")
    return execution.failure(id, error, describeInputs(execution, id, node, inputs.values))
  }
  if ("ui" in merged && merged.ui !== undefined) execution.show(id, merged.ui)
  execution.close(record, calls.some((call) => call.some((one) => one instanceof Blocker)) ? "blocked" : "success")
  if (expanded) return pending
  execution.finish(id, joinCalls(execution, node, calls))
  return success
}
