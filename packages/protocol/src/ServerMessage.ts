/**
 * What a server says on its socket, as plain objects with a `_tag`, and the way there and back:
 * {@link decodeBatch} and {@link encode}. No frame is an error: what does not parse is `Malformed`, what is not known
 * is `Extension` or `UnknownBinary`, and nothing of it is thrown away.
 *
 * Text messages carry the parsed frame as `raw`, or null where the frame was proved to hold nothing but the known
 * members. Binary ones carry the frame. Treat all of it as immutable: messages share records and views.
 */
import type { Json, JsonObject } from "@effect-comfyui/workflow/Json"
import type { Frame, ImageType } from "./Frame.ts"
import { decodeAll, init } from "./internal/decode.ts"
import { writeBinary } from "./internal/writeBinary.ts"
import { writeText } from "./internal/writeText.ts"

/** Everything a socket can bring. */
export type ServerMessage =
  | TextMessage
  | Preview
  | ProgressText
  | UnknownBinary
  | Malformed

/** The messages that came as JSON. */
export type TextMessage =
  | Status
  | FeatureFlags
  | ExecutionStart
  | ExecutionCached
  | ProgressState
  | Executing
  | Progress
  | Executed
  | ExecutionSuccess
  | ExecutionError
  | ExecutionInterrupted
  | Logs
  | Extension

/** `queueRemaining` counts prompts pending and running; `sid` is this socket's client id, in the first frame only. */
export interface Status {
  readonly _tag: "Status"
  readonly queueRemaining: number | null
  readonly sid: string | null
  readonly raw: JsonObject | null
}

/** The server's flags (§2.2), sent in answer to a client whose first text frame was its own flags. */
export interface FeatureFlags {
  readonly _tag: "FeatureFlags"
  readonly flags: JsonObject
  readonly raw: JsonObject | null
}

/** The worker took this prompt. `timestamp` in epoch milliseconds, on the server's clock. */
export interface ExecutionStart {
  readonly _tag: "ExecutionStart"
  readonly promptId: string
  readonly timestamp: number | null
  readonly raw: JsonObject | null
}

/** The nodes that need not run. Sent once per prompt, often with no nodes. */
export interface ExecutionCached {
  readonly _tag: "ExecutionCached"
  readonly promptId: string
  readonly nodes: ReadonlyArray<string>
  readonly timestamp: number | null
  readonly raw: JsonObject | null
}

/** How far one node is, as the wire has it; `value` and `max` in steps of the node's own. */
export type ProgressNode = {
  readonly value: number
  readonly max: number
  readonly state: "pending" | "running" | "finished" | "error" | (string & {})
  readonly node_id?: string
  readonly prompt_id?: string
  readonly display_node_id?: string | null
  readonly parent_node_id?: string | null
  readonly real_node_id?: string | null
}

/** A snapshot of all nodes of a prompt that have begun: the set of running nodes, also when several run at once. */
export interface ProgressState {
  readonly _tag: "ProgressState"
  readonly promptId: string
  readonly nodes: Readonly<Record<string, ProgressNode>>
  readonly raw: JsonObject | null
}

/**
 * A node begins, or, with `node` null, the prompt has ended and its history entry exists. The one that a fresh socket
 * may get about a running prompt has no `promptId`.
 */
export interface Executing {
  readonly _tag: "Executing"
  readonly promptId: string | null
  readonly node: string | null
  readonly displayNode: string | null
  readonly raw: JsonObject | null
}

/** One step of a node; fractions are possible, and NaN from custom nodes. */
export interface Progress {
  readonly _tag: "Progress"
  readonly promptId: string | null
  readonly node: string | null
  readonly value: number
  readonly max: number
  readonly raw: JsonObject | null
}

/** A node's UI output; null for a cached output node that had none. */
export interface Executed {
  readonly _tag: "Executed"
  readonly promptId: string
  readonly node: string
  readonly displayNode: string | null
  readonly output: JsonObject | null
  readonly raw: JsonObject | null
}

/** The prompt succeeded; its history entry follows within milliseconds, at the latest before `Executing{node: null}`. */
export interface ExecutionSuccess {
  readonly _tag: "ExecutionSuccess"
  readonly promptId: string
  readonly timestamp: number | null
  readonly raw: JsonObject | null
}

/**
 * A node raised. With `blocked` it is only the warning of an ExecutionBlocker: the run goes on, and may succeed.
 * Absent texts are "", absent lists are empty; `currentInputs` is whatever the server shows of the node's inputs.
 */
export interface ExecutionError {
  readonly _tag: "ExecutionError"
  readonly promptId: string
  readonly nodeId: string | null
  readonly nodeType: string | null
  readonly exceptionType: string
  readonly exceptionMessage: string
  readonly traceback: ReadonlyArray<string>
  readonly executed: ReadonlyArray<string>
  readonly currentInputs: Json
  readonly currentOutputs: ReadonlyArray<string>
  readonly timestamp: number | null
  readonly blocked: boolean
  readonly raw: JsonObject | null
}

/** The prompt was interrupted. The node named here usually never ran. */
export interface ExecutionInterrupted {
  readonly _tag: "ExecutionInterrupted"
  readonly promptId: string
  readonly nodeId: string | null
  readonly nodeType: string | null
  readonly executed: ReadonlyArray<string>
  readonly timestamp: number | null
  readonly raw: JsonObject | null
}

/** A line of the server's log: `t` is local ISO time without a zone, `m` the text with its colours. */
export type LogEntry = {
  readonly t: string
  readonly m: string
}

/** Log lines, for sockets that subscribed (§1.7); `size` is the server's terminal, in characters. */
export interface Logs {
  readonly _tag: "Logs"
  readonly entries: ReadonlyArray<LogEntry>
  readonly size: { readonly cols: number; readonly rows: number } | null
  readonly raw: JsonObject | null
}

/** Third-party and newer types, and core types whose data has another shape; `data` is null where the frame has none. */
export interface Extension {
  readonly _tag: "Extension"
  readonly type: string
  readonly data: Json
  readonly raw: JsonObject | null
}

/** What a preview with metadata says of its origin; `raw` is all of it. */
export interface PreviewMetadata {
  readonly nodeId: string
  readonly promptId: string
  readonly displayNodeId: string | null
  readonly parentNodeId: string | null
  readonly realNodeId: string | null
  readonly raw: JsonObject
}

/**
 * A preview, or a final image of SaveImageWebsocket. Without `metadata` (type 1) nothing says which prompt it belongs
 * to, and it may be another client's. `image` is a view of the frame. {@link encode} writes `frame` unless it is null.
 */
export interface Preview {
  readonly _tag: "Preview"
  readonly imageType: ImageType
  readonly image: Uint8Array
  readonly metadata: PreviewMetadata | null
  readonly frame: Uint8Array | null
}

/**
 * A line of text from a node, see `NodeText`; `promptId` only where the server negotiated it. Bytes that are no UTF-8
 * are U+FFFD here and whole in `frame`. {@link encode} writes `frame` unless it is null.
 */
export interface ProgressText {
  readonly _tag: "ProgressText"
  readonly node: string
  readonly promptId: string | null
  readonly text: string
  readonly frame: Uint8Array | null
}

/** A binary frame of a kind that no release of the server sends. */
export interface UnknownBinary {
  readonly _tag: "UnknownBinary"
  readonly kind: number
  readonly frame: Uint8Array
}

/** Text that is no JSON, JSON that is no message, or a binary frame that ends too early. */
export interface Malformed {
  readonly _tag: "Malformed"
  readonly kind: "json" | "shape" | "binary"
  /** At most 200 characters of the text, or of the bytes in hexadecimal. */
  readonly excerpt: string
  readonly frame: Frame
}

/** How type 3 frames are laid out: with a prompt id in front iff the server advertises it (never guessed). */
export interface DecodeFlags {
  readonly progressTextMetadata: boolean
}

/**
 * Frames to messages, in order, without effects; never throws. A `progress_state` that a later one of the same prompt
 * in this batch supersedes is dropped unparsed, so the result may be shorter. Without `flags` the layout of type 3
 * frames follows the `FeatureFlags` that the batch itself brings.
 */
export const decodeBatch = (frames: ReadonlyArray<Frame>, flags?: DecodeFlags): Array<ServerMessage> =>
  decodeAll(init(flags, false), frames)

/** {@link decodeBatch} with the memory of one connection. */
export interface Decoder {
  readonly decodeBatch: (frames: ReadonlyArray<Frame>) => Array<ServerMessage>
}

/**
 * A decoder for one connection. It remembers the server's flags, and the text and the records of the finished nodes of
 * the latest `progress_state` (at most 4 Mi characters; a longer state is parsed anew each time): as every such frame
 * repeats all of them, one of 1,000 nodes costs a tenth of its `JSON.parse`. Of the latest `progress` it remembers all
 * but the value. The messages are those of {@link decodeBatch}, but `raw` is null more often.
 */
export const makeDecoder = (flags?: DecodeFlags): Decoder => {
  const state = init(flags, true)
  return { decodeBatch: (frames) => decodeAll(state, frames) }
}

/**
 * The frame of a message. One that was decoded keeps every member and digit it came with, also unknown ones; members
 * that were changed since are laid over it. One built by hand (`raw` or `frame` null) is written as the server would.
 */
export const encode = (message: ServerMessage): Frame => {
  switch (message._tag) {
    case "Preview":
    case "ProgressText":
      return writeBinary(message)
    case "UnknownBinary":
    case "Malformed":
      return message.frame
    default:
      return writeText(message)
  }
}
