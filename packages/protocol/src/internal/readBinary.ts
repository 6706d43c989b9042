// A binary frame to its message: every length is checked, whatever does not fit is Malformed.
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Frame from "../Frame.ts"
import type { DecodeFlags, Malformed, PreviewMetadata, ServerMessage } from "../ServerMessage.ts"

const malformed = (kind: Malformed["kind"], frame: Uint8Array): Malformed => ({
  _tag: "Malformed",
  kind,
  excerpt: Array.from(frame.subarray(0, 100), (byte) => byte.toString(16).padStart(2, "0")).join(""),
  frame
})

/** How far into a frame a signature is looked for: some packs write a header of their own before the image. */
const maxHeader = 64

/** Where the image begins: at its signature, else behind the word that core writes. */
const imageOffset = (frame: Uint8Array): number => {
  for (let offset = 8; offset < maxHeader && offset < frame.length; offset++) {
    if (Frame.imageTypeAt(frame, offset) !== undefined) return offset
  }
  return 8
}

const preview = (frame: Uint8Array): ServerMessage => {
  if (frame.length <= 8) return malformed("binary", frame)
  const offset = imageOffset(frame)
  return {
    _tag: "Preview",
    imageType: Frame.imageTypeAt(frame, offset) ?? (Frame.word(frame, 4) === 2 ? "image/png" : "image/jpeg"),
    image: frame.subarray(offset),
    metadata: null,
    frame
  }
}

const text = (object: Json.JsonObject, key: string): string | null => {
  const value = Json.get(object, key)
  return typeof value === "string" ? value : null
}

const metadataOf = (raw: Json.JsonObject): PreviewMetadata | undefined => {
  const nodeId = text(raw, "node_id")
  const promptId = text(raw, "prompt_id")
  return nodeId === null || promptId === null ? undefined : {
    nodeId,
    promptId,
    displayNodeId: text(raw, "display_node_id"),
    parentNodeId: text(raw, "parent_node_id"),
    realNodeId: text(raw, "real_node_id"),
    raw
  }
}

const previewWithMetadata = (frame: Uint8Array): ServerMessage => {
  const piece = Frame.piece(frame, 4)
  if (piece === undefined) return malformed("binary", frame)
  const json = Json.parse(Frame.text(piece.bytes))
  if (Result.isFailure(json)) return malformed("json", frame)
  const metadata = Json.isObject(json.success) ? metadataOf(json.success) : undefined
  if (metadata === undefined) return malformed("shape", frame)
  const image = frame.subarray(piece.end)
  const declared = text(metadata.raw, "image_type")
  return {
    _tag: "Preview",
    imageType: Frame.imageTypeAt(image, 0) ?? (declared === "image/png" ? "image/png" : "image/jpeg"),
    image,
    metadata,
    frame
  }
}

const progressText = (frame: Uint8Array, flags: DecodeFlags): ServerMessage => {
  const promptId = flags.progressTextMetadata ? Frame.piece(frame, 4) : { bytes: null, end: 4 }
  const node = promptId === undefined ? undefined : Frame.piece(frame, promptId.end)
  return promptId === undefined || node === undefined ? malformed("binary", frame) : {
    _tag: "ProgressText",
    node: Frame.text(node.bytes),
    promptId: promptId.bytes === null ? null : Frame.text(promptId.bytes),
    text: Frame.text(frame.subarray(node.end)),
    frame
  }
}

export const readBinary = (frame: Uint8Array, flags: DecodeFlags): ServerMessage => {
  const kind = Frame.word(frame, 0)
  switch (kind) {
    case undefined:
      return malformed("binary", frame)
    case Frame.Kind.preview:
      return preview(frame)
    case Frame.Kind.text:
      return progressText(frame, flags)
    case Frame.Kind.previewWithMetadata:
      return previewWithMetadata(frame)
    default:
      return { _tag: "UnknownBinary", kind, frame }
  }
}
