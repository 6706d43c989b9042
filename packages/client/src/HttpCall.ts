/** The few forms of every call: a typed answer, a body that is empty, bytes, and "not there" as a value. */
import type { DecodeProblem } from "@effect-comfyui/protocol/Wire"
import * as Json from "@effect-comfyui/workflow/Json"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import type { HttpMethod } from "effect/http/HttpMethod"
import type * as Option from "effect/Option"
import * as Result from "effect/Result"
import { ComfyHttpError } from "./ComfyHttpError.ts"
import type { HttpRequest, HttpTransport } from "./HttpTransport.ts"

/** A query: members that are undefined are left out, others are encoded. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** A path of literal parts and encoded values: `at("/history", id)`. Whatever an id holds, it stays one segment. */
export const at = (literal: string, ...segments: ReadonlyArray<string>): string =>
  [literal, ...segments.map(encodeURIComponent)].join("/")

/** A path with a query. */
export const withQuery = (path: string, query: Query): string => {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(String(value))}`]
  )
  return pairs.length === 0 ? path : `${path}?${pairs.join("&")}`
}

/** A JSON body. */
export const json = (value: Json.Json): HttpBody.HttpBody => jsonText(Json.stringify(value))

/** A JSON body that is text already. */
export const jsonText = (text: string): HttpBody.HttpBody => HttpBody.text(text, "application/json")

/** What a call may say beside its path. */
export interface CallOptions {
  readonly method?: HttpMethod
  readonly body?: HttpBody.HttpBody
  readonly headers?: Readonly<Record<string, string>>
  readonly timeout?: Duration.Input
  readonly idempotent?: boolean
  readonly refusals?: ReadonlyArray<number>
  readonly emptyNotFound?: boolean
}

/** What makes a value of an answer's text, or says what is wrong with it. */
export interface Reader<A> {
  readonly name: string
  readonly decodeText: (text: string) => Result.Result<A, DecodeProblem>
}

/** The same of text that comes in pieces; `feed` is false when no more is wanted. */
export interface PieceReader<A> {
  readonly feed: (piece: string) => boolean
  readonly end: () => Result.Result<A, DecodeProblem>
}

/** Calls over one transport. */
export interface HttpCall {
  readonly transport: HttpTransport
  /** The request of a call, defaults applied: a GET may be repeated, nothing else. */
  readonly request: (path: string, options?: CallOptions) => HttpRequest
  /** A JSON answer, checked. */
  readonly typed: <A>(
    codec: Reader<A>,
    path: string,
    options?: CallOptions
  ) => Effect.Effect<A, ComfyHttpError>
  /** An answer that is too large to be held whole, read piece by piece. */
  readonly pieces: <A>(
    name: string,
    reader: () => PieceReader<A>,
    path: string,
    options?: CallOptions
  ) => Effect.Effect<A, ComfyHttpError>
  /** As `typed`, where a 404 of ComfyUI's shape means none. */
  readonly optional: <A>(
    codec: Reader<A>,
    path: string,
    options?: CallOptions
  ) => Effect.Effect<Option.Option<A>, ComfyHttpError>
  /** An answer whose body says nothing. */
  readonly done: (path: string, options?: CallOptions) => Effect.Effect<void, ComfyHttpError>
}

const violation = (request: HttpRequest, kind: string, excerpt: string): ComfyHttpError =>
  new ComfyHttpError({
    method: request.method,
    path: request.path.slice(0, 300),
    reason: { _tag: "ProtocolViolation", kind, excerpt: excerpt.slice(0, 200) },
    status: 200,
    maybeSent: true
  })

const unreadable = (request: HttpRequest, name: string, { excerpt, expected, path }: DecodeProblem): ComfyHttpError =>
  violation(request, `${name}: ${expected} at ${path.join("/") || "the root"}`, excerpt)

export const make = (transport: HttpTransport, headersTimeout: Duration.Input): HttpCall => {
  const request: HttpCall["request"] = (path, options = {}) => {
    const method = options.method ?? "GET"
    return { method, path, timeout: headersTimeout, idempotent: method === "GET" || method === "HEAD", ...options }
  }
  // Suspended: a client has forty of these as values, and most clients never use most of them.
  const typed: HttpCall["typed"] = (codec, path, options) =>
    Effect.suspend(() => {
      const asked = request(path, options)
      return Effect.flatMap(transport.text(asked), (text) => {
        const decoded = codec.decodeText(text)
        return Result.isSuccess(decoded)
          ? Effect.succeed(decoded.success)
          : Effect.fail(unreadable(asked, codec.name, decoded.failure))
      })
    })
  const pieces: HttpCall["pieces"] = (name, makeReader, path, options) =>
    Effect.suspend(() => {
      const asked = request(path, options)
      const reader = makeReader()
      return Effect.flatMap(transport.pieces(asked, reader.feed), () => {
        const read = reader.end()
        return Result.isSuccess(read)
          ? Effect.succeed(read.success)
          : Effect.fail(unreadable(asked, name, read.failure))
      })
    })
  return {
    transport,
    request,
    typed,
    pieces,
    optional: (codec, path, options) =>
      typed(codec, path, { refusals: [404], ...options }).pipe(
        Effect.asSome,
        Effect.catchIf(isNotFound, () => Effect.succeedNone)
      ),
    done: (path, options) => Effect.suspend(() => Effect.asVoid(transport.text(request(path, options))))
  }
}

/** The server itself says that there is no such thing. */
export const isNotFound = (error: ComfyHttpError): boolean => error.status === 404 && error.reason._tag === "Answered"
