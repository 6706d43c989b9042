/**
 * The life of one prompt as a pure machine. Socket frames, HTTP answers and requests of the caller are proposals; the
 * machine decides what they mean, emits each event once and ends once. It has no clock: every input says what time it
 * is, and `RunWatch.agenda` says when the machine wants to be asked again.
 */
import { describe, type Reason } from "@effect-comfyui/execution/ExecutionError"
import type { ChosenSeed, Ending, ExecutionEvent, Warning } from "@effect-comfyui/execution/ExecutionEvent"
import type { Time } from "@effect-comfyui/execution/Time"
import type { ServerMessage } from "@effect-comfyui/protocol/ServerMessage"
import type { Answer, Doubt, Outcome } from "./RunAnswer.ts"
import { emitGap, emitStarted, fail, finishAs, lifecycle, toEnding } from "./RunEmit.ts"
import { finishSettled, heardOutcome, onMessage } from "./RunFrames.ts"
import { make, type State, type Subject } from "./RunState.ts"
import * as RunWatch from "./RunWatch.ts"

/** What the caller should know beside the events. */
export type Notice = Pick<Warning, "code" | "message" | "nodeIds">

export type Input =
  /** The POST goes out now; `whole`: over a registered connection that has lived since before. */
  | { readonly _tag: "Posting"; readonly whole: boolean; readonly seeds: ReadonlyArray<ChosenSeed> }
  | {
    readonly _tag: "Accepted"
    readonly promptId: string
    readonly number: number | null
    readonly warnings: ReadonlyArray<Notice>
  }
  /** Nothing of it is on the server: refused there (`http`) or here (`client`). */
  | { readonly _tag: "Refused"; readonly reason: Reason; readonly via: "http" | "client" }
  | { readonly _tag: "Doubted"; readonly doubt: Doubt }
  | { readonly _tag: "Frames"; readonly messages: ReadonlyArray<ServerMessage> }
  | { readonly _tag: "LinkLost" }
  /** Frames of this run may be missing: one came that nobody can read, or the connection does not answer. */
  | { readonly _tag: "Doubtful" }
  | { readonly _tag: "Asked"; readonly answer: Answer }
  | { readonly _tag: "CancelAsked" }
  /** Cancelled before it ran: taken out of the queue because we asked (`http`), or never posted (`client`). */
  | { readonly _tag: "Removed"; readonly via: "http" | "client" }
  | { readonly _tag: "Closed" }
  | { readonly _tag: "Tick" }

/** A run that is watched from outside; the first event is `Gap{cause: "attached"}`. */
export const attach = (
  subject: Subject,
  time: Time,
  options: RunWatch.Options
): readonly [State, ReadonlyArray<ExecutionEvent>] => {
  const state = make(subject, "accepted", time, options)
  const out: Array<ExecutionEvent> = []
  emitGap(state, "attached", time, out)
  RunWatch.askNow(state.watch)
  return [state, out]
}

/** The ending of a run that is over, for somebody who only asked how it ended. */
export const endingOf = (subject: Subject, outcome: Outcome, time: Time): Ending =>
  toEnding(make(subject, "accepted", time, RunWatch.defaults), outcome, "http", time)

/** Frames held until the POST is answered; with more of them the prompt is plainly accepted. */
const maxHeld = 4_096

const accept = (
  state: State,
  promptId: string,
  number: number | null,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  state.phase = "accepted"
  state.wasAccepted = true
  state.promptId = promptId
  RunWatch.accepted(state.watch, time.now)
  out.push({ _tag: "Submitted", ...lifecycle(state, time), promptId, number, seeds: state.seeds })
  if (!state.whole) emitGap(state, "socket", time, out)
}

const releaseHeld = (state: State, time: Time, out: Array<ExecutionEvent>): void => {
  const held = state.held
  state.held = []
  for (const message of held) if (!hasEnded(state)) onMessage(state, message, time, out)
}

/** The server is known to have the prompt, though its answer to the POST never came. */
const acceptUnanswered = (state: State, time: Time, out: Array<ExecutionEvent>): void => {
  state.doubt = undefined
  accept(state, state.promptId, null, time, out)
  releaseHeld(state, time, out)
}

const onFinished = (state: State, outcome: Outcome, time: Time, out: Array<ExecutionEvent>): void => {
  if (state.settled !== undefined) return
  state.settled = outcome
  state.watch.settledAt = time.now
  if (state.drained || !state.watch.hearing) finishSettled(state, outcome, time, out)
}

const onGone = (state: State, evidence: string, time: Time, out: Array<ExecutionEvent>): void => {
  const heard = heardOutcome(state)
  if (heard !== undefined) return finishAs(state, heard, "socket", time, out)
  // A whole connection means the same process: then somebody removed the waiting prompt.
  return state.cancelAsked || (state.whole && !state.started)
    ? finishAs(state, { _tag: "Interrupted" }, "http", time, out)
    : fail(state, { _tag: "Lost", evidence }, "http", time, out)
}

/** What the POST failed of, now that nothing of it is on the server. */
const verdictOfAbsence = (state: State): Reason =>
  state.doubt?.ifAbsent ?? { _tag: "Unreachable", by: "network", status: null, cause: "no answer to the POST" }

const hasEnded = (state: State): boolean => state.phase === "ended"

const onAnswer = (state: State, answer: Answer, time: Time, out: Array<ExecutionEvent>): void => {
  const verdict = RunWatch.answered(state.watch, answer, state.doubt !== undefined, time.now)
  const known = answer._tag !== "NoAnswer" && answer._tag !== "Unknown"
  if (known && state.doubt !== undefined) acceptUnanswered(state, time, out)
  // Frames that were held until now may have told the end.
  if (hasEnded(state)) return
  // Without a whole connection nobody else says it.
  if (answer._tag === "Running" && !state.whole) emitStarted(state, null, time, out)
  if (answer._tag === "Finished") return onFinished(state, answer.outcome, time, out)
  switch (verdict._tag) {
    case "Absent":
      return state.cancelAsked
        ? finishAs(state, { _tag: "Interrupted" }, "http", time, out)
        : fail(state, verdictOfAbsence(state), "http", time, out)
    case "Ambiguous":
      return fail(
        state,
        { _tag: "SubmitAmbiguous", promptId: state.promptId, cause: describe(verdictOfAbsence(state)) },
        "http",
        time,
        out
      )
    case "Gone":
      return onGone(state, verdict.evidence, time, out)
    case "Stuck":
      return fail(state, { _tag: "WorkerStuck", evidence: verdict.evidence }, "http", time, out)
    case "Unreachable":
      return fail(state, verdict.reason, "http", time, out)
    case "Wait":
      return
  }
}

/** A node counts, and has more to do. */
const isStep = (message: ServerMessage): boolean => message._tag === "Progress" && message.value < message.max

const onFrames = (
  state: State,
  messages: ReadonlyArray<ServerMessage>,
  time: Time,
  out: Array<ExecutionEvent>
): void => {
  // What a new connection is told at once is no sign of life of the run.
  if (messages.every((message) => message._tag === "Executing" && message.promptId === null)) {
    RunWatch.hearsAgain(state.watch, time.now)
  } else RunWatch.heard(state.watch, messages.some(isStep), time.now)
  state.connected = true
  if (state.phase === "posting") {
    if (state.held.length + messages.length <= maxHeld) {
      state.held.push(...messages)
      return
    }
    acceptUnanswered(state, time, out)
  } else if (state.phase === "doubted") acceptUnanswered(state, time, out)
  for (const message of messages) if (state.phase === "accepted") onMessage(state, message, time, out)
}

const onTick = (state: State, time: Time, out: Array<ExecutionEvent>): void => {
  const { cancelAt, options, settledAt } = state.watch
  if (state.settled !== undefined && settledAt !== undefined && time.now >= settledAt + options.frameGrace) {
    finishSettled(state, state.settled, time, out)
  } else if (cancelAt !== undefined && time.now >= cancelAt + options.cancelStuck) {
    state.watch.cancelAt = undefined
    out.push({
      _tag: "Warning",
      ...lifecycle(state, time),
      code: "cancel-stuck",
      message: "the cancellation has no effect so far",
      nodeIds: [...state.nodes.running.keys()]
    })
  }
}

/** Takes one input and gives the events it causes. After the ending nothing causes any. */
export const step = (state: State, input: Input, time: Time): ReadonlyArray<ExecutionEvent> => {
  const out: Array<ExecutionEvent> = []
  if (hasEnded(state)) return out
  switch (input._tag) {
    case "Posting":
      if (state.phase !== "unsent") break
      state.phase = "posting"
      state.whole = input.whole
      state.connected = input.whole
      state.seeds = input.seeds
      RunWatch.posting(state.watch, input.whole, time.now)
      break
    case "Accepted":
      if (state.phase === "accepted") break
      state.doubt = undefined
      accept(state, input.promptId, input.number, time, out)
      for (const notice of input.warnings) out.push({ _tag: "Warning", ...lifecycle(state, time), ...notice })
      releaseHeld(state, time, out)
      break
    case "Refused":
      fail(state, input.reason, input.via, time, out)
      break
    case "Doubted":
      if (state.phase !== "posting") break
      state.phase = "doubted"
      state.doubt = input.doubt
      RunWatch.doubted(state.watch, input.doubt.by, time.now)
      if (state.held.length > 0) acceptUnanswered(state, time, out)
      break
    case "Frames":
      onFrames(state, input.messages, time, out)
      break
    case "LinkLost":
      if (state.phase === "accepted" && state.connected) emitGap(state, "socket", time, out)
      state.whole = false
      state.connected = false
      RunWatch.linkLost(state.watch)
      break
    case "Doubtful":
      // Told once: from here on it is HTTP that says how the run ends.
      if (state.phase === "accepted" && state.whole) emitGap(state, "socket", time, out)
      state.whole = false
      break
    case "Asked":
      onAnswer(state, input.answer, time, out)
      break
    case "CancelAsked":
      if (!state.cancelAsked) state.watch.cancelAt = time.now
      state.cancelAsked = true
      break
    case "Removed":
      state.cancelAsked = true
      finishAs(state, { _tag: "Interrupted" }, input.via, time, out)
      break
    case "Closed":
      fail(state, { _tag: "Closed" }, "client", time, out)
      break
    case "Tick":
      onTick(state, time, out)
      break
  }
  return out
}
