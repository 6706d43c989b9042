/**
 * A server and the network before it, still pure: {@link FakeComfy} with faults. What the shells drive. Besides the
 * inputs of the server it takes commands (`Inject`, `Stall`, `CutSockets` …) and pings.
 */
import * as FakeComfy from "./FakeComfy.ts"
import type { Fault } from "./Fault.ts"
import { RequestLog, type RequestRecord } from "./internal/requestLog.ts"
import { changed, complete, type Decision, Strikes } from "./internal/strikes.ts"

export type { RequestRecord }

/** Which sockets a command means: those of a client id, or all. */
export interface SocketChoice {
  readonly clientId?: string | undefined
}

/**
 * What reaches the server or its network. `now` is monotonic, in milliseconds, and never goes back.
 */
export type Input =
  | FakeComfy.Input
  /** A WebSocket ping; a pong comes back unless the connection is half-open or the server stalls. */
  | { readonly _tag: "SocketPing"; readonly conn: number; readonly now: number }
  /** The client has given up waiting for this answer. */
  | { readonly _tag: "HttpGone"; readonly id: number; readonly now: number }
  /** A fault comes into force, under an id that the driver chose. */
  | { readonly _tag: "Inject"; readonly id: number; readonly fault: Fault; readonly now: number }
  /** A fault ends; without id all of them. */
  | { readonly _tag: "Heal"; readonly id?: number | undefined; readonly now: number }
  /** The connection breaks on both sides: close 1006. */
  | { readonly _tag: "CutSockets"; readonly which: SocketChoice; readonly now: number }
  /** The server's table loses the sockets; they stay open and answer pings. */
  | { readonly _tag: "DeafenSockets"; readonly which: SocketChoice; readonly now: number }
  /**
   * Everything on these sockets is lost from now on, pongs and close frames included. The server notices after
   * `serverNoticesMs`, or never; the client by itself.
   */
  | {
    readonly _tag: "HalfOpenSockets"
    readonly which: SocketChoice
    readonly serverNoticesMs?: number | undefined
    readonly now: number
  }
  /** Nothing comes out of the server for so long: no answer, frame or pong; all of it comes at once afterwards. */
  | { readonly _tag: "Stall"; readonly ms: number; readonly now: number }

/** What comes out: as {@link FakeComfy.Output}, bodies that break off after `cutAfter` bytes, and pongs. */
export type Output =
  | (FakeComfy.Output & { readonly _tag: "HttpResponse"; readonly cutAfter?: number })
  | Exclude<FakeComfy.Output, { readonly _tag: "HttpResponse" }>
  | { readonly _tag: "SocketPong"; readonly conn: number }

type Deferred =
  | { readonly _tag: "Output"; readonly output: Output }
  | { readonly _tag: "Input"; readonly input: Input; readonly decision: Decision | undefined }

interface Held {
  readonly at: number
  readonly what: Deferred
}

interface ConnState {
  halfOpen: boolean
  /** No frame may overtake one that is still on its way. */
  lastFrameAt: number
}

/** Changed in place by {@link step}, as the server's own state is. */
export interface State {
  readonly comfy: FakeComfy.State
  readonly strikes: Strikes
  readonly log: RequestLog
  /** What is on its way, in the order of its times. */
  held: Array<Held>
  now: number
  stalledUntil: number | undefined
  readonly conns: Map<number, ConnState>
  out: Array<Output>
}

/** A server that has just been started, without a fault, at monotonic time 0. */
export const init = (options: FakeComfy.Options = {}): State => ({
  comfy: FakeComfy.init(options),
  strikes: new Strikes(options.seed ?? 1),
  log: new RequestLog(),
  held: [],
  now: 0,
  stalledUntil: undefined,
  conns: new Map(),
  out: []
})

const hold = (state: State, at: number, what: Deferred): void => {
  let index = state.held.length
  while (index > 0 && (state.held[index - 1]?.at ?? 0) > at) index--
  state.held.splice(index, 0, { at, what })
}

type Answer = Extract<Output, { readonly _tag: "HttpResponse" | "HttpAborted" }>

const answer = (state: State, output: Answer): void => {
  state.log.close(output.id, output._tag === "HttpResponse" ? output.status : "aborted")
  state.out.push(output)
}

const sendFrame = (state: State, output: Extract<Output, { readonly _tag: "SocketSend" }>): void => {
  const conn = state.conns.get(output.conn)
  if (conn?.halfOpen === true) return
  const delay = state.strikes.onFrame(output.frame, state.now)
  if (delay === undefined) return
  const at = Math.max(state.now + delay, conn?.lastFrameAt ?? 0)
  if (at <= state.now) {
    state.out.push(output)
    return
  }
  if (conn !== undefined) conn.lastFrameAt = at
  hold(state, at, { _tag: "Output", output })
}

const answerLater = (state: State, output: Answer, ms: number | undefined): void => {
  if (ms === undefined) answer(state, output)
  else hold(state, state.now + ms, { _tag: "Output", output })
}

/** Gives on what the server said, changed by what was decided about a request. */
const emit = (state: State, outputs: ReadonlyArray<FakeComfy.Output>, id?: number, decision?: Decision): void => {
  for (const output of outputs) {
    switch (output._tag) {
      case "SocketSend":
        sendFrame(state, output)
        break
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
        const given = changed(output, mine?.main)
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
    if (what._tag === "Output") continue
    const { input } = what
    if (input._tag === "SocketOpen") {
      state.out.push({ _tag: "SocketClosed", conn: input.conn, code: 1006, reason: "" })
    } else if (input._tag === "HttpRequest" && what.decision === undefined) {
      answer(state, { _tag: "HttpAborted", id: input.id, reason: "reset" })
    }
  }
  for (const id of state.log.waiting()) answer(state, { _tag: "HttpAborted", id, reason: "reset" })
}

/** A request, and what the faults make of it. */
const request = (state: State, input: Extract<FakeComfy.Input, { readonly _tag: "HttpRequest" }>): void => {
  const { body, headers, id, method, path } = input
  const cut = path.indexOf("?")
  state.log.add(state.now, input, id)
  const decision = state.strikes.onRequest({
    method,
    path: cut < 0 ? path : path.slice(0, cut),
    target: path,
    headers,
    body
  }, state.now)
  if (decision.delay > 0) hold(state, state.now + decision.delay, { _tag: "Input", input, decision })
  else deliver(state, input, decision)
}

const deliver = (
  state: State,
  input: Extract<FakeComfy.Input, { readonly _tag: "HttpRequest" }>,
  decision: Decision
): void => {
  const { main } = decision
  if (main?._tag === "DropRequest") answer(state, { _tag: "HttpAborted", id: input.id, reason: "reset" })
  else if (main?._tag === "Respond") {
    answerLater(state, { _tag: "HttpResponse", id: input.id, ...complete(main.response) }, decision.hold)
  } else if (main?._tag !== "Hang" || main.done) {
    const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
    emit(state, outputs, input.id, decision)
  }
}

const upgradeOutcome = (outputs: ReadonlyArray<Output>): number | "aborted" => {
  for (const output of outputs) {
    if (output._tag === "SocketAccepted") return 101
    if (output._tag === "SocketRefused") return output.status
  }
  return "aborted"
}

const openSocket = (state: State, input: Extract<FakeComfy.Input, { readonly _tag: "SocketOpen" }>): void => {
  const { conn, headers, path } = input
  const record = state.log.add(state.now, { method: "GET", path, headers, body: new Uint8Array(0) })
  const instead = state.strikes.onUpgrade(state.now)
  if (instead === "reset") {
    record.outcome = "aborted"
    state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
  } else if (instead !== undefined) {
    record.outcome = instead.status
    state.out.push({ _tag: "SocketRefused", conn, ...complete(instead) })
  } else {
    state.conns.set(conn, { halfOpen: false, lastFrameAt: 0 })
    const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
    record.outcome = upgradeOutcome(outputs)
    emit(state, outputs)
  }
}

const chosen = (state: State, which: SocketChoice): ReadonlyArray<number> =>
  FakeComfy.snapshot(state.comfy).sockets
    .filter((socket) => which.clientId === undefined || socket.clientId === which.clientId)
    .map((socket) => socket.conn)

const command = (state: State, input: Input): void => {
  const { now } = state
  const comfy = (inner: FakeComfy.Input): void => emit(state, FakeComfy.step(state.comfy, inner)[1])
  switch (input._tag) {
    case "HttpRequest":
      request(state, input)
      break
    case "SocketOpen":
      openSocket(state, input)
      break
    case "SocketFrame":
      if (state.conns.get(input.conn)?.halfOpen === false) comfy({ ...input, now })
      break
    case "SocketClose": {
      const conn = state.conns.get(input.conn)
      if (conn?.halfOpen === true) break
      state.conns.delete(input.conn)
      comfy({ ...input, now })
      break
    }
    case "SocketPing":
      if (state.conns.get(input.conn)?.halfOpen === false) state.out.push({ _tag: "SocketPong", conn: input.conn })
      break
    case "HttpGone":
      state.log.forget(input.id)
      break
    case "Inject":
      state.strikes.inject(input.id, input.fault, now)
      break
    case "Heal":
      state.strikes.heal(input.id)
      break
    case "CutSockets":
      for (const conn of chosen(state, input.which)) {
        emit(state, [{ _tag: "SocketClosed", conn, code: 1006, reason: "" }])
        comfy({ _tag: "SocketClose", conn, code: 1006, now })
      }
      break
    case "DeafenSockets":
      for (const conn of chosen(state, input.which)) comfy({ _tag: "Deafen", conn, now })
      break
    case "HalfOpenSockets":
      for (const conn of chosen(state, input.which)) {
        const known = state.conns.get(conn)
        if (known !== undefined) known.halfOpen = true
        if (input.serverNoticesMs !== undefined) {
          hold(state, now + input.serverNoticesMs, {
            _tag: "Input",
            input: { _tag: "SocketClose", conn, code: 1006, now },
            decision: undefined
          })
        }
      }
      break
    case "Stall":
      state.stalledUntil = Math.max(state.stalledUntil ?? 0, now + input.ms)
      break
    default:
      comfy({ ...input, now })
  }
}

const release = (state: State, held: Held): void => {
  const { what } = held
  if (what._tag === "Output") {
    const { output } = what
    if (output._tag === "HttpResponse" || output._tag === "HttpAborted") answer(state, output)
    else if (output._tag !== "SocketSend" || state.conns.get(output.conn)?.halfOpen === false) state.out.push(output)
    return
  }
  const { input } = what
  if (input._tag === "HttpRequest" && what.decision !== undefined) deliver(state, input, what.decision)
  else if (input._tag === "SocketClose" && state.conns.get(input.conn)?.halfOpen === true) {
    state.conns.delete(input.conn)
    emit(state, FakeComfy.step(state.comfy, { ...input, now: state.now })[1])
  } else command(state, input)
}

/** Lets everything happen that is due by `now`, in the order of its times. */
const advance = (state: State, now: number): void => {
  for (;;) {
    if (state.stalledUntil !== undefined) {
      if (state.stalledUntil > now) break
      state.now = Math.max(state.now, state.stalledUntil)
      state.stalledUntil = undefined
    }
    const held = state.held[0]
    const wake = FakeComfy.nextWake(state.comfy)
    const next = held !== undefined && (wake === undefined || held.at <= wake) ? held.at : wake
    if (next === undefined || next > now) break
    state.now = Math.max(state.now, next)
    if (held !== undefined && held.at === next) {
      state.held.shift()
      release(state, held)
    } else emit(state, FakeComfy.step(state.comfy, { _tag: "Tick", now: state.now })[1])
  }
  state.now = Math.max(state.now, now)
}

const immediate = new Set<Input["_tag"]>(["Kill", "Restart", "Inject", "Heal", "Stall"])

/** As {@link FakeComfy.step}, faults included. */
export const step = (state: State, input: Input): readonly [State, ReadonlyArray<Output>] => {
  state.out = []
  const now = Math.max(state.now, input.now)
  advance(state, now)
  if (state.stalledUntil !== undefined && !immediate.has(input._tag)) {
    if (input._tag !== "Tick") hold(state, state.stalledUntil, { _tag: "Input", input, decision: undefined })
  } else {
    if (input._tag === "Kill" || input._tag === "Restart") state.stalledUntil = undefined
    command(state, input)
    advance(state, now)
  }
  const { out } = state
  state.out = []
  return [state, out]
}

/** When a `Tick` is wanted; undefined while there is nothing to wait for. */
export const nextWake = (state: State): number | undefined => {
  const held = state.held[0]?.at
  const wake = FakeComfy.nextWake(state.comfy)
  const next = held === undefined ? wake : wake === undefined ? held : Math.min(held, wake)
  return next === undefined || state.stalledUntil === undefined ? next : Math.max(next, state.stalledUntil)
}

/** The last 1,000 requests, upgrades to a socket among them, oldest first; copies. */
export const requests = (state: State): ReadonlyArray<Readonly<RequestRecord>> => state.log.list()

/** A look at a server and at the network before it. */
export interface Snapshot extends FakeComfy.Snapshot {
  /** Faults that may still strike: neither healed, nor used up, nor over. */
  readonly faults: number
  /** Frames, answers and requests that are held back. */
  readonly underWay: number
  /** Monotonic milliseconds; undefined unless the server stalls. */
  readonly stalledUntil: number | undefined
}

/** As {@link FakeComfy.snapshot}, with what the faults hold. */
export const snapshot = (state: State): Snapshot => ({
  ...FakeComfy.snapshot(state.comfy),
  faults: state.strikes.count(state.now),
  underWay: state.held.length,
  stalledUntil: state.stalledUntil
})
