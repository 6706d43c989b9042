/** How a run speaks: the only place where events are made and sequence numbers given. */
import { ExecutionError, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { Ending, ExecutionEvent, Via } from "@effect-comfyui/execution/ExecutionEvent"
import type { Time } from "@effect-comfyui/execution/Time"
import type { Outcome } from "./RunAnswer.ts"
import type { Change } from "./RunNodes.ts"
import type { State } from "./RunState.ts"

type Common = Pick<ExecutionEvent, "runId" | "backend" | "sequence" | "at" | "elapsed">

export const common = (state: State, time: Time): Common => ({
  runId: state.subject.runId,
  backend: state.subject.backend,
  sequence: state.sequence,
  at: time.at,
  elapsed: time.now - state.startedAt
})

export const lifecycle = (state: State, time: Time): Common => {
  state.sequence++
  return common(state, time)
}

export const emitGap = (
  state: State,
  cause: "socket" | "attached",
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  out.push({ _tag: "Gap", ...lifecycle(state, time), cause, lifecycle: 0, progress: 0, previews: 0 })
}

export const emitStarted = (state: State, serverAt: number | null, time: Time, out: Array<ExecutionEvent>): void => {
  if (state.started) return
  state.started = true
  out.push({ _tag: "Started", ...lifecycle(state, time), serverAt })
}

/** The ending that an outcome is. */
export const toEnding = (state: State, outcome: Outcome, via: Via, time: Time): Ending => {
  const { backend, runId } = state.subject
  switch (outcome._tag) {
    case "Success":
      return {
        _tag: "Completed",
        ...lifecycle(state, time),
        via,
        outputs: outcome.outputs,
        executions: state.executions
      }
    case "Error": {
      const error = new ExecutionError({ reason: outcome.reason, runId, backend })
      return { _tag: "Failed", ...lifecycle(state, time), via, error }
    }
    case "Interrupted":
      return { _tag: "Cancelled", ...lifecycle(state, time), via, by: state.cancelAsked ? "us" : "elsewhere" }
  }
}

export const finishAs = (state: State, outcome: Outcome, via: Via, time: Time, out: Array<ExecutionEvent>): void => {
  const ending = toEnding(state, outcome, via, time)
  state.phase = "ended"
  state.ending = ending
  state.held = []
  out.push(ending)
}

export const fail = (state: State, reason: Reason, via: Via, time: Time, out: Array<ExecutionEvent>): void =>
  finishAs(state, { _tag: "Error", reason }, via, time, out)

/** The one event per step: written out, because a spread costs as much as the rest. */
export const emitProgress = (
  state: State,
  nodeId: string,
  displayId: string,
  value: number,
  max: number,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  const { startedAt, subject } = state
  out.push({
    _tag: "NodeProgress",
    runId: subject.runId,
    backend: subject.backend,
    sequence: state.sequence,
    at: time.at,
    elapsed: time.now - startedAt,
    nodeId,
    displayId,
    value,
    max
  })
}

export const emitChanges = (
  state: State,
  changes: ReadonlyArray<Change>,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  for (const change of changes) {
    switch (change._tag) {
      case "Progress":
        emitProgress(state, change.nodeId, change.displayId, change.value, change.max, time, out)
        break
      case "Started":
        emitStarted(state, null, time, out)
        out.push({
          _tag: "NodeStarted",
          ...lifecycle(state, time),
          nodeId: change.nodeId,
          displayId: change.displayId,
          parentId: change.parentId,
          classType: state.subject.classTypeOf(change.nodeId)
        })
        break
      case "Finished":
        out.push({
          _tag: "NodeFinished",
          ...lifecycle(state, time),
          nodeId: change.nodeId,
          displayId: change.displayId
        })
        break
    }
  }
}
