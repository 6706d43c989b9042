/** PNG in and out, JPEG out: what the fake writes to its output folder, sends as a preview and reads from uploads. */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as FastPng from "fast-png"
import { type Channels, fromSamples, type Picture, rgb, type Samples } from "./Picture.ts"

/** Pixels that the fake is willing to hold for one uploaded picture: 64 million. */
const maxPixels = 64 * 1024 * 1024

const pngSignature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Width and height as a PNG states them in its first chunk; none for anything that is no PNG. */
export const pngSize = (bytes: Uint8Array): Option.Option<{ readonly width: number; readonly height: number }> => {
  if (bytes.length < 33 || pngSignature.some((byte, index) => bytes[index] !== byte)) return Option.none()
  const data = view(bytes)
  return Option.some({ width: data.getUint32(16), height: data.getUint32(20) })
}

/** One image of a picture as a PNG, with the given text chunks. */
export const encodePng = (picture: Picture, index: number, text: Readonly<Record<string, string>> = {}): Uint8Array =>
  FastPng.encode({
    width: picture.width,
    height: picture.height,
    channels: picture.channels,
    data: picture.image(index),
    text: { ...text }
  }, { zlib: { level: 4 } })

const toEightBit = (decoded: FastPng.DecodedPng): Picture | undefined => {
  if (decoded.palette !== undefined) {
    const palette = decoded.palette
    const alpha = palette.some((entry) => entry.length > 3)
    const channels: Channels = alpha ? 4 : 3
    const count = decoded.width * decoded.height
    const out: Samples = new Uint8ClampedArray(count * channels)
    const perByte = 8 / decoded.depth
    const row = Math.ceil(decoded.width / perByte)
    for (let i = 0; i < count; i++) {
      const x = i % decoded.width
      const byte = decoded.data[Math.floor(i / decoded.width) * row + Math.floor(x / perByte)] ?? 0
      const shift = 8 - decoded.depth * (x % perByte + 1)
      const entry = palette[(byte >> shift) & ((1 << decoded.depth) - 1)] ?? []
      for (let c = 0; c < channels; c++) out[i * channels + c] = entry[c] ?? 255
    }
    return fromSamples({ width: decoded.width, height: decoded.height, batch: 1, channels }, out)
  }
  if (decoded.depth < 8) return undefined
  const pixels = decoded.width * decoded.height
  const alpha = decoded.channels === 2 || decoded.channels === 4
  const channels: Channels = alpha ? 4 : 3
  const out: Samples = new Uint8ClampedArray(pixels * channels)
  const grey = decoded.channels < 3
  const shift = decoded.depth === 16 ? 8 : 0
  for (let i = 0; i < pixels; i++) {
    const from = i * decoded.channels
    for (let c = 0; c < 3; c++) out[i * channels + c] = (decoded.data[grey ? from : from + c] ?? 0) >> shift
    if (alpha) out[i * channels + 3] = (decoded.data[from + decoded.channels - 1] ?? 0) >> shift
  }
  return fromSamples({ width: decoded.width, height: decoded.height, batch: 1, channels }, out)
}

/**
 * A PNG as a picture of three or four channels. None for whatever is no PNG, is broken or claims more than 64 million
 * pixels; the claim is read before anything is unpacked.
 */
export const decodePng = (bytes: Uint8Array): Option.Option<Picture> => {
  const size = pngSize(bytes)
  if (Option.isNone(size)) return Option.none()
  const pixels = size.value.width * size.value.height
  if (pixels === 0 || pixels > maxPixels) return Option.none()
  return Result.getSuccess(Result.try(() => toEightBit(FastPng.decode(bytes)))).pipe(
    Option.flatMap(Option.fromUndefinedOr)
  )
}

// A baseline JPEG whose every 8×8 block has one colour: all that a preview needs, and a sixth of a real encoder.

const dcCodes: ReadonlyArray<readonly [code: number, length: number]> = [
  [0b00, 2],
  [0b010, 3],
  [0b011, 3],
  [0b100, 3],
  [0b101, 3],
  [0b110, 3],
  [0b1110, 4],
  [0b11110, 5],
  [0b111110, 6],
  [0b1111110, 7],
  [0b11111110, 8],
  [0b111111110, 9]
]

const segment = (marker: number, payload: ReadonlyArray<number>): ReadonlyArray<number> => [
  0xff,
  marker,
  (payload.length + 2) >> 8,
  (payload.length + 2) & 255,
  ...payload
]

const zeros = (count: number): ReadonlyArray<number> => Array.from({ length: count }, () => 0)

const jpegHead = (width: number, height: number): ReadonlyArray<number> =>
  [
    [0xff, 0xd8],
    segment(0xe0, [0x4a, 0x46, 0x49, 0x46, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0]),
    segment(0xdb, [0, ...Array.from({ length: 64 }, () => 8)]),
    segment(0xc0, [8, height >> 8, height & 255, width >> 8, width & 255, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]),
    segment(0xc4, [0, 0, 1, 5, 1, 1, 1, 1, 1, 1, ...zeros(7), ...Array.from({ length: 12 }, (_, size) => size)]),
    // One AC code, "end of block".
    segment(0xc4, [0x10, 1, ...zeros(16)]),
    segment(0xda, [3, 1, 0, 2, 0, 3, 0, 0, 63, 0])
  ].flat()

/** One image of a picture as a JPEG in blocks of 8×8 pixels of one colour each. */
export const encodeJpeg = (picture: Picture, index: number): Uint8Array => {
  const { height, width } = picture
  const samples = rgb(picture).image(index)
  const out: Array<number> = [...jpegHead(width, height)]
  let bits = 0
  let count = 0
  const put = (value: number, length: number): void => {
    for (let i = length - 1; i >= 0; i--) {
      bits = (bits << 1) | ((value >> i) & 1)
      if (++count === 8) {
        out.push(bits)
        if (bits === 255) out.push(0)
        bits = 0
        count = 0
      }
    }
  }
  const previous = [0, 0, 0]
  const block = (component: number, level: number): void => {
    const difference = level - (previous[component] ?? 0)
    previous[component] = level
    const size = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1
    const [code, length] = dcCodes[size] ?? [0, 2]
    put(code, length)
    if (size > 0) put(difference > 0 ? difference : difference + (1 << size) - 1, size)
    put(0, 1)
  }
  for (let by = 0; by < height; by += 8) {
    for (let bx = 0; bx < width; bx += 8) {
      let red = 0
      let green = 0
      let blue = 0
      let pixels = 0
      for (let y = by; y < Math.min(by + 8, height); y++) {
        for (let x = bx; x < Math.min(bx + 8, width); x++) {
          const at = (y * width + x) * 3
          red += samples[at] ?? 0
          green += samples[at + 1] ?? 0
          blue += samples[at + 2] ?? 0
          pixels++
        }
      }
      red /= pixels
      green /= pixels
      blue /= pixels
      // A DC step of 8 is one level of the mean, so the levels are the block's colour around 0.
      block(0, Math.round(0.299 * red + 0.587 * green + 0.114 * blue - 128))
      block(1, Math.round(-0.168736 * red - 0.331264 * green + 0.5 * blue))
      block(2, Math.round(0.5 * red - 0.418688 * green - 0.081312 * blue))
    }
  }
  put(0x7f, (8 - count) % 8)
  out.push(0xff, 0xd9)
  return Uint8Array.from(out)
}

/** What the first bytes of a file say it is. */
export const contentType = (name: string): string => {
  const extension = name.slice(name.lastIndexOf(".") + 1).toLowerCase()
  return contentTypes[extension] ?? "application/octet-stream"
}

const contentTypes: Readonly<Record<string, string>> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
  bmp: "image/bmp",
  svg: "image/svg+xml",
  mp4: "video/mp4",
  webm: "video/webm",
  mp3: "audio/mpeg",
  wav: "audio/x-wav",
  flac: "audio/x-flac",
  ogg: "audio/ogg",
  glb: "model/gltf-binary",
  json: "application/json",
  txt: "text/plain",
  html: "text/html",
  css: "text/css",
  js: "text/javascript"
}
