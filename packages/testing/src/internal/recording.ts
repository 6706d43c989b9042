// A recording while it grows: lines as they come, within a bound, and without a secret when they leave.
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import { CassetteError, type CassetteReason } from "../CassetteError.ts"
import * as Tape from "../Tape.ts"
import { concat } from "./bytes.ts"
import * as latin1 from "./latin1.ts"
import type { Redactor } from "./redact.ts"

interface RecordingOptions {
  readonly case: string
  readonly title: string
  readonly version: string | undefined
  readonly maxBytes: number
  readonly redactor: Redactor
  /** Monotonic milliseconds since the recording began. */
  readonly now: () => number
}

/** A body on its way: what has passed of it. */
export class Body {
  readonly chunks: Array<Uint8Array> = []
  aborted = false
}

type Draft = Tape.Line | { readonly line: Tape.Request | Tape.Response; readonly body: Body }

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const asText = (bytes: Uint8Array): string | undefined =>
  Result.getOrElse(Result.try(() => strict.decode(bytes)), () => undefined)

const versionIn = (text: string): string | undefined => /"comfyui_version": ?"([^"\\]{1,100})"/.exec(text)?.[1]

export class Recording {
  readonly #options: RecordingOptions
  readonly #drafts: Array<Draft> = []
  #bytes = 0
  #full = false
  #requests = 0
  #conns = 0

  constructor(options: RecordingOptions) {
    this.#options = options
  }

  get redactor(): Redactor {
    return this.#options.redactor
  }

  t(): number {
    return Math.round(this.#options.now() * 1_000) / 1_000
  }

  nextRequest(): number {
    return ++this.#requests
  }

  nextConn(): string {
    return `ws${++this.#conns}`
  }

  #count(bytes: number): boolean {
    this.#bytes += bytes
    this.#full ||= this.#bytes > this.#options.maxBytes
    return !this.#full
  }

  push(line: Tape.Line): void {
    const size = "data" in line ? line.data.length : "base64" in line ? line.base64?.length ?? 0 : 200
    if (this.#count(size + 100)) this.#drafts.push(line)
  }

  /** A line whose body is still to come. */
  open(line: Tape.Request | Tape.Response): Body {
    const body = new Body()
    if (this.#count(300)) this.#drafts.push({ line, body })
    return body
  }

  /** A piece of a body has passed. */
  write(body: Body, chunk: Uint8Array): void {
    if (this.#count(chunk.length)) body.chunks.push(chunk.slice())
  }

  #content(bytes: Uint8Array): { readonly body: string } | { readonly base64: string } {
    const text = asText(bytes)
    return text === undefined ? { base64: this.#binary(bytes) } : { body: this.redactor.text(text) }
  }

  #binary(bytes: Uint8Array): string {
    const text = latin1.fromBytes(bytes)
    const redacted = this.redactor.text(text)
    return Base64.encode(redacted === text ? bytes : latin1.toBytes(redacted))
  }

  #finish(draft: Draft): Tape.Line {
    if ("body" in draft && draft.body instanceof Body && "line" in draft) {
      const { body, line } = draft
      return { ...line, ...this.#content(concat(body.chunks)), ...(body.aborted ? { aborted: true } : {}) }
    }
    if (!("kind" in draft)) return draft.line
    if (draft.kind === "ws-text") return { ...draft, data: this.redactor.text(draft.data) }
    return draft
  }

  /** A second look, when all secrets are known. */
  #scrub(line: Tape.Line): Tape.Line {
    const { redactor } = this
    const scrub = (text: string): string => redactor.scrub(text)
    const scrubBase64 = (text: string): string => {
      const bytes = latin1.fromBytes(Tape.bytesOf({ base64: text }))
      const clean = scrub(bytes)
      return clean === bytes ? text : Base64.encode(latin1.toBytes(clean))
    }
    const headers = (all: Readonly<Record<string, string>>) =>
      Object.fromEntries(Object.entries(all).map(([name, value]) => [name, scrub(value)]))
    switch (line.kind) {
      case "request":
      case "response":
        return {
          ...line,
          ...("path" in line ? { path: scrub(line.path) } : {}),
          headers: headers(line.headers),
          ...(line.base64 === undefined ? { body: scrub(line.body ?? "") } : { base64: scrubBase64(line.base64) })
        }
      case "request-error":
      case "ws-error":
        return { ...line, code: scrub(line.code) }
      case "ws-dial":
        return { ...line, path: scrub(line.path), headers: headers(line.headers) }
      case "ws-refused":
        return { ...line, headers: headers(line.headers) }
      case "ws-text":
        return { ...line, data: scrub(line.data) }
      case "ws-binary":
        return { ...line, base64: scrubBase64(line.base64) }
      case "ws-close":
        return { ...line, reason: scrub(line.reason) }
      default:
        return line
    }
  }

  #version(lines: ReadonlyArray<Tape.Line>): string {
    for (const line of lines) {
      const found = line.kind === "response" && line.body !== undefined ? versionIn(line.body) : undefined
      if (found !== undefined) return found
    }
    return "unknown"
  }

  /** The file as it is now. */
  text(): Result.Result<string, CassetteError> {
    const fail = (reason: CassetteReason) => Result.fail(new CassetteError({ reason }))
    const { redactor } = this
    if (this.#full) return fail({ _tag: "TooLarge", what: "bytes", limit: this.#options.maxBytes })
    const found = this.#drafts.map((draft) => this.#finish(draft))
    if (redactor.overflow !== undefined) {
      return fail({ _tag: "TooLarge", what: "secrets", limit: redactor.overflow.limit })
    }
    const lines = found.map((line) => this.#scrub(line))
    const { case: name, title, version } = this.#options
    return Result.succeed(
      Tape.format({
        head: { kind: "case", case: name, version: version ?? this.#version(lines), title, args: [] },
        lines
      })
    )
  }
}
