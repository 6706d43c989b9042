// Uploads: multipart bodies, the rules of names, and masks.
import * as Option from "effect/Option"
import { decodePng, encodePng } from "../ImageFile.ts"
import { channel, fromSamples, rgb, type Samples } from "../Picture.ts"
import { refusesWrite } from "./afflict.ts"
import { addAsset, contentHash } from "./assets.ts"
import { type FolderType, inside } from "./files.ts"
import { empty, json, type Request, type Response, serverError } from "./http.ts"
import { dict, isDict, type Py } from "./py.ts"
import { encode, loadsBytes } from "./pyJson.ts"
import { type State, wallMs } from "./state.ts"
import { isFolderType, locate } from "./view.ts"

interface Part {
  readonly name: string
  readonly filename: string | undefined
  readonly body: Uint8Array
}

const find = (body: Uint8Array, pattern: Uint8Array, from: number): number => {
  const first = pattern[0] ?? 0
  outer: for (let at = body.indexOf(first, from); at >= 0; at = body.indexOf(first, at + 1)) {
    if (at + pattern.length > body.length) return -1
    for (let i = 1; i < pattern.length; i++) if (body[at + i] !== pattern[i]) continue outer
    return at
  }
  return -1
}

const latin = new TextDecoder("utf-8")

const parameter = (header: string, name: string): string | undefined => {
  const match = new RegExp(`(?:^|;)\\s*${name}="((?:[^"\\\\]|\\\\.)*)"|(?:^|;)\\s*${name}=([^;\\s]+)`, "i").exec(header)
  const value = match?.[1] ?? match?.[2]
  return value?.replace(/\\(.)/g, "$1")
}

/** The parts of a multipart body; undefined if it is none. Of a body that breaks off, the whole parts. */
export const multipart = (request: Request): ReadonlyArray<Part> | undefined => {
  const type = request.headers["content-type"] ?? ""
  const boundary = parameter(type, "boundary")
  if (!/^multipart\//i.test(type) || boundary === undefined) return undefined
  const { body } = request
  const mark = encode(`--${boundary}`)
  const parts: Array<Part> = []
  let at = find(body, mark, 0)
  while (at >= 0) {
    const start = at + mark.length
    if (body[start] === 45 && body[start + 1] === 45) break
    const next = find(body, encode(`\r\n--${boundary}`), start)
    const blank = find(body, encode("\r\n\r\n"), start)
    if (blank < 0 || next < 0 || blank > next) break
    const head = latin.decode(body.subarray(start + 2, blank))
    const disposition = head.split("\r\n").find((line) => /^content-disposition:/i.test(line)) ?? ""
    const name = parameter(disposition, "name")
    if (name !== undefined) {
      parts.push({ name, filename: parameter(disposition, "filename"), body: body.slice(blank + 4, next) })
    }
    at = next + 2
  }
  return parts
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index])

export const field = (parts: ReadonlyArray<Part>, name: string): string | undefined => {
  const part = parts.find((one) => one.name === name)
  return part === undefined ? undefined : latin.decode(part.body)
}

interface Target {
  readonly type: FolderType
  readonly subfolder: string
  readonly name: string
  readonly body: Uint8Array
}

const target = (request: Request): { target: Target; parts: ReadonlyArray<Part> } | Response => {
  const parts = multipart(request)
  if (parts === undefined) return empty(400)
  const part = parts.find((one) => one.name === "image")
  if (part === undefined) return empty(400)
  // aiohttp takes a part without a filename for a text field, which has no `file`.
  if (part.filename === undefined || part.filename === "") return serverError
  const type = field(parts, "type") ?? "input"
  if (!isFolderType(type)) return serverError
  const subfolder = inside(field(parts, "subfolder") ?? "")
  const path = subfolder === undefined || part.filename.startsWith("/")
    ? undefined
    : inside(join(subfolder, part.filename))
  if (subfolder === undefined || path === undefined || path === "") return empty(400)
  if (subfolder !== "" && !path.startsWith(`${subfolder}/`)) return empty(400)
  return { target: { type, subfolder, name: part.filename, body: part.body }, parts }
}

const join = (folder: string, name: string): string => (folder === "" ? name : `${folder}/${name}`)

const freeName = (state: State, at: Target, overwrite: boolean, body: Uint8Array): { name: string; write: boolean } => {
  if (overwrite) return { name: at.name, write: true }
  const dot = at.name.lastIndexOf(".")
  const stem = dot > 0 ? at.name.slice(0, dot) : at.name
  const extension = dot > 0 ? at.name.slice(dot) : ""
  let name = at.name
  for (let i = 1;; i++) {
    const known = state.files.get(at.type, join(at.subfolder, name))
    if (Option.isNone(known)) return { name, write: true }
    if (sameBytes(known.value.bytes, body)) return { name, write: false }
    name = `${stem} (${i})${extension}`
  }
}

const answer = (state: State, at: Target, name: string, body: Uint8Array): Response => {
  const { assets } = state
  const shown = dict({ name, subfolder: at.subfolder, type: at.type })
  if (assets !== undefined) {
    const path = join(at.subfolder, name)
    const asset = addAsset(state, assets, {
      name,
      hash: contentHash(body),
      file: { type: at.type, path, shown: path },
      size: body.length,
      tags: [at.type, "uploaded"]
    })
    shown.set(
      "asset",
      dict({
        id: asset.id,
        name,
        asset_hash: asset.hash,
        size: asset.size,
        mime_type: asset.mime,
        tags: [...asset.tags].toSorted()
      })
    )
  }
  return json(200, shown)
}

const overwrites = (parts: ReadonlyArray<Part>): boolean => {
  const value = field(parts, "overwrite")
  return value === "true" || value === "1"
}

export const uploadImage = (state: State, request: Request): Response => {
  const found = target(request)
  if ("status" in found) return found
  const at = found.target
  const { name, write } = freeName(state, at, overwrites(found.parts), at.body)
  if (write && refusesWrite(state)) return serverError
  if (write) state.files.write(at.type, join(at.subfolder, name), at.body, wallMs(state))
  return answer(state, at, name, at.body)
}

const reference = (parts: ReadonlyArray<Part>): Py | undefined => {
  const part = parts.find((one) => one.name === "original_ref")
  return part === undefined ? undefined : Option.getOrUndefined(loadsBytes(part.body))
}

/** The alpha of the upload is put on the picture that `original_ref` names. */
export const uploadMask = (state: State, request: Request): Response => {
  const found = target(request)
  if ("status" in found) return found
  const at = found.target
  const original = reference(found.parts)
  if (!isDict(original)) return serverError
  const filename = original.get("filename")
  if (typeof filename !== "string" || filename === "") return empty(400)
  const query = new Map<string, string>([["filename", filename]])
  for (const key of ["subfolder", "type"]) {
    const value = original.get(key)
    if (typeof value === "string") query.set(key, value)
  }
  const source = locate({ ...request, query })
  if (typeof source === "number") return empty(source)
  const file = state.files.get(source.type, source.path)
  if (Option.isNone(file)) return empty(200)
  const picture = decodePng(file.value.bytes)
  const mask = decodePng(at.body)
  if (Option.isNone(picture) || Option.isNone(mask)) return serverError
  const color = rgb(picture.value).samples()
  const alpha = channel(mask.value, 3, false)
  const samples: Samples = new Uint8ClampedArray(picture.value.width * picture.value.height * 4)
  for (let i = 0; i < samples.length / 4; i++) {
    const x = Math.floor(i % picture.value.width * alpha.width / picture.value.width)
    const y = Math.floor(Math.floor(i / picture.value.width) * alpha.height / picture.value.height)
    for (let c = 0; c < 3; c++) samples[i * 4 + c] = color[i * 3 + c] ?? 0
    samples[i * 4 + 3] = alpha.samples()[y * alpha.width + x] ?? 255
  }
  const merged = encodePng(
    fromSamples({ width: picture.value.width, height: picture.value.height, batch: 1, channels: 4 }, samples),
    0
  )
  const { name, write } = freeName(state, at, overwrites(found.parts), merged)
  if (write && refusesWrite(state)) return serverError
  if (write) state.files.write(at.type, join(at.subfolder, name), merged, wallMs(state))
  return answer(state, at, name, merged)
}
