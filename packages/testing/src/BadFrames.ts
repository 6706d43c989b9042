/**
 * Frames that no server should send, to be put among a real server's own: `Fault.insertFrames(match, [BadFrames.…])`, or
 * at once with `server.sendFrames`. Each is what its name says and nothing worse.
 */
import type { Frame } from "./FaultData.ts"

const text = (type: string, data: unknown): string => JSON.stringify({ type, data })

const words = (...parts: ReadonlyArray<number | Uint8Array>): Uint8Array<ArrayBuffer> => {
  const size = parts.reduce<number>((total, part) => total + (typeof part === "number" ? 4 : part.length), 0)
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const part of parts) {
    if (typeof part === "number") view.setUint32(at, part)
    else bytes.set(part, at)
    at += typeof part === "number" ? 4 : part.length
  }
  return bytes
}

const encoder = new TextEncoder()

// ---- JSON

/** Not JSON at all. */
export const malformedJson = "{\"type\": \"progress\", \"data\": {\"value\": 1,"
/** JSON, but no object. */
export const notAnObject = "[1, 2, 3]"
/** An object without a type. */
export const noType = "{\"data\": {}}"
/** An event of a type that nobody knows. */
export const unknownEvent: string = text("comfy.nobody_knows", { value: 1 })
/** An event without data. */
export const noData = (type: string): string => JSON.stringify({ type })
/** An event whose data lacks every member. */
export const missingFields = (type: string): string => text(type, {})
/** An event whose members have other types than ever. */
export const wrongTypes = (type: string, promptId: string): string =>
  text(type, { prompt_id: promptId, node: 7, value: "many", max: null, nodes: "all", output: 1, timestamp: "now" })
/** JSON of so many characters, in one string. */
export const oversizedText = (characters: number): string => text("comfy.large", { text: "x".repeat(characters) })
/** `executing` as old releases and reconnects have it: without a prompt's id. */
export const executingWithoutPrompt = (node: string | null): string => text("executing", { node })

/** The events of a whole run of one node, of a prompt and perhaps of a client that is not ours. */
export const foreignRun = (promptId: string, node = "1"): ReadonlyArray<string> => [
  text("execution_start", { prompt_id: promptId, timestamp: 0 }),
  text("execution_cached", { nodes: [], prompt_id: promptId, timestamp: 0 }),
  text("executing", { node, display_node: node, prompt_id: promptId }),
  text("progress", { value: 1, max: 2, prompt_id: promptId, node }),
  text("executed", { node, display_node: node, output: { images: [] }, prompt_id: promptId }),
  text("execution_success", { prompt_id: promptId, timestamp: 0 }),
  text("executing", { node: null, prompt_id: promptId })
]

// ---- Binary

/** Fewer bytes than an event number has. */
export const shortBinary: Uint8Array = Uint8Array.of(0, 0, 1)
/** No bytes at all. */
export const emptyBinary: Uint8Array = new Uint8Array(0)
/** An event number that nobody knows. */
export const unknownBinary: Uint8Array = words(77, encoder.encode("who knows"))
/** A preview (1) of an image format that does not exist, whose bytes are no image. */
export const badImageHeader: Uint8Array = words(1, 99, encoder.encode("no image"))
/** A preview (1) that ends within its format. */
export const truncatedPreview: Uint8Array = words(1, Uint8Array.of(0, 0))
/** A text (3) whose node id is longer than the frame. */
export const textIdTooLong: Uint8Array = words(3, 1_000, encoder.encode("1"))
/** A preview with metadata (4) whose metadata is longer than the frame. */
export const metadataTooLong: Uint8Array = words(4, 0x7fffffff, encoder.encode("{}"))
/** A preview with metadata (4) that is not JSON. */
export const metadataNoJson: Uint8Array = words(4, 4, encoder.encode("{no}"), Uint8Array.of(0xff, 0xd8, 0xff))

/** All frames above that carry a message, for loops over everything malformed. */
export const malformed: ReadonlyArray<string | Uint8Array> = [
  malformedJson,
  notAnObject,
  noType,
  unknownEvent,
  noData("progress"),
  missingFields("executing"),
  missingFields("progress_state"),
  shortBinary,
  emptyBinary,
  unknownBinary,
  badImageHeader,
  truncatedPreview,
  textIdTooLong,
  metadataTooLong,
  metadataNoJson
]

// ---- WebSocket framing, for real sockets

const raw = (...bytes: ReadonlyArray<number>): Frame => ({ _tag: "Raw", bytes: Uint8Array.from(bytes) })

/** A text frame with a mask, which no server may send. */
export const masked: Frame = raw(0x81, 0x82, 1, 2, 3, 4, 0x41 ^ 1, 0x42 ^ 2)
/** A text frame with a reserved bit. */
export const reservedBit: Frame = raw(0xc1, 0x02, 0x41, 0x42)
/** A frame of an opcode that does not exist. */
export const reservedOpcode: Frame = raw(0x83, 0x02, 0x41, 0x42)
/** A text frame that is no UTF-8. */
export const badUtf8: Frame = raw(0x81, 0x02, 0xc3, 0x28)
/** The head of a text frame of 4 GiB, and no more. */
export const hugeLength: Frame = raw(0x81, 0x7f, 0, 0, 0, 1, 0, 0, 0, 0)
/** A continuation of nothing. */
export const strayContinuation: Frame = raw(0x80, 0x01, 0x41)

/** The head of a text frame of 100 bytes, and three of them: nothing is wrong until the connection ends. */
export const unfinished: Frame = raw(0x81, 100, 0x7b, 0x22, 0x74)

/** All of WebSocket's own rules that a server can break, one each. */
export const brokenFraming: ReadonlyArray<Frame> = [
  masked,
  reservedBit,
  reservedOpcode,
  badUtf8,
  hugeLength,
  strayContinuation
]
