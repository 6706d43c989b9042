/**
 * A server and the network before it, still pure: {@link FakeComfy} with faults. What the shells drive. Besides the
 * inputs of the server it takes commands (`Inject`, `Stall`, `CutSockets` …) and pings.
 */
import * as FakeComfy from "./FakeComfy.ts"
import type { Action, Fault, RawResponse, RequestInfo } from "./Fault.ts"
import { encode } from "./internal/pyJson.ts"

/** Which sockets a command means: those of a client id, or all. */
export interface SocketChoice {
  readonly clientId?: string | undefined
}

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

export type Output =
  | (FakeComfy.Output & { readonly _tag: "HttpResponse"; readonly cutAfter?: number })
  | Exclude<FakeComfy.Output, { readonly _tag: "HttpResponse" }>
  | { readonly _tag: "SocketPong"; readonly conn: number }

interface ActiveFault {
  readonly id: number
  readonly fault: Fault
  readonly until: number
  skip: number
  left: number
}

type Deferred =
  | { readonly _tag: "Output"; readonly output: Output }
  | { readonly _tag: "Input"; readonly input: Input; readonly actions: Actions | undefined }

interface Held {
  readonly at: number
  readonly order: number
  readonly what: Deferred
}

interface ConnState {
  halfOpen: boolean
  /** No frame may overtake one that is still on its way. */
  lastFrameAt: number
}

/** What happens to one request, delays added up. */
interface Actions {
  hold: number | undefined
  main: Exclude<Action, { readonly _tag: "HoldAnswer" | "DelayRequest" }> | undefined
}

/** One request as it was seen before any fault. */
export interface RequestRecord {
  /** Monotonic milliseconds of the server. */
  readonly at: number
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  /** Status of the answer that was sent (101: an upgrade); undefined while there is none, "aborted" if there will be none. */
  outcome: number | "aborted" | undefined
}

/** Changed in place by {@link step}, as the server's own state is. */
export interface State {
  readonly comfy: FakeComfy.State
  faults: Array<ActiveFault>
  held: Array<Held>
  order: number
  random: number
  now: number
  stalledUntil: number | undefined
  readonly conns: Map<number, ConnState>
  /** Answers that are on their way to come: what the faults decided about them. */
  readonly requests: Array<RequestRecord>
  readonly open: Map<number, RequestRecord>
  out: Array<Output>
}

/** Requests that are remembered, and the bytes of each one's body. */
const maxRequests = 1_000
const maxBodyBytes = 64 * 1024

/** @category constructors */
export const init = (options: FakeComfy.Options = {}): State => ({
  comfy: FakeComfy.init(options),
  faults: [],
  held: [],
  order: 0,
  random: (options.seed ?? 1) | 1,
  now: 0,
  stalledUntil: undefined,
  conns: new Map(),
  requests: [],
  open: new Map(),
  out: []
})

const chance = (state: State, probability: number): boolean => {
  state.random = (Math.imul(state.random, 1664525) + 1013904223) | 0
  return (state.random >>> 0) / 4294967296 < probability
}

/** Whether an active fault strikes now; counts it if so. */
const strikes = (state: State, active: ActiveFault): boolean => {
  if (active.left <= 0 || state.now >= active.until) return false
  if (active.skip > 0) {
    active.skip--
    return false
  }
  const { probability } = active.fault.schedule
  if (probability !== undefined && !chance(state, probability)) return false
  active.left--
  return true
}

const hold = (state: State, at: number, what: Deferred): void => {
  const held: Held = { at, order: state.order++, what }
  let index = state.held.length
  while (index > 0 && (state.held[index - 1]?.at ?? 0) > at) index--
  state.held.splice(index, 0, held)
}

const complete = (response: RawResponse): { status: number; headers: Record<string, string>; body: Uint8Array } => {
  const body = typeof response.body === "string" ? encode(response.body) : response.body ?? new Uint8Array(0)
  return { status: response.status, headers: { "content-length": String(body.length), ...response.headers }, body }
}

const answer = (state: State, output: Extract<Output, { readonly _tag: "HttpResponse" | "HttpAborted" }>): void => {
  const record = state.open.get(output.id)
  if (record !== undefined) {
    record.outcome = output._tag === "HttpResponse" ? output.status : "aborted"
    state.open.delete(output.id)
  }
  state.out.push(output)
}

const sendFrame = (state: State, output: Extract<Output, { readonly _tag: "SocketSend" }>): void => {
  const conn = state.conns.get(output.conn)
  if (conn?.halfOpen === true) return
  let delay = 0
  for (const active of state.faults) {
    const { fault } = active
    if (fault._tag !== "OnFrame" || !fault.match(output.frame) || !strikes(state, active)) continue
    if (fault.action === "drop") return
    delay += fault.action.delayMs
  }
  const at = Math.max(state.now + delay, conn?.lastFrameAt ?? 0)
  if (at <= state.now) {
    state.out.push(output)
    return
  }
  if (conn !== undefined) conn.lastFrameAt = at
  hold(state, at, { _tag: "Output", output })
}

/** Gives on what the server said, changed by what was decided about a request. */
const emit = (state: State, outputs: ReadonlyArray<FakeComfy.Output>, id?: number, actions?: Actions): void => {
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
        if (output.id !== id || actions === undefined) {
          answer(state, output)
          break
        }
        const changed = changeAnswer(output, actions.main)
        if (changed === undefined) break
        if (actions.hold === undefined) answer(state, changed)
        else hold(state, state.now + actions.hold, { _tag: "Output", output: changed })
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

/** What was on its way from a dead process never comes. */
const breakHeld = (state: State): void => {
  state.held = []
  for (const id of state.open.keys()) answer(state, { _tag: "HttpAborted", id, reason: "reset" })
}

const changeAnswer = (
  output: Extract<FakeComfy.Output, { readonly _tag: "HttpResponse" }>,
  action: Actions["main"]
): Extract<Output, { readonly _tag: "HttpResponse" | "HttpAborted" }> | undefined => {
  switch (action?._tag) {
    case "DropAnswer":
      return { _tag: "HttpAborted", id: output.id, reason: "reset" }
    case "ReplaceAnswer":
      return { _tag: "HttpResponse", id: output.id, ...complete(action.response) }
    case "Hang":
      return undefined
    case "CutBody":
      return { ...output, cutAfter: action.bytes }
    case "EditAnswer":
      return {
        _tag: "HttpResponse",
        id: output.id,
        ...complete(action.edit({ status: output.status, headers: output.headers, body: output.body }))
      }
    default:
      return output
  }
}

const remember = (state: State, record: RequestRecord): void => {
  state.requests.push(record)
  if (state.requests.length > maxRequests) state.requests.shift()
}

/** Requests, then what the faults make of them. */
const request = (state: State, input: Extract<FakeComfy.Input, { readonly _tag: "HttpRequest" }>): void => {
  const cut = input.path.indexOf("?")
  const record: RequestRecord = {
    at: state.now,
    method: input.method,
    target: input.path,
    headers: input.headers,
    body: input.body.slice(0, maxBodyBytes),
    outcome: undefined
  }
  remember(state, record)
  state.open.set(input.id, record)
  const info: RequestInfo = {
    method: input.method,
    path: cut < 0 ? input.path : input.path.slice(0, cut),
    target: input.path,
    headers: input.headers,
    body: input.body
  }
  const actions: Actions = { hold: undefined, main: undefined }
  let delay = 0
  for (const active of state.faults) {
    const { fault } = active
    if (fault._tag !== "OnRequest" || !fault.match(info)) continue
    const { action } = fault
    if (action._tag !== "HoldAnswer" && action._tag !== "DelayRequest" && actions.main !== undefined) continue
    if (!strikes(state, active)) continue
    if (action._tag === "HoldAnswer") actions.hold = (actions.hold ?? 0) + action.ms
    else if (action._tag === "DelayRequest") delay += action.ms
    else actions.main = action
  }
  if (delay > 0) hold(state, state.now + delay, { _tag: "Input", input, actions })
  else deliver(state, input, actions)
}

const deliver = (
  state: State,
  input: Extract<FakeComfy.Input, { readonly _tag: "HttpRequest" }>,
  actions: Actions
): void => {
  const { main } = actions
  if (main?._tag === "DropRequest") {
    answer(state, { _tag: "HttpAborted", id: input.id, reason: "reset" })
    return
  }
  if (main?._tag === "Hang" && !main.done) return
  if (main?._tag === "Respond") {
    const output: Output = { _tag: "HttpResponse", id: input.id, ...complete(main.response) }
    if (actions.hold === undefined) answer(state, output)
    else hold(state, state.now + actions.hold, { _tag: "Output", output })
    return
  }
  const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
  emit(state, outputs, input.id, actions)
}

const upgradeOutcome = (outputs: ReadonlyArray<Output>): number | "aborted" => {
  for (const output of outputs) {
    if (output._tag === "SocketAccepted") return 101
    if (output._tag === "SocketRefused") return output.status
  }
  return "aborted"
}

const openSocket = (state: State, input: Extract<FakeComfy.Input, { readonly _tag: "SocketOpen" }>): void => {
  const record: RequestRecord = {
    at: state.now,
    method: "GET",
    target: input.path,
    headers: input.headers,
    body: new Uint8Array(0),
    outcome: "aborted"
  }
  remember(state, record)
  for (const active of state.faults) {
    const { fault } = active
    if (fault._tag !== "OnUpgrade" || !strikes(state, active)) continue
    if (fault.response === "reset") {
      state.out.push({ _tag: "SocketClosed", conn: input.conn, code: 1006, reason: "" })
    } else {
      record.outcome = fault.response.status
      state.out.push({ _tag: "SocketRefused", conn: input.conn, ...complete(fault.response) })
    }
    return
  }
  state.conns.set(input.conn, { halfOpen: false, lastFrameAt: 0 })
  const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
  record.outcome = upgradeOutcome(outputs)
  emit(state, outputs)
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
      state.open.delete(input.id)
      break
    case "Inject": {
      const { fault } = input
      const { forMs, skip, times } = fault.schedule
      state.faults.push({
        id: input.id,
        fault,
        until: forMs === undefined ? Number.POSITIVE_INFINITY : now + forMs,
        skip: skip ?? 0,
        left: times ?? Number.POSITIVE_INFINITY
      })
      break
    }
    case "Heal":
      state.faults = input.id === undefined ? [] : state.faults.filter((active) => active.id !== input.id)
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
            actions: undefined
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
  if (input._tag === "HttpRequest" && what.actions !== undefined) deliver(state, input, what.actions)
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
    if (input._tag !== "Tick") hold(state, state.stalledUntil, { _tag: "Input", input, actions: undefined })
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
