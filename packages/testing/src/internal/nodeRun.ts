// One node of a running prompt: served from the cache, or its plan played on the server's clock.
import type { NodeClass } from "../NodeClass.ts"
import type { Plan, Step } from "../Plan.ts"
import { nodeContext } from "./context.ts"
import type { Execution, NodeResult } from "./execution.ts"
import { describeInputs } from "./failure.ts"
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

/** How one execution of a node ended: of several, where an input is a list. */
type Ending =
  | { readonly _tag: "Done"; readonly outputs: ReadonlyArray<unknown>; readonly ui: Dict | undefined }
  | { readonly _tag: "Failed"; readonly error: PyError; readonly traceback: ReadonlyArray<string> | undefined }
  | { readonly _tag: "Interrupted" }
  | { readonly _tag: "Gone" }

const success: NodeResult = { _tag: "Success" }
const gone: NodeResult = { _tag: "Gone" }

const failed = (error: PyError): Ending => ({ _tag: "Failed", error, traceback: undefined })

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
  step: Exclude<Step, { readonly _tag: "Wait" }>
): Ending | undefined => {
  const { progress, state } = execution
  switch (step._tag) {
    case "Progress": {
      if (!progress.wouldSend(id, step.value, step.max, step.preview !== undefined)) return undefined
      if (takeInterrupt(state)) return { _tag: "Interrupted" }
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
      state.files.write(step.folder, path, step.bytes, wallMs(state))
      return undefined
    }
    case "Log":
      print(state, step.text)
      return undefined
  }
}

function* play(execution: Execution, id: string, node: NodeClass, plan: Plan): Generator<Wake, Ending, void> {
  const { state } = execution
  for (const step of plan.steps) {
    if (step._tag === "Wait") {
      const ms = step.ms * state.settings.speed
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
  const { client, item, progress, state } = execution
  progress.start(id)
  if (client === undefined) return
  state.lastNode = id
  publish(
    state,
    client,
    () =>
      `{"type": "executing", "data": {"node": ${quote(id)}, "display_node": ${quote(id)}, ` +
      `"prompt_id": ${quote(item.id)}}}`
  )
}

/** Runs a node, once per item where an input is a list. Yields where it waits. */
export function* runNode(execution: Execution, id: string): Generator<Wake, NodeResult, void> {
  const { item, state } = execution
  const hit = execution.cached(id)
  if (hit !== undefined) {
    execution.replay(id, hit.ui)
    execution.progress.finish(id)
    return success
  }
  const classType = classOf(item.prompt, id)
  const node = state.nodes.get(classType)
  if (node === undefined) return execution.failure(id, { type: "KeyError", message: `'${classType}'` })
  start(execution, id)
  const inputs = execution.inputs(id, node)
  const record = execution.begin(id, classType)
  const length = node.inputIsList ? 1 : Math.max(1, ...[...inputs.values()].map((values) => values.length))
  const outputs: Array<Array<unknown>> = node.outputs.map(() => [])
  const uis: Array<Dict> = []
  for (let index = 0; index < length; index++) {
    if (takeInterrupt(state)) {
      execution.close(record, "interrupted")
      return execution.interrupted(id)
    }
    const { blocked, given } = pick(inputs, node.inputIsList, index)
    if (blocked !== undefined) {
      if (blocked.message !== undefined) execution.warnBlocked(id, blocked.message)
      for (const output of outputs) output.push(new Blocker(undefined))
      continue
    }
    const undeclared = [...given.keys()].find((name) =>
      !Object.hasOwn(node.required, name) && !Object.hasOwn(node.optional, name)
    )
    const ending: Ending = undeclared === undefined
      ? yield* play(execution, id, node, node.run(given, nodeContext(state, item, id, classType, index)))
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
      return execution.failure(id, ending.error, describeInputs(item, id, node, inputs), ending.traceback)
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
    execution.close(record, "error")
    return execution.failure(id, merged.error, describeInputs(item, id, node, inputs))
  }
  execution.close(
    record,
    outputs.some((values) => values.some((one) => one instanceof Blocker)) ? "blocked" : "success"
  )
  execution.finish(id, outputs, merged.ui)
  return success
}
