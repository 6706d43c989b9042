/** The decode half of a recording: whatever the server said is read, and written again without a loss. */
import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import * as Frame from "@effect-comfyui/protocol/Frame"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import { canonical, equal } from "./Exact.ts"
import { messageOf } from "./Facts.ts"
import type { Outcome } from "./Outcome.ts"
import { bodyOf, type Exchange, exchanges, frameOf, type Recording } from "./Recording.ts"

/** Core's text frames: each has a tag of its own, which a frame of that type must get. */
const coreTags: ReadonlyMap<string, ServerMessage.ServerMessage["_tag"]> = new Map([
  ["status", "Status"],
  ["feature_flags", "FeatureFlags"],
  ["execution_start", "ExecutionStart"],
  ["execution_cached", "ExecutionCached"],
  ["progress_state", "ProgressState"],
  ["executing", "Executing"],
  ["progress", "Progress"],
  ["executed", "Executed"],
  ["execution_success", "ExecutionSuccess"],
  ["execution_error", "ExecutionError"],
  ["execution_interrupted", "ExecutionInterrupted"],
  ["logs", "Logs"]
])

/** What core always puts into such a frame; a custom node's frame of the same type without it is an extension. */
const isCore = (type: string, data: Json.JsonObject): boolean => {
  switch (type) {
    case "feature_flags":
      return true
    case "status":
      return Json.isObject(Json.get(data, "status"))
    case "logs":
      return Array.isArray(Json.get(data, "entries"))
    case "executing":
      return Object.hasOwn(data, "node")
    case "progress":
      return Object.hasOwn(data, "value") && Object.hasOwn(data, "max")
    default:
      return typeof Json.get(data, "prompt_id") === "string"
  }
}

const textTag = (text: string): ServerMessage.ServerMessage["_tag"] | undefined => {
  const message = messageOf(text)
  if (message === undefined) return undefined
  const tag = coreTags.get(message.type)
  return tag === undefined || !isCore(message.type, message.data) ? "Extension" : tag
}

/** By the first word of a binary frame. */
const binaryTag = (bytes: Uint8Array): ServerMessage.ServerMessage["_tag"] | undefined => {
  switch (Frame.word(bytes, 0)) {
    case Frame.Kind.preview:
    case Frame.Kind.previewWithMetadata:
      return bytes.length < 8 ? undefined : "Preview"
    case Frame.Kind.text:
      return bytes.length < 8 ? undefined : "ProgressText"
    default:
      return undefined
  }
}

const expectedTag = (frame: Frame.Frame) => typeof frame === "string" ? textTag(frame) : binaryTag(frame)

/** What is wrong with a message, given the frame that it was read from. */
export const lossOf = (frame: Frame.Frame, message: ServerMessage.ServerMessage): string | undefined => {
  const expected = expectedTag(frame)
  if (expected !== undefined && message._tag !== expected) return `read as ${message._tag}, not as ${expected}`
  const encoded = ServerMessage.encode(message)
  if (typeof frame === "string" && typeof encoded === "string") {
    if (canonical(frame) === undefined) return frame === encoded ? undefined : "other text"
    return equal(frame, encoded) ? undefined : "lost a member or a digit"
  }
  return typeof frame !== "string" && typeof encoded !== "string" && Buffer.compare(frame, encoded) === 0
    ? undefined
    : "other bytes"
}

const asText = (body: string | Uint8Array): string => typeof body === "string" ? body : Frame.text(body)

const sameBody = (a: string | Uint8Array, b: string | Uint8Array): boolean =>
  typeof a === "string" || typeof b === "string" ? asText(a) === asText(b) : Buffer.compare(a, b) === 0

/** What is wrong with the reading of an answer; undefined also for what no endpoint says. */
export const lossOfAnswer = ({ answer, request }: Exchange): string | undefined => {
  const match = Endpoint.match(request.method, request.path)
  if (match === undefined || answer === undefined || answer.aborted === true) return undefined
  const body = bodyOf(answer)
  const decoded = Endpoint.decodeAnswer(match.endpoint, answer.status, answer.headers, body)
  if (Result.isFailure(decoded)) {
    const { excerpt, expected, path } = decoded.failure
    return `${match.name} ${answer.status}: ${expected} at ${path.join("/") || "the root"}, found ${excerpt}`
  }
  const encoded = Endpoint.encodeAnswer(decoded.success)
  const same = decoded.success.kind === "json" ? equal(asText(body), asText(encoded)) : sameBody(body, encoded)
  return same ? undefined : `${match.name} ${answer.status}: lost a member or a digit`
}

const frameLosses = ({ lines }: Recording): ReadonlyArray<string> => {
  const decoders = new Map<string, ServerMessage.Decoder>()
  return lines.flatMap((line, index) => {
    const frame = frameOf(line)
    if (frame === undefined || !("dir" in line) || line.dir !== "in") return []
    const decoder = decoders.get(line.conn) ?? ServerMessage.makeDecoder()
    decoders.set(line.conn, decoder)
    // Alone, and by a decoder that remembers the frames of this connection.
    const messages = [...ServerMessage.decodeBatch([frame]), ...decoder.decodeBatch([frame])]
    const losses = messages.map((message) => lossOf(frame, message)).filter((loss) => loss !== undefined)
    const count = messages.length === 2 ? [] : [`${messages.length} messages of two readings`]
    return [...count, ...losses].map((loss) => `line ${index + 1}: ${loss}`)
  })
}

/** Reads every frame and every answer of a known endpoint, and writes them again. */
export const decodeCase = (recording: Recording): Outcome => {
  const all = exchanges(recording)
  const answers = all.flatMap((exchange) => {
    const loss = lossOfAnswer(exchange)
    return loss === undefined ? [] : [`line ${exchange.endAt + 1}: ${loss}`]
  })
  const problems = [...frameLosses(recording), ...answers]
  const frames = recording.lines.filter((line) => "dir" in line && line.dir === "in").length
  const answered = all.filter(({ answer }) => answer !== undefined).length
  return problems.length === 0
    ? { _tag: "Passed", detail: `${frames} frames, ${answered} answers` }
    : { _tag: "Failed", detail: problems.slice(0, 5).join("; ") }
}
