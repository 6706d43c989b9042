// The sockets as the server sees them: a table by client id, the newest one of an id, and feature flags per id.
import * as Option from "effect/Option"
import { doom } from "./lifecycle.ts"
import { type Dict, dict, isDict, type Py } from "./py.ts"
import { dumps, dumpsSafe, encode, loads, quote } from "./pyJson.ts"
import { hex, type State } from "./state.ts"

/** aiohttp closes a socket whose client sends more than this in one frame. */
const maxFrameBytes = 4 * 1024 * 1024

const sendTo = (state: State, conn: number, frame: string | Uint8Array<ArrayBuffer>): void => {
  state.out.push({ _tag: "SocketSend", conn, frame })
}

/** Sends a frame to one client id, or to everyone; `make` runs only if somebody gets it. */
export const publish = (state: State, sid: string | undefined, make: () => string | Uint8Array<ArrayBuffer>): void => {
  if (state.doom !== undefined) return
  if (sid !== undefined) {
    const conn = state.sockets.get(sid)
    if (conn !== undefined) sendTo(state, conn, make())
    return
  }
  if (state.sockets.size === 0) return
  const frame = make()
  for (const conn of state.sockets.values()) {
    sendTo(state, conn, typeof frame === "string" ? frame : frame.slice())
  }
}

/** An event whose data is made of plain values; what JSON cannot hold ends the process, if anybody was to get it. */
export const publishEvent = (state: State, sid: string | undefined, type: string, data: Py): void => {
  if (state.doom !== undefined || (sid === undefined ? state.sockets.size === 0 : !state.sockets.has(sid))) return
  const body = dumps(data)
  if (Option.isNone(body)) doom(state, "an event that is not JSON serializable")
  else publish(state, sid, () => `{"type": ${quote(type)}, "data": ${body.value}}`)
}

const queueInfo = (state: State): string =>
  `{"exec_info": {"queue_remaining": ${state.running.size + state.heap.length}}}`

/** Tells everyone how long the queue is. */
export const publishStatus = (state: State): void =>
  publish(state, undefined, () => `{"type": "status", "data": {"status": ${queueInfo(state)}}}`)

/** What this release says it can do. */
export const serverFeatures = (state: State): Dict => {
  const { features } = state.profile
  return dict({
    supports_preview_metadata: true,
    supports_model_type_tags: features.modelTypeTags ? true : undefined,
    max_upload_size: state.settings.maxUploadBytes,
    extension: features.extension ? dict({ manager: dict({ supports_v4: true }) }) : undefined,
    node_replacements: features.nodeReplacements ? true : undefined,
    assets: features.assets ? state.assets !== undefined : undefined
  })
}

/** Whether previews for this client carry metadata; a text is the Python error that odd flags cause. */
export const supportsPreviewMetadata = (
  state: State,
  sid: string | undefined
): boolean | { readonly error: string } => {
  const flags = sid === undefined ? undefined : state.flags.get(sid)
  if (flags === undefined) return false
  if (isDict(flags)) return flags.get("supports_preview_metadata") === true
  const type = flags === null ? "NoneType" : typeof flags === "string" ? "str" : Array.isArray(flags) ? "list" : "int"
  return { error: `'${type}' object has no attribute 'get'` }
}

export const open = (state: State, conn: number, clientId: string): void => {
  const sid = clientId === "" ? hex(state, 32) : clientId
  state.conns.set(conn, { id: conn, sid, first: true })
  state.sockets.delete(sid)
  state.sockets.set(sid, conn)
  state.flags.set(sid, new Map())
  state.out.push({ _tag: "SocketAccepted", conn })
  publish(state, sid, () => `{"type": "status", "data": {"status": ${queueInfo(state)}, "sid": ${quote(sid)}}}`)
  if (state.client === sid && state.lastNode !== undefined) {
    const node = state.lastNode
    publish(state, sid, () => `{"type": "executing", "data": {"node": ${quote(node)}}}`)
  }
}

/** The table entry of the *id* goes, whoever holds it now: the newer socket of the same id is deaf from here on. */
export const close = (state: State, conn: number): void => {
  const known = state.conns.get(conn)
  if (known === undefined) return
  state.conns.delete(conn)
  if (!state.profile.deafAfterOldClose && state.sockets.get(known.sid) !== conn) return
  state.sockets.delete(known.sid)
  state.flags.delete(known.sid)
}

/** Takes a socket out of the table though it stays open: what happened to the second of two sockets of one id. */
export const deafen = (state: State, conn: number): void => {
  const known = state.conns.get(conn)
  if (known !== undefined && state.sockets.get(known.sid) === conn) state.sockets.delete(known.sid)
}

export const receive = (state: State, conn: number, frame: string | Uint8Array): void => {
  const known = state.conns.get(conn)
  if (known === undefined) return
  const size = typeof frame === "string" ? (frame.length > maxFrameBytes / 3 ? encode(frame).length : 0) : frame.length
  if (size > maxFrameBytes) {
    close(state, conn)
    state.out.push({ _tag: "SocketClosed", conn, code: 1006, reason: "" })
    return
  }
  if (typeof frame !== "string" || !known.first) return
  const message = Option.getOrUndefined(loads(frame))
  if (!isDict(message)) return
  known.first = false
  if (message.get("type") !== "feature_flags") return
  state.flags.set(known.sid, message.get("data") ?? (message.has("data") ? null : new Map()))
  publish(state, known.sid, () => `{"type": "feature_flags", "data": ${dumpsSafe(serverFeatures(state))}}`)
}
