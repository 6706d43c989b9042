// A server and the network before it: what reaches them, what comes out, and what is on its way.
import type * as FakeComfy from "../FakeComfy.ts"
import type { Action, BodyEnd, Fault, Frame, Pace, RawResponse } from "../FaultData.ts"
import type { Flaps } from "./flaps.ts"
import type { RequestLog } from "./requestLog.ts"
import type { Strikes } from "./strikes.ts"
import type { Trouble } from "./trouble.ts"

/** Which sockets a command means: those of a client id, or all. */
export interface SocketChoice {
  readonly clientId?: string | undefined
}

/** What reaches the server or its network. `now` is monotonic, in milliseconds, and never goes back. */
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
  /** These frames go out now, whatever the faults are. */
  | {
    readonly _tag: "SendFrames"
    readonly which: SocketChoice
    readonly frames: ReadonlyArray<Frame>
    readonly now: number
  }
  /** All files of a folder are gone, behind the server's back. */
  | { readonly _tag: "Wipe"; readonly folder: "input" | "output" | "temp"; readonly now: number }
  /** Nothing comes out of the server for so long: no answer, frame or pong; all of it comes at once afterwards. */
  | { readonly _tag: "Stall"; readonly ms: number; readonly now: number }

/** How the bytes of an answer come, where they do not come at once. */
export interface Slowness {
  /** Milliseconds over which the head comes. */
  readonly headersMs: number
  /** Milliseconds over which the body comes, after the head. */
  readonly bodyMs: number
  /** After so many bytes no more come, and the connection stays open. */
  readonly stallAfter: number | undefined
}

/**
 * What comes out: as {@link FakeComfy.Output}, and besides: bodies that break off after `cutAfter` bytes in the way of
 * `cutHow`, slow answers, pongs, bytes that are no frame, and whether anybody listens on the port.
 */
export type Output =
  | (Extract<FakeComfy.Output, { readonly _tag: "HttpResponse" }> & {
    readonly cutAfter?: number
    readonly cutHow?: BodyEnd
    readonly slow?: Slowness
  })
  | Exclude<FakeComfy.Output, { readonly _tag: "HttpResponse" }>
  | { readonly _tag: "SocketPong"; readonly conn: number }
  | { readonly _tag: "SocketRaw"; readonly conn: number; readonly bytes: Uint8Array }
  | { readonly _tag: "Reachable"; readonly reachable: boolean }

/** What the faults make of one request. */
export interface Decision {
  /** Milliseconds until the server sees it. */
  readonly delay: number
  /** Milliseconds until its answer goes out; undefined: before what the request caused. */
  readonly hold: number | undefined
  readonly headersMs: number
  readonly pace: Pace | undefined
  readonly padTo: number
  readonly main: MainAction | undefined
}

/** An action that leaves no room for others: not one of those that add up. */
export type MainAction = Exclude<
  Action,
  { readonly _tag: "DelayRequest" | "HoldAnswer" | "SlowHeaders" | "SlowBody" | "PadBody" | "AnswerWithin" }
>

type Deferred =
  | { readonly _tag: "Output"; readonly output: Output }
  | { readonly _tag: "Input"; readonly input: Input; readonly decision: Decision | undefined }
  /** Frames that were gathered to be shuffled go out. */
  | { readonly _tag: "Shuffled"; readonly conn: number; readonly gathering: number }

export interface Held {
  readonly at: number
  readonly what: Deferred
}

interface Gathered {
  readonly frame: string | Uint8Array
  readonly delay: number
}

export interface ConnState {
  readonly clientId: string
  halfOpen: boolean
  /** No frame may overtake one that is still on its way. */
  lastFrameAt: number
  /** When something last passed, in either direction. */
  activeAt: number
  /** Frames that wait to be shuffled, and which gathering that is. */
  gathered: Array<Gathered>
  gathering: number
  /** What was sent, while a fault may want it again. */
  sent: Array<string | Uint8Array>
}

/** Changed in place by `step`, as the server's own state is. */
export interface State {
  readonly comfy: FakeComfy.State
  readonly strikes: Strikes
  readonly trouble: Trouble
  readonly flaps: Flaps
  readonly log: RequestLog
  /** What is on its way, in the order of its times. */
  held: Array<Held>
  /** When a proxy loses patience, in the order of these times. */
  deadlines: Array<{ readonly at: number; readonly id: number; readonly response: RawResponse }>
  now: number
  stalledUntil: number | undefined
  /** How many faults keep the network down. */
  down: number
  readonly conns: Map<number, ConnState>
  out: Array<Output>
}

export const hold = (state: State, at: number, what: Deferred): void => {
  let index = state.held.length
  while (index > 0 && (state.held[index - 1]?.at ?? 0) > at) index--
  state.held.splice(index, 0, { at, what })
}

/** Nothing comes out for so long; of several such times the longest counts. */
export const stall = (state: State, ms: number): void => {
  if (ms > 0) state.stalledUntil = Math.max(state.stalledUntil ?? 0, state.now + ms)
}
