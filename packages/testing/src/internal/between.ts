// What goes between a server and its network: inputs as it takes them, and what it says, through the faults.
import * as FakeComfy from "../FakeComfy.ts"
import { answer, answerLater, changed } from "./answers.ts"
import { type Decision, stall, type State } from "./faultyState.ts"
import { sendFrame } from "./frames.ts"

/** The server by itself takes an input; what it says goes on its way. */
export const comfy = (state: State, input: FakeComfy.Input, id?: number, decision?: Decision): void => {
  const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
  const busyMs = state.trouble.takeStall()
  emit(state, outputs, id, decision)
  stall(state, busyMs)
}

/** The connection breaks on both sides. */
export const cut = (state: State, conn: number): void => {
  if (state.conns.get(conn)?.halfOpen === false) {
    state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
  }
  state.conns.delete(conn)
  comfy(state, { _tag: "SocketClose", conn, code: 1006, now: state.now })
}

export const kill = (state: State): void => {
  state.stalledUntil = undefined
  comfy(state, { _tag: "Kill", now: state.now })
}

export const restart = (state: State): void => {
  kill(state)
  state.trouble.reborn()
  comfy(state, { _tag: "Restart", now: state.now })
  if (state.down === 0) state.out.push({ _tag: "Reachable", reachable: true })
}

/** Gives on what the server said, changed by what was decided about a request. */
export const emit = (
  state: State,
  outputs: ReadonlyArray<FakeComfy.Output>,
  id?: number,
  decision?: Decision
): void => {
  for (const output of outputs) {
    switch (output._tag) {
      case "SocketSend": {
        const fate = sendFrame(state, output)
        if (fate === "kill") return kill(state)
        if (fate === "cut") cut(state, output.conn)
        break
      }
      case "SocketClosed":
        if (state.conns.get(output.conn)?.halfOpen !== true) state.out.push(output)
        state.conns.delete(output.conn)
        break
      case "SocketRefused":
        state.conns.delete(output.conn)
        state.out.push(output)
        break
      case "HttpResponse": {
        const mine = output.id === id ? decision : undefined
        if (mine?.main?._tag === "Kill") return kill(state)
        const given = mine === undefined ? output : changed(output, mine)
        if (given !== undefined) answerLater(state, given, mine?.hold)
        break
      }
      case "HttpAborted":
        answer(state, output)
        break
      case "Crash":
        breakHeld(state)
        state.out.push(output)
        break
      case "SocketAccepted":
        state.out.push(output)
        break
    }
  }
}

/** What was on its way from a dead process never comes, nor what was on its way to it. */
const breakHeld = (state: State): void => {
  const { held } = state
  state.held = []
  for (const { what } of held) {
    if (what._tag !== "Input") continue
    const { input } = what
    if (input._tag === "SocketOpen") {
      state.out.push({ _tag: "SocketClosed", conn: input.conn, code: 1006, reason: "" })
    }
  }
  breakAnswers(state)
}

export const breakAnswers = (state: State): void => {
  for (const id of state.log.waiting()) answer(state, { _tag: "HttpAborted", id, reason: "reset" })
}
