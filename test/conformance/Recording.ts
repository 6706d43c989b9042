/** A recording of a real server: one JSON object per line, in the order in which the client saw them. */
import * as Frame from "@effect-comfyui/protocol/Frame"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { gunzipSync, inflateSync } from "node:zlib"

const headers = Schema.Record(Schema.String, Schema.String)
const t = { t: Schema.optionalKey(Schema.Number) }
const content = { body: Schema.optionalKey(Schema.String), base64: Schema.optionalKey(Schema.String) }
const conn = { conn: Schema.String }
const dir = Schema.Literals(["in", "out"])

const line = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("case"), version: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("note"), ...t, text: Schema.String }),
  Schema.Struct({
    kind: Schema.Literal("request"),
    ...t,
    id: Schema.Number,
    method: Schema.String,
    path: Schema.String,
    headers,
    ...content
  }),
  Schema.Struct({
    kind: Schema.Literal("response"),
    ...t,
    id: Schema.Number,
    status: Schema.Number,
    headers,
    ...content,
    aborted: Schema.optionalKey(Schema.Boolean)
  }),
  Schema.Struct({
    kind: Schema.Literal("request-error"),
    ...t,
    id: Schema.Number,
    code: Schema.NullishOr(Schema.String)
  }),
  Schema.Struct({ kind: Schema.Literal("ws-dial"), ...t, ...conn, path: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("ws-open"), ...t, ...conn }),
  Schema.Struct({ kind: Schema.Literal("ws-text"), ...t, ...conn, dir, data: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("ws-binary"), ...t, ...conn, dir, base64: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("ws-close"), ...t, ...conn, code: Schema.Number, reason: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("ws-refused"), ...t, ...conn, status: Schema.Number }),
  Schema.Struct({ kind: Schema.Literal("ws-error"), ...t, ...conn, code: Schema.NullishOr(Schema.String) })
])

/** One line. */
export type Line = typeof line.Type

/** The line of a kind. */
export type LineOf<Kind extends Line["kind"]> = Extract<Line, { readonly kind: Kind }>

/** A recording; `version` is the server's. */
export interface Recording {
  readonly name: string
  readonly version: string
  readonly lines: ReadonlyArray<Line>
}

const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(line))

/** Reads a file; a failure says in which line and why. */
export const parse = (name: string, text: string): Result.Result<Recording, string> => {
  const lines: Array<Line> = []
  for (const [index, source] of text.split("\n").entries()) {
    if (source === "") continue
    const decoded = decodeLine(source)
    if (Result.isFailure(decoded)) return Result.fail(`line ${index + 1}: ${decoded.failure.message}`)
    lines.push(decoded.success)
  }
  const first = lines.find((line) => line.kind === "case")
  return first === undefined
    ? Result.fail("no line says which server was recorded")
    : Result.succeed({ name, version: first.version, lines })
}

const inflated = (bytes: Uint8Array, encoding: string | undefined): Uint8Array => {
  if (encoding === "deflate") return inflateSync(bytes)
  return encoding === "gzip" ? gunzipSync(bytes) : bytes
}

/** The body of a request or an answer, decompressed. */
export const bodyOf = (line: LineOf<"request" | "response">): string | Uint8Array =>
  line.base64 === undefined
    ? line.body ?? ""
    : inflated(Buffer.from(line.base64, "base64"), line.headers["content-encoding"])

/** The same as text. */
export const textOf = (line: LineOf<"request" | "response">): string => {
  const body = bodyOf(line)
  return typeof body === "string" ? body : Frame.text(body)
}

/** The frame of a line, if it is one. */
export const frameOf = (line: Line): Frame.Frame | undefined => {
  if (line.kind === "ws-text") return line.data
  return line.kind === "ws-binary" ? Buffer.from(line.base64, "base64") : undefined
}

/** JSON text as a value; undefined for anything else. */
export const jsonOf = (text: string): Json.Json | undefined => {
  const json = Json.parse(text)
  return Result.isSuccess(json) ? json.success : undefined
}

/** A request with what came of it; the indexes are those of the lines. */
export interface Exchange {
  readonly request: LineOf<"request">
  readonly requestAt: number
  readonly answer: LineOf<"response"> | undefined
  /** Of the answer or the error; of the request if neither came. */
  readonly endAt: number
}

/** All requests of a recording, in order. */
export const exchanges = ({ lines }: Recording): ReadonlyArray<Exchange> =>
  lines.flatMap((request, requestAt) => {
    if (request.kind !== "request") return []
    const endAt = lines.findIndex((line, index) =>
      index > requestAt && (line.kind === "response" || line.kind === "request-error") && line.id === request.id
    )
    const answer = lines[endAt]
    return [{
      request,
      requestAt,
      answer: answer?.kind === "response" ? answer : undefined,
      endAt: endAt === -1 ? requestAt : endAt
    }]
  })
