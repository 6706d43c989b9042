// Requests and answers of an HttpClient that lives in memory.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import { concat } from "./bytes.ts"
import type { Slowness } from "./faultyState.ts"

export const transportError = (
  request: HttpClientRequest.HttpClientRequest,
  description: string,
  cause?: unknown
): HttpClientError.HttpClientError =>
  new HttpClientError.HttpClientError({
    reason: new HttpClientError.TransportError({
      request,
      description,
      ...(cause === undefined ? {} : { cause })
    })
  })

const empty = new Uint8Array(0)
const encoder = new TextEncoder()

/** The body of a request, read whole. */
export const bodyBytes = (
  request: HttpClientRequest.HttpClientRequest
): Effect.Effect<Uint8Array, HttpClientError.HttpClientError> => {
  const { body } = request
  switch (body._tag) {
    case "Empty":
      return Effect.succeed(empty)
    case "Uint8Array":
      return Effect.succeed(body.body)
    case "Raw": {
      const raw = body.body
      if (typeof raw === "string") return Effect.succeed(encoder.encode(raw))
      if (raw instanceof Uint8Array) return Effect.succeed(raw)
      return Effect.fail(transportError(request, "the fake takes Raw bodies of text and bytes only"))
    }
    case "Stream":
      return Stream.runCollect(Stream.mapError(body.stream, () => transportError(request, "the request body failed")))
        .pipe(Effect.map(concat))
    case "FormData":
      return Effect.fail(transportError(request, "FormData needs promises; write the multipart bytes yourself"))
  }
}

/** The headers of a request, with the type of its body. */
export const headersOf = (request: HttpClientRequest.HttpClientRequest): Record<string, string> => {
  const headers: Record<string, string> = { ...request.headers }
  const type = "contentType" in request.body ? request.body.contentType : undefined
  if (type !== undefined && headers["content-type"] === undefined) headers["content-type"] = type
  return headers
}

/** The headers of an upgrade, names in lower case. */
export const dialHeaders = (
  options: Socket.WebSocketConstructorOptions | undefined
): Readonly<Record<string, string>> => {
  const given = options === undefined || typeof options === "string" || Array.isArray(options)
    ? {}
    : options.headers ?? {}
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]))
}

/** So many pieces a slow body comes in, at most. */
const pieces = 50

/** A body in even pieces over its time; what stalls never ends. */
const slowly = (body: Uint8Array, slow: Slowness | undefined): Stream.Stream<Uint8Array> => {
  if (slow === undefined) return Stream.succeed(body)
  const { bodyMs, stallAfter = body.length } = slow
  const size = Math.max(1, Math.ceil(body.length / pieces))
  const starts = Array.from({ length: Math.ceil(Math.min(stallAfter, body.length) / size) }, (_, index) => index * size)
  const coming = Stream.mapEffect(Stream.fromIterable(starts), (start) => {
    const piece = body.slice(start, Math.min(start + size, stallAfter))
    return bodyMs <= 0
      ? Effect.succeed(piece)
      : Effect.as(Effect.sleep(Duration.millis(bodyMs * piece.length / body.length)), piece)
  })
  return stallAfter < body.length ? Stream.concat(coming, Stream.never) : coming
}

/** An answer whose body breaks off after `cutAfter` bytes, if that is given. */
export const toResponse = (
  request: HttpClientRequest.HttpClientRequest,
  outcome: {
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: Uint8Array
    readonly cutAfter?: number
    readonly slow?: Slowness
  }
): HttpClientResponse.HttpClientResponse => {
  const { cutAfter, headers, slow, status } = outcome
  const setCookie = headers["set-cookie"]
  const base = HttpServerResponse.empty({
    status,
    headers,
    ...(setCookie === undefined ? {} : { cookies: Cookies.fromSetCookie(setCookie) })
  })
  const type = headers["content-type"]
  const response = cutAfter !== undefined || slow !== undefined
    ? HttpServerResponse.setBody(
      base,
      HttpBody.stream(
        cutAfter === undefined
          ? slowly(outcome.body, slow)
          : Stream.concat(
            slowly(outcome.body.slice(0, cutAfter), slow),
            Stream.fail(transportError(request, "the connection broke (ECONNRESET)"))
          ),
        type,
        outcome.body.length
      )
    )
    // An answer without a body keeps its headers: the length that HEAD states, and no type that was never sent.
    : outcome.body.length === 0
    ? base
    : HttpServerResponse.setBody(base, HttpBody.uint8Array(outcome.body, type))
  return HttpServerResponse.toClientResponse(response, { request })
}
