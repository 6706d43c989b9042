// GET /view: files of the three folders, whole, in part or re-encoded.
import * as Option from "effect/Option"
import { contentType, decodePng, encodeJpeg, encodePng } from "../ImageFile.ts"
import { channel, fromSamples, rgb, type Samples } from "../Picture.ts"
import { viewByHash } from "./assets.ts"
import { annotated, type FolderType, inside } from "./files.ts"
import { bytes, empty, type Request, type Response, serverError } from "./http.ts"
import { encode } from "./pyJson.ts"
import type { State } from "./state.ts"
import { httpDate } from "./time.ts"

const folderTypes = new Set<string>(["input", "output", "temp"])

export const isFolderType = (value: string): value is FolderType => folderTypes.has(value)

const rangeOf = (header: string, size: number): readonly [start: number, end: number] | "bad" | undefined => {
  const match = /^bytes=([0-9]*)-([0-9]*)$/.exec(header.trim())
  if (match === null) return undefined
  const [, first = "", last = ""] = match
  if (first === "" && last === "") return undefined
  if (first === "") {
    const length = Number(last)
    return length === 0 ? "bad" : [Math.max(0, size - length), size - 1]
  }
  const start = Number(first)
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1)
  return start >= size || end < start ? "bad" : [start, end]
}

/** A whole file with everything that aiohttp's FileResponse does: ranges, conditions, dates. */
export const fileResponse = (
  request: Request,
  file: { readonly bytes: Uint8Array; readonly modified: number },
  type: string,
  headers: Readonly<Record<string, string>>
): Response => {
  const size = file.bytes.length
  const etag = `"${BigInt(Math.round(file.modified * 1_000_000)).toString(16)}-${size.toString(16)}"`
  const dated = { ...headers, "content-type": type, etag, "last-modified": httpDate(file.modified) }
  const wanted = request.headers["if-none-match"]
  if (wanted !== undefined && (wanted.trim() === "*" || wanted.split(",").some((tag) => tag.trim() === etag))) {
    return { status: 304, headers: dated, body: new Uint8Array(0) }
  }
  const since = request.headers["if-modified-since"]
  if (wanted === undefined && since !== undefined && Date.parse(since) >= Math.floor(file.modified / 1000) * 1000) {
    return { status: 304, headers: dated, body: new Uint8Array(0) }
  }
  const range = request.headers["range"]
  const part = range === undefined ? undefined : rangeOf(range, size)
  if (part === "bad") {
    return {
      status: 416,
      headers: { ...headers, "content-type": type, "content-range": `bytes */${size}` },
      body: new Uint8Array(0)
    }
  }
  if (part !== undefined) {
    return {
      status: 206,
      headers: { ...dated, "accept-ranges": "bytes", "content-range": `bytes ${part[0]}-${part[1]}/${size}` },
      body: file.bytes.slice(part[0], part[1] + 1)
    }
  }
  return { status: 200, headers: { ...dated, "accept-ranges": "bytes" }, body: file.bytes.slice() }
}

/** Types that a browser would run are given without a type. */
const pages = new Set(["text/html", "text/javascript", "text/css"])

/** Newer releases give these as attachments. */
const dangerous = new Set(["text/html", "text/javascript", "text/css", "image/svg+xml", "application/xml", "text/xml"])

/** The folder, the path in it and the name that a query asks for; a number is the refusal's status. */
export const locate = (request: Request): { type: FolderType; path: string; name: string } | number => {
  const asked = request.query.get("filename")
  if (asked === undefined) return 404
  const at = annotated(asked)
  const { name } = at
  if (name === "" || name.startsWith("/") || name.includes("..")) return 400
  const type = at.type ?? request.query.get("type") ?? "output"
  if (!isFolderType(type)) return 400
  const folder = inside(request.query.get("subfolder") ?? "")
  if (folder === undefined) return 403
  const base = name.slice(name.lastIndexOf("/") + 1)
  return { type, path: folder === "" ? base : `${folder}/${base}`, name: base }
}

/** Text as its UTF-8 bytes, which is how a header carries it: clients see Latin-1. */
const headerText = (text: string): string => Array.from(encode(text), (byte) => String.fromCharCode(byte)).join("")

export const view = (state: State, request: Request): Response => {
  const digest = request.query.get("filename")
  if (digest?.startsWith("blake3:") === true) {
    const found = viewByHash(state, digest)
    return found === undefined ? empty(404) : fileResponse(
      request,
      { bytes: found.content, modified: found.asset.created },
      found.asset.mime,
      { "content-disposition": `filename="${headerText(found.asset.name)}"`, "x-content-type-options": "nosniff" }
    )
  }
  const at = locate(request)
  if (typeof at === "number") return empty(at)
  const file = state.files.get(at.type, at.path)
  if (Option.isNone(file)) return empty(404)
  const filename = `filename="${headerText(at.name)}"`
  const disposition = { "content-disposition": filename }
  const preview = request.query.get("preview")
  const wanted = request.query.get("channel")
  if (preview !== undefined || (wanted !== undefined && wanted !== "rgba")) {
    const picture = decodePng(file.value.bytes)
    if (Option.isNone(picture)) return serverError
    if (preview !== undefined) {
      // There is no WebP encoder here: a JPEG is sent under the type that was asked for.
      const format = preview.split(";")[0] === "jpeg" ? "image/jpeg" : "image/webp"
      return bytes(200, format, encodeJpeg(picture.value, 0), disposition)
    }
    if (wanted === "rgb") return bytes(200, "image/png", encodePng(rgb(picture.value), 0), disposition)
    if (wanted === "a") {
      const alpha = channel(picture.value, 3, false)
      const samples: Samples = new Uint8ClampedArray(alpha.width * alpha.height * 4)
      alpha.samples().forEach((value, index) => {
        samples[index * 4 + 3] = value
      })
      const shown = fromSamples({ width: alpha.width, height: alpha.height, batch: 1, channels: 4 }, samples)
      return bytes(200, "image/png", encodePng(shown, 0), disposition)
    }
  }
  const found = contentType(at.name)
  const type = pages.has(found) ? "application/octet-stream" : found
  const nosniff = state.profile.nosniff ? { "x-content-type-options": "nosniff" } : {}
  if (state.profile.nosniff && dangerous.has(found)) {
    const shown = found === "image/svg+xml" && request.headers["sec-fetch-dest"] === "image"
    return fileResponse(request, file.value, shown ? type : "application/octet-stream", {
      ...nosniff,
      vary: "Sec-Fetch-Dest",
      "cache-control": "no-store",
      "content-disposition": shown ? filename : `attachment; ${filename}`
    })
  }
  return fileResponse(request, file.value, type, { ...nosniff, ...disposition })
}
