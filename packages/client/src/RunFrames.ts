/** What the frames of a run mean. */
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import type { Time } from "@effect-comfyui/execution/Time"
import * as NodeText from "@effect-comfyui/protocol/NodeText"
import type { ServerMessage } from "@effect-comfyui/protocol/ServerMessage"
import type * as Json from "@effect-comfyui/workflow/Json"
import { classify } from "./Attribution.ts"
import type { Outcome } from "./RunAnswer.ts"
import { common, emitChanges, emitGap, emitProgress, emitStarted, finishAs, lifecycle } from "./RunEmit.ts"
import * as RunNodes from "./RunNodes.ts"
import type { State } from "./RunState.ts"
import * as RunWatch from "./RunWatch.ts"

export const onMessage = (state: State, message: ServerMessage, time: Time, out: Array<ExecutionEvent>): void => {
  const { nodes } = state
  switch (message._tag) {
    case "Progress": {
      const { max, node, value } = message
      const displayId = node === null ? undefined : RunNodes.progress(nodes, node, value, max)
      if (node === null || displayId === undefined) return
      state.watch.nodeSeen = true
      emitProgress(state, node, displayId, value, max, time, out)
      break
    }
    case "ProgressState": {
      const changes: Array<RunNodes.Change> = []
      RunNodes.states(nodes, message.nodes, changes)
      onChanges(state, changes, time, out)
      break
    }
    case "Executing": {
      if (message.node === null) return onDrained(state, time, out)
      const changes: Array<RunNodes.Change> = []
      RunNodes.executing(nodes, message.node, message.displayNode, changes)
      onChanges(state, changes, time, out)
      break
    }
    case "ExecutionStart":
      emitStarted(state, message.timestamp, time, out)
      break
    case "ExecutionCached":
      emitStarted(state, null, time, out)
      state.watch.cachedAt ??= time.now
      for (const nodeId of message.nodes) nodes.cached.add(nodeId)
      out.push({ _tag: "NodesCached", ...lifecycle(state, time), nodeIds: message.nodes })
      break
    case "Executed":
      state.watch.nodeSeen = true
      onExecuted(state, message.node, message.displayNode, message.output, time, out)
      break
    case "ExecutionError":
      if (message.blocked) {
        out.push({
          _tag: "Warning",
          ...lifecycle(state, time),
          code: "execution-blocked",
          message: message.exceptionMessage,
          nodeIds: message.nodeId === null ? [] : [message.nodeId]
        })
      } else terminate(state, { _tag: "Error", reason: classify(message) }, time)
      break
    case "ExecutionSuccess":
      terminate(state, { _tag: "Success", outputs: Outputs.empty }, time)
      break
    case "ExecutionInterrupted":
      terminate(state, { _tag: "Interrupted" }, time)
      break
    case "Preview": {
      const nodeId = message.metadata?.nodeId ?? nodes.current ?? null
      out.push({
        _tag: "Preview",
        ...common(state, time),
        nodeId,
        displayId: message.metadata?.displayNodeId ?? (nodeId === null ? null : RunNodes.displayOf(nodes, nodeId)),
        format: message.imageType,
        image: message.image
      })
      break
    }
    case "ProgressText": {
      const text = NodeText.normalise(message.text)
      out.push({
        _tag: "NodeText",
        ...common(state, time),
        nodeId: message.node,
        kind: text.kind,
        text: text.text,
        seconds: text.kind === "progress" ? text.seconds : null,
        url: text.kind === "result" ? text.url : null
      })
      break
    }
    default:
      return
  }
}

const onChanges = (
  state: State,
  changes: ReadonlyArray<RunNodes.Change>,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  if (changes.length === 0) return
  state.watch.nodeSeen = true
  emitChanges(state, changes, time, out)
}

const onExecuted = (
  state: State,
  nodeId: string,
  displayNode: string | null,
  record: Json.JsonObject | null,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  if (record === null) return
  const output = Outputs.nodeOutput(record)
  state.outputs.set(nodeId, output)
  out.push({
    _tag: "NodeOutput",
    ...lifecycle(state, time),
    nodeId,
    displayId: displayNode ?? RunNodes.displayOf(state.nodes, nodeId),
    cached: state.nodes.cached.has(nodeId) || !(state.nodes.running.has(nodeId) || state.nodes.finished.has(nodeId)),
    output
  })
}

/** The first terminal message counts; a repeated or contradicting one later does not. */
const terminate = (state: State, outcome: Outcome, time: Time): void => {
  if (state.terminal !== undefined) return
  state.terminal = outcome
  state.terminalWhole = state.whole
  state.watch.terminalAt = time.now
}

/** A node still runs though the prompt has succeeded: what it said at its end, outputs perhaps, did not come. */
const lacksAnEnd = ({ nodes, terminal }: State): boolean =>
  terminal?._tag === "Success" && nodes.statesSeen && nodes.running.size > 0

/** The connection seems whole, and yet frames of this run, which is over, did not come. */
const hasMissed = (state: State): boolean => state.whole && (state.terminal === undefined || lacksAnEnd(state))

/** The socket's own outcome, if no frame before its terminal message can be missing. */
export const heardOutcome = (state: State): Outcome | undefined =>
  !state.terminalWhole || lacksAnEnd(state)
    ? undefined
    : state.terminal?._tag === "Success"
    ? { _tag: "Success", outputs: Object.fromEntries(state.outputs) }
    : state.terminal

/** The ending as HTTP told it. */
export const finishSettled = (state: State, outcome: Outcome, time: Time, out: Array<ExecutionEvent>): void => {
  if (hasMissed(state)) emitGap(state, "socket", time, out)
  finishAs(state, outcome, "http", time, out)
}

/** `executing{node: null}`: nothing of this run comes any more, and from now on history agrees. */
const onDrained = (state: State, time: Time, out: Array<ExecutionEvent>): void => {
  const heard = state.whole ? heardOutcome(state) : undefined
  if (heard !== undefined) finishAs(state, heard, "socket", time, out)
  else if (state.settled !== undefined) finishSettled(state, state.settled, time, out)
  else {
    state.drained = true
    RunWatch.askNow(state.watch)
  }
}
