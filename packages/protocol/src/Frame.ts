/**
 * One frame of the socket as the transport gives it, and the layout of binary ones: unsigned 32-bit big-endian words,
 * then text or an image. Every read is checked against the end of the frame.
 */

/** A text frame is a string, a binary one its bytes (a view: do not write into it). */
export type Frame = string | Uint8Array

/** First words of binary frames. 2 never appears on the wire; custom nodes use their own, such as 99. */
export const Kind = { preview: 1, unencodedPreview: 2, text: 3, previewWithMetadata: 4 } as const

/** The big-endian word at this byte offset; undefined if the frame ends before it does. */
export const word = (bytes: Uint8Array, offset: number): number | undefined => {
  const [a, b, c, d] = [bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]]
  return a === undefined || b === undefined || c === undefined || d === undefined
    ? undefined
    : a * 0x1000000 + (b << 16) + (c << 8) + d
}

/** A piece of a frame, and the offset of the byte after it. */
export interface Piece {
  readonly bytes: Uint8Array
  readonly end: number
}

/** The bytes behind a length word at this offset (a view); undefined if the word or the bytes go beyond the frame. */
export const piece = (bytes: Uint8Array, offset: number): Piece | undefined => {
  const length = word(bytes, offset)
  if (length === undefined) return undefined
  const end = offset + 4 + length
  return end > bytes.length ? undefined : { bytes: bytes.subarray(offset + 4, end), end }
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const encoder = new TextEncoder()

/** UTF-8 to text; bytes that are none become U+FFFD. */
export const text = (bytes: Uint8Array): string => decoder.decode(bytes)

/** Text to UTF-8; a lone surrogate becomes U+FFFD. */
export const utf8 = (text: string): Uint8Array => encoder.encode(text)

const stateOpening = `{"type": "progress_state", "data": {"prompt_id": "`
const stateNodes = `", "nodes": {`
/** The last node, the nodes, the data, the frame. */
const stateEnd = utf8("}}}}")
/** Longer than any opening with an id of up to 128 characters. */
const maxStateHead = 256

/**
 * What all `progress_state` frames of one prompt begin with, from the bytes of a text frame; undefined for any other
 * frame. Each repeats what the ones before it said: of several that wait, only the last is worth reading.
 */
export const stateHead = (bytes: Uint8Array): string | undefined => {
  if (stateEnd.some((byte, index) => bytes[bytes.length - stateEnd.length + index] !== byte)) return undefined
  const start = text(bytes.subarray(0, maxStateHead))
  if (!start.startsWith(stateOpening)) return undefined
  const quote = start.indexOf(`"`, stateOpening.length)
  return quote > 0 && start.startsWith(stateNodes, quote) ? start.slice(0, quote + stateNodes.length) : undefined
}

/** A binary frame out of words (numbers, taken modulo 2^32) and bytes, in order. */
export const concat = (...parts: ReadonlyArray<number | Uint8Array>): Uint8Array => {
  const out = new Uint8Array(parts.reduce<number>((sum, part) => sum + (typeof part === "number" ? 4 : part.length), 0))
  const view = new DataView(out.buffer)
  let offset = 0
  for (const part of parts) {
    if (typeof part === "number") view.setUint32(offset, part)
    else out.set(part, offset)
    offset += typeof part === "number" ? 4 : part.length
  }
  return out
}

const startsWith = (bytes: Uint8Array, offset: number, signature: ReadonlyArray<number>): boolean =>
  signature.every((byte, index) => bytes[offset + index] === byte)

/** The two image types of previews. */
export type ImageType = "image/jpeg" | "image/png"

/** The type of the image that starts at this byte, by its signature. */
export const imageTypeAt = (bytes: Uint8Array, offset: number): ImageType | undefined =>
  startsWith(bytes, offset, [0xff, 0xd8, 0xff])
    ? "image/jpeg"
    : startsWith(bytes, offset, [0x89, 0x50, 0x4e, 0x47])
    ? "image/png"
    : undefined
