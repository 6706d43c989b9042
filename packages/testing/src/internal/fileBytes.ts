// Files of kinds that are not made here: they begin as such a file does, say what they were made from, and cannot be
// played. SVG, JSON, text, GLB and safetensors are whole.
import { concat } from "./bytes.ts"
import { encode } from "./pyJson.ts"

const join = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => concat(parts)

const bytes = (...values: ReadonlyArray<number>): Uint8Array => Uint8Array.from(values)
const word = (value: number): Uint8Array => bytes(value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24)
const bigWord = (value: number): Uint8Array => word(value).toReversed()

const box = (name: string, content: Uint8Array): Uint8Array => join(bigWord(content.length + 8), encode(name), content)

const mp4 = (content: Uint8Array): Uint8Array =>
  join(box("ftyp", join(encode("isom"), bigWord(512), encode("isommp41"))), box("mdat", content))

const riff = (form: string, chunk: string, content: Uint8Array): Uint8Array => {
  const padded = content.length % 2 === 0 ? content : join(content, bytes(0))
  return join(encode("RIFF"), word(padded.length + 12), encode(form), encode(chunk), word(content.length), padded)
}

/** A scene without anything in it; the key is its generator. */
const glb = (key: string): Uint8Array => {
  const text = JSON.stringify({ asset: { version: "2.0", generator: key }, scene: 0, scenes: [{}] })
  const json = encode(text.padEnd(Math.ceil(text.length / 4) * 4))
  return join(encode("glTF"), word(2), word(json.length + 20), word(json.length), encode("JSON"), json)
}

const safetensors = (key: string): Uint8Array => {
  const header = encode(JSON.stringify({ __metadata__: { key } }))
  return join(word(header.length), word(0), header)
}

const svg = (key: string): Uint8Array =>
  encode(`<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><title>${key}</title></svg>\n`)

const heads: Readonly<Record<string, ReadonlyArray<number>>> = {
  webm: [0x1a, 0x45, 0xdf, 0xa3],
  mkv: [0x1a, 0x45, 0xdf, 0xa3],
  flac: [0x66, 0x4c, 0x61, 0x43],
  mp3: [0x49, 0x44, 0x33, 4, 0, 0, 0, 0, 0, 0],
  opus: [0x4f, 0x67, 0x67, 0x53],
  ogg: [0x4f, 0x67, 0x67, 0x53],
  gif: [0x47, 0x49, 0x46, 0x38, 0x39, 0x61],
  jpg: [0xff, 0xd8, 0xff, 0xe0],
  exr: [0x76, 0x2f, 0x31, 0x01]
}

/** A file of that extension, made from what the key says: the same bytes for the same key. */
export const fileBytes = (extension: string, key: string): Uint8Array => {
  const content = encode(key)
  switch (extension) {
    case "mp4":
    case "mov":
      return mp4(content)
    case "webp":
      return riff("WEBP", "XMP ", content)
    case "wav":
      return riff("WAVE", "note", content)
    case "glb":
      return glb(key)
    case "svg":
      return svg(key)
    case "latent":
    case "safetensors":
      return safetensors(key)
    default:
      return join(Uint8Array.from(heads[extension] ?? []), content)
  }
}
