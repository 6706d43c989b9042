// The way of a frame from the server to its client, through the faults on frames.
import * as Option from "effect/Option"
import type { Frame, FrameAction } from "../FaultData.ts"
import { type ConnState, hold, type Output, type State } from "./faultyState.ts"
import { type Dict, isDict, type Py } from "./py.ts"
import { dumpsSafe, loads } from "./pyJson.ts"

/** What is sent in the place of one frame; `then` ends the connection or the process behind it. */
interface Piece {
  readonly frame: Frame
  readonly delay: number
  readonly shuffle: { readonly window: number; readonly withinMs: number } | undefined
}

/** What becomes of the connection after a frame. */
type Fate = "cut" | "kill" | undefined

const maxSent = 2_000

const setAt = (value: Py, path: ReadonlyArray<string>, member: Py | undefined): Py => {
  const [key, ...rest] = path
  if (key === undefined || !isDict(value)) return value
  const out: Dict = new Map(value)
  if (rest.length > 0) {
    const below = out.get(key)
    if (below !== undefined) out.set(key, setAt(below, rest, member))
  } else if (member === undefined) out.delete(key)
  else out.set(key, member)
  return out
}

const withField = (frame: string | Uint8Array, path: ReadonlyArray<string>, json: string | undefined) => {
  if (typeof frame !== "string") return frame
  const value = Option.getOrUndefined(loads(frame))
  const member = json === undefined ? undefined : Option.getOrElse(loads(json), () => null)
  return value === undefined ? frame : dumpsSafe(setAt(value, path, member))
}

const changedFrame = (frame: string | Uint8Array, action: FrameAction): string | Uint8Array | undefined => {
  switch (action._tag) {
    case "Truncate":
      return frame.slice(0, action.length)
    case "SetField":
      return withField(frame, action.path, action.json)
    case "OmitField":
      return withField(frame, action.path, undefined)
    case "EditFrame":
      return action.edit(frame)
    case "Drop":
      return undefined
    default:
      return frame
  }
}

const act = (piece: Piece, frame: string | Uint8Array, action: FrameAction, conn: ConnState): ReadonlyArray<Piece> => {
  const other = (one: Frame): Piece => ({ ...piece, frame: one })
  switch (action._tag) {
    case "Delay":
      return [{ ...piece, delay: piece.delay + action.ms }]
    case "Duplicate":
      return [piece, ...Array.from({ length: action.copies }, () => piece)]
    case "Reorder":
      return [{ ...piece, shuffle: action }]
    case "Insert": {
      const frames = action.frames.map(other)
      return action.where === "before" ? [...frames, piece] : action.where === "after" ? [piece, ...frames] : frames
    }
    case "Replay":
      return [piece, ...conn.sent.splice(0).map(other)]
    default: {
      const given = changedFrame(frame, action)
      return given === undefined ? [] : [other(given)]
    }
  }
}

type Sent = Extract<Output, { readonly _tag: "SocketSend" | "SocketRaw" }>

const outputOf = (conn: number, frame: Frame): Sent => {
  if (typeof frame === "string") return { _tag: "SocketSend", conn, frame }
  return "_tag" in frame
    ? { _tag: "SocketRaw", conn, bytes: frame.bytes }
    : { _tag: "SocketSend", conn, frame: Uint8Array.from(frame) }
}

const put = (state: State, conn: ConnState, output: Sent, delay: number): void => {
  const at = Math.max(state.now + delay, conn.lastFrameAt)
  if (at <= state.now) {
    conn.activeAt = state.now
    state.out.push(output)
    return
  }
  conn.lastFrameAt = at
  hold(state, at, { _tag: "Output", output })
}

/** Sends what was gathered, shuffled. */
export const shuffleOut = (state: State, id: number, conn: ConnState): void => {
  const { gathered } = conn
  conn.gathered = []
  conn.gathering++
  for (let i = gathered.length - 1; i > 0; i--) {
    const j = Math.floor(state.strikes.random() * (i + 1))
    const [a, b] = [gathered[i], gathered[j]]
    if (a === undefined || b === undefined) continue
    gathered[i] = b
    gathered[j] = a
  }
  for (const { delay, frame } of gathered) put(state, conn, outputOf(id, frame), delay)
}

const gather = (state: State, id: number, conn: ConnState, piece: Piece, frame: string | Uint8Array): void => {
  const { delay, shuffle } = piece
  conn.gathered.push({ frame, delay })
  if (shuffle === undefined || conn.gathered.length >= shuffle.window) shuffleOut(state, id, conn)
  else if (conn.gathered.length === 1) {
    hold(state, state.now + shuffle.withinMs, { _tag: "Shuffled", conn: id, gathering: conn.gathering })
  }
}

/** Frames without any fault. */
export const sendPlain = (state: State, id: number, frames: ReadonlyArray<Frame>): void => {
  const conn = state.conns.get(id)
  if (conn === undefined || conn.halfOpen) return
  for (const frame of frames) put(state, conn, outputOf(id, frame), 0)
}

/** One frame through all faults, in the order of their injection. */
export const sendFrame = (state: State, sent: Extract<Sent, { readonly _tag: "SocketSend" }>): Fate => {
  const { conn: id, frame } = sent
  const conn = state.conns.get(id)
  if (conn === undefined || conn.halfOpen) return undefined
  const strikes = state.strikes.onFrames(state.now)
  if (strikes.length === 0 && conn.gathered.length === 0) {
    put(state, conn, sent, 0)
    return undefined
  }
  if (strikes.some(({ action }) => action._tag === "Replay")) {
    conn.sent.push(frame)
    if (conn.sent.length > maxSent) conn.sent.shift()
  }
  let pieces: ReadonlyArray<Piece> = [{ frame, delay: 0, shuffle: undefined }]
  for (const { action, strikes: strike } of strikes) {
    const next: Array<Piece> = []
    for (const piece of pieces) {
      const given = piece.frame
      if ((typeof given === "object" && "_tag" in given) || !strike(given)) next.push(piece)
      else if (action._tag === "CutSocket") return "cut"
      else if (action._tag === "KillServer") return "kill"
      else next.push(...act(piece, given, action, conn))
    }
    pieces = next
  }
  for (const piece of pieces) {
    const given = piece.frame
    if (piece.shuffle !== undefined && !(typeof given === "object" && "_tag" in given)) {
      gather(state, id, conn, piece, given)
      continue
    }
    // What is not shuffled is not overtaken by what is: it bounds how far a frame moves.
    if (conn.gathered.length > 0) shuffleOut(state, id, conn)
    put(state, conn, outputOf(id, given), piece.delay)
  }
  return undefined
}
