/**
 * The traffic of one client with one server as text: one JSON object per line, in the order in which the client saw it.
 * Bodies and frames are the raw text that passed, never parsed. Reading checks every line and that each stands where it
 * can; nothing here throws, whatever the text is.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { CassetteError, type CassetteReason } from "./CassetteError.ts"

/** Milliseconds since the recording began, by the client's clock. */
const t = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))
const id = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1e9 }))
const status = Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 599 }))
const headers = Schema.Record(Schema.String, Schema.String)
const conn = Schema.String.check(Schema.isMaxLength(1_000))
const dir = Schema.Literals(["in", "out"])
const bytes = Schema.String.check(
  Schema.makeFilter((text: string) => Result.isSuccess(Base64.decode(text)) ? undefined : "not base64")
)
/** Text, or bytes that are no text. */
const body = { body: Schema.optionalKey(Schema.String), base64: Schema.optionalKey(bytes) }

/** First line: which server was recorded. `lines` is how many lines the file has, where the recorder knew. */
export const Case = Schema.Struct({
  kind: Schema.Literal("case"),
  case: Schema.String,
  version: Schema.String,
  title: Schema.String,
  args: Schema.Array(Schema.String),
  lines: Schema.optionalKey(Schema.Int)
})
/** A remark. */
export const Note = Schema.Struct({ t, kind: Schema.Literal("note"), text: Schema.String })
/** A request: path with query, the headers that the client set. */
export const Request = Schema.Struct({
  t,
  kind: Schema.Literal("request"),
  id,
  method: Schema.String,
  path: Schema.String,
  headers,
  ...body
})
/** The answer to a request; `aborted`: the connection ended within the body. */
export const Response = Schema.Struct({
  t,
  kind: Schema.Literal("response"),
  id,
  status,
  headers,
  ...body,
  aborted: Schema.optionalKey(Schema.Boolean)
})
/** A request that had no answer. */
export const RequestError = Schema.Struct({ t, kind: Schema.Literal("request-error"), id, code: Schema.String })
/** A socket is opened. */
export const Dial = Schema.Struct({ t, kind: Schema.Literal("ws-dial"), conn, path: Schema.String, headers })
/** The upgrade succeeded. */
export const Open = Schema.Struct({ t, kind: Schema.Literal("ws-open"), conn })
/** A text frame, from the server (`in`) or from the client. */
export const Text = Schema.Struct({ t, kind: Schema.Literal("ws-text"), conn, dir, data: Schema.String })
/** A binary frame. */
export const Binary = Schema.Struct({ t, kind: Schema.Literal("ws-binary"), conn, dir, base64: bytes })
/** The connection ended by the server's doing. */
export const Close = Schema.Struct({
  t,
  kind: Schema.Literal("ws-close"),
  conn,
  code: Schema.Int,
  reason: Schema.String
})
/** The upgrade was answered with an HTTP status. */
export const Refused = Schema.Struct({ t, kind: Schema.Literal("ws-refused"), conn, status, headers })
/** There was no connection. */
export const SocketError = Schema.Struct({ t, kind: Schema.Literal("ws-error"), conn, code: Schema.String })

/** What happened, after the first line. */
export const Line = Schema.Union([
  Note,
  Request,
  Response,
  RequestError,
  Dial,
  Open,
  Text,
  Binary,
  Close,
  Refused,
  SocketError
])
export type Case = typeof Case.Type
export type Line = typeof Line.Type
export type Request = typeof Request.Type
export type Response = typeof Response.Type
export type RequestError = typeof RequestError.Type
export type Dial = typeof Dial.Type

/** A recording. Line `n` of `lines` is line `n + 2` of the file. */
export interface Tape {
  readonly head: Case
  readonly lines: ReadonlyArray<Line>
}

/** Limits of a text that is read. */
export interface Limits {
  /** UTF-16 units. Default 256 Mi. */
  readonly maxLength: number
  /** Default 1,000,000. */
  readonly maxLines: number
}

/** The defaults of {@link Limits}. */
export const limits: Limits = { maxLength: 256 * 1024 * 1024, maxLines: 1_000_000 }

const fail = (reason: CassetteReason): Result.Result<never, CassetteError> => Result.fail(new CassetteError({ reason }))

const decodeCase = Schema.decodeUnknownResult(Schema.fromJsonString(Case))
const decodeLine = Schema.decodeUnknownResult(Schema.fromJsonString(Line))

type ConnState = "dialled" | "open" | "failed" | "closed"

/** Says why a line cannot stand behind those before it. */
class Order {
  readonly #requests = new Map<number, "open" | "answered">()
  readonly #conns = new Map<string, ConnState>()
  #t = 0

  problem(line: Line): string | undefined {
    if (line.t < this.#t) return `time goes back from ${this.#t} to ${line.t}`
    this.#t = line.t
    switch (line.kind) {
      case "note":
        return undefined
      case "request":
        if (this.#requests.has(line.id)) return `a second request ${line.id}`
        this.#requests.set(line.id, "open")
        return undefined
      case "response":
      case "request-error": {
        const request = this.#requests.get(line.id)
        if (request === undefined) return `an answer before request ${line.id}`
        if (request === "answered") return `a second answer to request ${line.id}`
        this.#requests.set(line.id, "answered")
        return undefined
      }
      default:
        return this.#socket(line)
    }
  }

  #socket(line: Extract<Line, { readonly conn: string }>): string | undefined {
    const state = this.#conns.get(line.conn)
    const become = (from: ReadonlyArray<ConnState | undefined>, next: ConnState): string | undefined => {
      if (!from.includes(state)) return `${line.kind} on ${line.conn}, which is ${state ?? "unknown"}`
      this.#conns.set(line.conn, next)
      return undefined
    }
    switch (line.kind) {
      case "ws-dial":
        return become([undefined, "failed", "closed"], "dialled")
      case "ws-open":
        return become(["dialled"], "open")
      case "ws-text":
      case "ws-binary":
        return become(["open"], "open")
      // Some platforms report a failed upgrade, and then its close.
      case "ws-close":
        return become(["open", "failed"], "closed")
      case "ws-refused":
      case "ws-error":
        return become(["dialled"], "failed")
    }
  }
}

/** The lines of a text, each with its number from 1; never all at once. */
function* numbered(text: string): Iterable<readonly [number: number, source: string]> {
  let number = 0
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at)
    const source = text.slice(at, end === -1 ? text.length : end)
    number++
    at = end === -1 ? text.length : end + 1
    if (source.trim() !== "") yield [number, source]
  }
}

const oneLine = (text: string): string => text.replaceAll(/\s+/g, " ").slice(0, 300)

/** Reads a recording; what is wrong with it is a typed error that names the line. */
export const parse = (text: string, within: Limits = limits): Result.Result<Tape, CassetteError> => {
  if (text.length > within.maxLength) return fail({ _tag: "TooLarge", what: "characters", limit: within.maxLength })
  const lines: Array<Line> = []
  const order = new Order()
  let head: Case | undefined
  for (const [number, source] of numbered(text)) {
    if (lines.length >= within.maxLines) return fail({ _tag: "TooLarge", what: "lines", limit: within.maxLines })
    if (head === undefined) {
      const decoded = decodeCase(source)
      if (Result.isFailure(decoded)) {
        return fail({ _tag: "Malformed", line: number, problem: oneLine(decoded.failure.message) })
      }
      head = decoded.success
      continue
    }
    const decoded = decodeLine(source)
    if (Result.isFailure(decoded)) {
      return fail({ _tag: "Malformed", line: number, problem: oneLine(decoded.failure.message) })
    }
    const problem = order.problem(decoded.success)
    if (problem !== undefined) return fail({ _tag: "OutOfOrder", line: number, problem })
    lines.push(decoded.success)
  }
  if (head === undefined) return fail({ _tag: "Malformed", line: 1, problem: "no line says which server was recorded" })
  const found = lines.length + 1
  return head.lines === undefined || head.lines === found
    ? Result.succeed({ head, lines })
    : fail({ _tag: "Truncated", expected: head.lines, found })
}

/** The text of a recording, which says in its first line how many lines it has. */
export const format = ({ head, lines }: Tape): string =>
  [{ ...head, lines: lines.length + 1 }, ...lines].map((line) => `${JSON.stringify(line)}\n`).join("")

const encoder = new TextEncoder()

/** The bytes of a body or of a binary frame. */
export const bytesOf = (line: { readonly body?: string; readonly base64?: string }): Uint8Array<ArrayBuffer> => {
  if (line.base64 === undefined) return encoder.encode(line.body ?? "")
  return new Uint8Array(Result.getOrElse(Base64.decode(line.base64), () => new Uint8Array(0)))
}
