/**
 * A server and the network before it, still pure: {@link FakeComfy} with faults. What the shells drive. Besides the
 * inputs of the server it takes commands (`Inject`, `Stall`, `CutSockets` …) and pings.
 */
import * as FakeComfy from "./FakeComfy.ts"
import type { UpgradeAction } from "./FaultData.ts"
import { answer, answerLater, changed, complete, decide, losePatience } from "./internal/answers.ts"
import { breakAnswers, comfy, cut, emit, kill, restart } from "./internal/between.ts"
import {
  type Decision,
  type Held,
  hold,
  type Input,
  type Output,
  type Slowness,
  type SocketChoice,
  stall,
  type State
} from "./internal/faultyState.ts"
import { Flaps, type Turn } from "./internal/flaps.ts"
import { sendPlain, shuffleOut } from "./internal/frames.ts"
import { RequestLog, type RequestRecord } from "./internal/requestLog.ts"
import { Strikes } from "./internal/strikes.ts"
import { Trouble } from "./internal/trouble.ts"

export type { Input, Output, RequestRecord, Slowness, SocketChoice, State }

/** A server that has just been started, without a fault, at monotonic time 0. */
export const init = (options: FakeComfy.Options = {}): State => {
  const strikes = new Strikes(options.seed ?? 1)
  const trouble = new Trouble(strikes)
  const comfy = FakeComfy.init(options)
  comfy.trouble = trouble
  return {
    comfy,
    strikes,
    trouble,
    flaps: new Flaps(),
    log: new RequestLog(),
    held: [],
    deadlines: [],
    now: 0,
    stalledUntil: undefined,
    down: 0,
    conns: new Map(),
    out: []
  }
}

type HttpRequest = Extract<FakeComfy.Input, { readonly _tag: "HttpRequest" }>

/** A request, and what the faults make of it before the server sees it. */
const request = (state: State, input: HttpRequest): void => {
  const { body, headers, id, method, path } = input
  const query = path.indexOf("?")
  state.log.add(state.now, input, id)
  if (state.down > 0) {
    answer(state, { _tag: "HttpAborted", id, reason: "refused" })
    return
  }
  const info = { method, path: query < 0 ? path : path.slice(0, query), target: path, headers, body }
  const decision = decide(state, id, info)
  const { main } = decision
  if (decision.delay > 0) hold(state, state.now + decision.delay, { _tag: "Input", input, decision })
  else if (state.stalledUntil !== undefined && main?._tag !== "Respond" && main?._tag !== "DropRequest") {
    hold(state, state.now, { _tag: "Input", input, decision })
  } else deliver(state, input, decision)
}

const deliver = (state: State, input: HttpRequest, decision: Decision): void => {
  const { main } = decision
  if (main?._tag === "DropRequest") answer(state, { _tag: "HttpAborted", id: input.id, reason: "reset" })
  else if (main?._tag === "Kill" && !main.done) kill(state)
  else if (main?._tag === "Respond") {
    const given = changed({ _tag: "HttpResponse", id: input.id, ...complete(main.response) }, decision)
    if (given !== undefined) answerLater(state, given, decision.hold)
  } else if (main?._tag !== "Hang" || main.done) comfy(state, input, input.id, decision)
}

const upgradeOutcome = (outputs: ReadonlyArray<Output>): number | "aborted" => {
  for (const output of outputs) {
    if (output._tag === "SocketAccepted") return 101
    if (output._tag === "SocketRefused") return output.status
  }
  return "aborted"
}

const clientIdOf = (path: string): string => {
  const query = path.indexOf("?")
  return query < 0 ? "" : new URLSearchParams(path.slice(query)).get("clientId") ?? ""
}

const openSocket = (state: State, input: Extract<FakeComfy.Input, { readonly _tag: "SocketOpen" }>): void => {
  const { conn, headers, path } = input
  const record = state.log.add(state.now, { method: "GET", path, headers, body: new Uint8Array(0) })
  const action: UpgradeAction | undefined = state.down > 0 ? { _tag: "Reset" } : state.strikes.onUpgrade(state.now)
  switch (action?._tag) {
    case "Hang":
      return
    case "Reset":
      record.outcome = "aborted"
      state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
      return
    case "Refuse":
      record.outcome = action.response.status
      state.out.push({ _tag: "SocketRefused", conn, ...complete(action.response) })
      return
  }
  state.conns.set(conn, {
    clientId: clientIdOf(path),
    halfOpen: false,
    lastFrameAt: 0,
    activeAt: state.now,
    gathered: [],
    gathering: 0,
    sent: []
  })
  const [, outputs] = FakeComfy.step(state.comfy, { ...input, now: state.now })
  record.outcome = upgradeOutcome(outputs)
  if (action?._tag !== "Deaf") return emit(state, outputs)
  emit(state, outputs.filter((output) => output._tag !== "SocketSend" || output.conn !== conn))
  comfy(state, { _tag: "Deafen", conn, now: state.now })
}

const chosen = (state: State, which: SocketChoice): ReadonlyArray<number> =>
  FakeComfy.snapshot(state.comfy).sockets
    .filter((socket) => which.clientId === undefined || socket.clientId === which.clientId)
    .map((socket) => socket.conn)

const touch = (state: State, conn: number): void => {
  const known = state.conns.get(conn)
  if (known !== undefined) known.activeAt = state.now
}

const command = (state: State, input: Input): void => {
  const { now } = state
  switch (input._tag) {
    case "HttpRequest":
      request(state, input)
      break
    case "SocketOpen":
      openSocket(state, input)
      break
    case "SocketFrame":
      touch(state, input.conn)
      if (state.conns.get(input.conn)?.halfOpen === false) comfy(state, input)
      break
    case "SocketClose":
      if (state.conns.get(input.conn)?.halfOpen === true) break
      state.conns.delete(input.conn)
      comfy(state, input)
      break
    case "SocketPing":
      touch(state, input.conn)
      if (state.conns.get(input.conn)?.halfOpen === false) state.out.push({ _tag: "SocketPong", conn: input.conn })
      break
    case "HttpGone":
      state.log.forget(input.id)
      break
    case "Inject":
      state.strikes.inject(input.id, input.fault, now)
      if (input.fault._tag === "Flap") state.flaps.inject(input.id, input.fault, now)
      break
    case "Heal":
      state.strikes.heal(input.id)
      for (const turn of state.flaps.heal(input.id)) turned(state, turn)
      break
    case "CutSockets":
      for (const conn of chosen(state, input.which)) cut(state, conn)
      break
    case "DeafenSockets":
      for (const conn of chosen(state, input.which)) comfy(state, { _tag: "Deafen", conn, now })
      break
    case "HalfOpenSockets":
      for (const conn of chosen(state, input.which)) {
        const known = state.conns.get(conn)
        if (known !== undefined) known.halfOpen = true
        if (input.serverNoticesMs !== undefined) {
          const close: Input = { _tag: "SocketClose", conn, code: 1006, now }
          hold(state, now + input.serverNoticesMs, { _tag: "Input", input: close, decision: undefined })
        }
      }
      break
    case "SendFrames":
      for (const conn of chosen(state, input.which)) sendPlain(state, conn, input.frames)
      break
    case "Wipe":
      state.comfy.files.clear(input.folder)
      break
    case "Stall":
      stall(state, input.ms)
      break
    case "Kill":
      kill(state)
      break
    case "Restart":
      restart(state)
      break
    default:
      comfy(state, input)
  }
}

/** Something that comes and goes has gone, or is back. */
const turned = (state: State, { down, until, what }: Turn): void => {
  switch (what) {
    case "stall":
      if (down) stall(state, until - state.now)
      else state.stalledUntil = undefined
      break
    case "process":
      if (down) kill(state)
      else if (!state.comfy.up) restart(state)
      break
    case "network":
      state.down += down ? 1 : -1
      if (down) {
        breakAnswers(state)
        for (const conn of state.conns.keys()) cut(state, conn)
      }
      if (down === state.down > 0) state.out.push({ _tag: "Reachable", reachable: !down && state.comfy.up })
      break
  }
}

/** When a proxy cuts the next socket because nothing passes over it. */
const idleAt = (state: State): number | undefined => {
  const idleMs = state.strikes.idleMs("socketsMs", state.now)
  if (idleMs === undefined) return undefined
  let next: number | undefined
  for (const conn of state.conns.values()) {
    const at = conn.activeAt + idleMs
    if (next === undefined || at < next) next = at
  }
  return next
}

const release = (state: State, { what }: Held): void => {
  switch (what._tag) {
    case "Output": {
      const { output } = what
      if (output._tag === "HttpResponse" || output._tag === "HttpAborted") answer(state, output)
      else if (output._tag !== "SocketSend" && output._tag !== "SocketRaw") state.out.push(output)
      else if (state.conns.get(output.conn)?.halfOpen === false) {
        touch(state, output.conn)
        state.out.push(output)
      }
      return
    }
    case "Shuffled": {
      const conn = state.conns.get(what.conn)
      if (conn?.gathering === what.gathering) shuffleOut(state, what.conn, conn)
      return
    }
    case "Input": {
      const { decision, input } = what
      if (input._tag === "HttpRequest" && decision !== undefined) deliver(state, input, decision)
      else if (input._tag === "SocketClose" && state.conns.get(input.conn)?.halfOpen === true) {
        state.conns.delete(input.conn)
        comfy(state, input)
      } else command(state, input)
    }
  }
}

const least = (...times: ReadonlyArray<number | undefined>): number | undefined => {
  let out: number | undefined
  for (const time of times) if (time !== undefined && (out === undefined || time < out)) out = time
  return out
}

/** When the network does something by itself: it does not stand still while the server does. */
const networkWake = (state: State): number | undefined =>
  least(state.deadlines[0]?.at, state.flaps.next(), idleAt(state))

const serverWake = (state: State): number | undefined => {
  const wake = least(state.held[0]?.at, FakeComfy.nextWake(state.comfy))
  return wake === undefined || state.stalledUntil === undefined ? wake : Math.max(wake, state.stalledUntil)
}

/** Lets everything happen that is due by `now`, in the order of its times. */
const advance = (state: State, now: number): void => {
  for (;;) {
    const network = networkWake(state)
    const next = least(network, serverWake(state))
    if (next === undefined || next > now) break
    state.now = Math.max(state.now, next)
    if (state.stalledUntil !== undefined && state.stalledUntil <= state.now) state.stalledUntil = undefined
    if (network === next) {
      losePatience(state)
      for (const turn of state.flaps.turn(state.now)) turned(state, turn)
      for (const id of state.flaps.takeEnded()) state.strikes.heal(id)
      const idleMs = state.strikes.idleMs("socketsMs", state.now) ?? Number.POSITIVE_INFINITY
      for (const [conn, { activeAt }] of state.conns) if (activeAt + idleMs <= state.now) cut(state, conn)
      continue
    }
    const held = state.held[0]
    const wake = FakeComfy.nextWake(state.comfy)
    if (held !== undefined && (wake === undefined || held.at <= wake)) {
      state.held.shift()
      release(state, held)
    } else comfy(state, { _tag: "Tick", now: state.now })
  }
  state.now = Math.max(state.now, now)
  if (state.stalledUntil !== undefined && state.stalledUntil <= state.now) state.stalledUntil = undefined
}

/** What a stalled server does not hold up: the network before it, and whoever stands behind it. */
const immediate = new Set<Input["_tag"]>([
  "HttpRequest",
  "HttpGone",
  "Kill",
  "Restart",
  "Inject",
  "Heal",
  "Stall",
  "Wipe"
])

/** As {@link FakeComfy.step}, faults included. */
export const step = (state: State, input: Input): readonly [State, ReadonlyArray<Output>] => {
  state.out = []
  const now = Math.max(state.now, input.now)
  advance(state, now)
  if (state.stalledUntil !== undefined && !immediate.has(input._tag)) {
    // Its turn has come already: it waits for the end of the stall, whenever that is.
    if (input._tag !== "Tick") hold(state, now, { _tag: "Input", input, decision: undefined })
  } else {
    command(state, input)
    advance(state, now)
  }
  const { out } = state
  state.out = []
  return [state, out]
}

/** When a `Tick` is wanted; undefined while there is nothing to wait for. */
export const nextWake = (state: State): number | undefined => least(networkWake(state), serverWake(state))

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
  /** Whether connections get through to the process, if there is one. */
  readonly reachable: boolean
  /** Whether every node fails with a CUDA error. */
  readonly poisoned: boolean
}

/** As {@link FakeComfy.snapshot}, with what the faults hold. */
export const snapshot = (state: State): Snapshot => ({
  ...FakeComfy.snapshot(state.comfy),
  faults: state.strikes.count(state.now),
  underWay: state.held.length,
  stalledUntil: state.stalledUntil,
  reachable: state.down === 0,
  poisoned: state.trouble.poisoned
})

/** After how many milliseconds a proxy ends a connection without a request; undefined where none does. */
export const keepAliveMs = (state: State): number | undefined => state.strikes.idleMs("keepAliveMs", state.now)
