// Both seams to the world with a recording between them and the client: what passes is noted, nothing of it changes.
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as httpSeam from "./httpSeam.ts"
import type { Body, Recording } from "./recording.ts"

const encoder = new TextEncoder()

/** The code of a platform's error, outermost first: `ECONNREFUSED`. */
const codeOf = (cause: unknown, depth = 0): string | undefined => {
  if (!Predicate.isObject(cause) || depth > 8) return undefined
  if (Predicate.hasProperty(cause, "code") && typeof cause.code === "string") return cause.code
  if (Predicate.hasProperty(cause, "cause")) return codeOf(cause.cause, depth + 1)
  return undefined
}

/** Passes chunks on, and notes them. */
const noted = <E>(stream: Stream.Stream<Uint8Array, E>, tape: Recording, body: Body): Stream.Stream<Uint8Array, E> =>
  Stream.tap(stream, (chunk) => Effect.sync(() => tape.write(body, chunk)))

/** The request with a body that is noted as it is sent. */
const sent = (
  request: HttpClientRequest.HttpClientRequest,
  tape: Recording,
  into: Body
): HttpClientRequest.HttpClientRequest => {
  const { body } = request
  if (body._tag === "Uint8Array") tape.write(into, body.body)
  else if (body._tag === "Raw" && typeof body.body === "string") tape.write(into, encoder.encode(body.body))
  else if (body._tag === "Raw" && body.body instanceof Uint8Array) tape.write(into, body.body)
  else if (body._tag === "Stream") {
    return HttpClientRequest.setBody(
      request,
      HttpBody.stream(noted(body.stream, tape, into), body.contentType, body.contentLength)
    )
  }
  return request
}

const received = (
  request: HttpClientRequest.HttpClientRequest,
  response: HttpClientResponse.HttpClientResponse,
  tape: Recording,
  id: number
): HttpClientResponse.HttpClientResponse => {
  const { redactor } = tape
  const headers = redactor.responseHeaders(response.headers)
  const body = tape.open({ t: tape.t(), kind: "response", id, status: response.status, headers })
  if (request.method === "HEAD") return response
  const stream = Stream.onExit(noted(response.stream, tape, body), (exit) =>
    Effect.sync(() => {
      if (Exit.isFailure(exit)) body.aborted = true
    }))
  const length = Number(response.headers["content-length"] ?? Number.NaN)
  return HttpServerResponse.toClientResponse(
    HttpServerResponse.setBody(
      HttpServerResponse.empty({ status: response.status, headers: response.headers, cookies: response.cookies }),
      HttpBody.stream(stream, response.headers["content-type"], Number.isSafeInteger(length) ? length : undefined)
    ),
    { request }
  )
}

const pathOf = (tape: Recording, url: URL): string => tape.redactor.path(url.pathname + url.search)

const originOf = (url: URL): string => `${url.protocol.replace(/^ws/, "http")}//${url.host}`

/** One recording is of one server: the first that is talked to, unless it was named. */
export interface Subject {
  origin: string | undefined
}

const isSubject = (subject: Subject, url: URL): boolean => {
  subject.origin ??= originOf(url)
  return subject.origin === originOf(url)
}

export const http = (inner: HttpClient.HttpClient, tape: Recording, subject: Subject): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.suspend((): Effect.Effect<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError> => {
      if (!isSubject(subject, url)) return inner.execute(request)
      const id = tape.nextRequest()
      const headers = tape.redactor.requestHeaders(httpSeam.headersOf(request))
      const body = tape.open({
        t: tape.t(),
        kind: "request",
        id,
        method: request.method,
        path: pathOf(tape, url),
        headers
      })
      return inner.execute(sent(request, tape, body)).pipe(
        Effect.map((response) => received(request, response, tape, id)),
        Effect.tapError((error) =>
          Effect.sync(() =>
            tape.push({ t: tape.t(), kind: "request-error", id, code: codeOf(error.reason) ?? error.reason._tag })
          )
        )
      )
    })
  )

type Construct = Socket.WebSocketConstructor["Service"]

const statusOf = (event: unknown): number | undefined => {
  const error = Predicate.hasProperty(event, "error") ? event.error : undefined
  const status = Predicate.hasProperty(error, "status") ? error.status : undefined
  return typeof status === "number" && status >= 100 && status <= 599 ? status : undefined
}

const errorOf = (event: unknown): string =>
  (Predicate.hasProperty(event, "error") ? codeOf(event.error) : undefined) ??
    (Predicate.hasProperty(event, "message") ? String(event.message).slice(0, 200) : "connection failed")

const noteFrame = (tape: Recording, conn: string, dir: "in" | "out", data: unknown): void => {
  if (typeof data === "string") tape.push({ t: tape.t(), kind: "ws-text", conn, dir, data })
  else if (data instanceof Uint8Array || data instanceof ArrayBuffer) {
    const base64 = Base64.encode(data instanceof Uint8Array ? data : new Uint8Array(data))
    tape.push({ t: tape.t(), kind: "ws-binary", conn, dir, base64 })
  }
}

/** Notes what passes on a socket. Its listeners come before those of the client. */
const listen = (socket: Socket.WebSocketLike, tape: Recording, conn: string): void => {
  let state: "dialled" | "open" | "over" = "dialled"
  /** The client ends it: what comes after is no word of the server. */
  const leave = () => {
    if (state !== "over") tape.push({ t: tape.t(), kind: "note", text: `the client ends ${conn}` })
    state = "over"
  }
  socket.addEventListener("open", () => {
    state = "open"
    tape.push({ t: tape.t(), kind: "ws-open", conn })
  })
  socket.addEventListener("message", ({ data }) => {
    if (state === "open") noteFrame(tape, conn, "in", data)
  })
  socket.addEventListener("error", (event) => {
    if (state !== "dialled") return
    state = "over"
    const status = statusOf(event)
    if (status === undefined) tape.push({ t: tape.t(), kind: "ws-error", conn, code: errorOf(event) })
    else tape.push({ t: tape.t(), kind: "ws-refused", conn, status, headers: {} })
  })
  socket.addEventListener("close", ({ code, reason }) => {
    if (state === "dialled") tape.push({ t: tape.t(), kind: "ws-error", conn, code: "closed" })
    else if (state === "open") {
      tape.push({ t: tape.t(), kind: "ws-close", conn, code: code ?? 1006, reason: reason ?? "" })
    }
    state = "over"
  })
  const send = socket.send.bind(socket)
  const close = socket.close.bind(socket)
  Object.assign(socket, {
    send: (data: string | Uint8Array<ArrayBuffer>) => {
      if (state === "open") noteFrame(tape, conn, "out", data)
      send(data)
    },
    close: (code?: number, reason?: string) => {
      leave()
      close(code, reason)
    }
  })
  if (!Predicate.hasProperty(socket, "terminate") || !Predicate.isFunction(socket.terminate)) return
  const terminate = socket.terminate.bind(socket)
  Object.assign(socket, {
    terminate: () => {
      leave()
      terminate()
    }
  })
}

export const sockets = (construct: Construct, tape: Recording, subject: Subject): Construct => (url, options) => {
  const target = new URL(url)
  if (!isSubject(subject, target)) return construct(url, options)
  const conn = tape.nextConn()
  const headers = tape.redactor.requestHeaders(httpSeam.dialHeaders(options))
  tape.push({ t: tape.t(), kind: "ws-dial", conn, path: pathOf(tape, target), headers })
  const made = Result.try(() => construct(url, options))
  if (Result.isFailure(made)) {
    tape.push({ t: tape.t(), kind: "ws-error", conn, code: "construction failed" })
    throw made.failure
  }
  const socket = made.success
  // A browser would make a Blob of each binary frame, and read it in a promise.
  if (!Predicate.hasProperty(socket, "on")) Object.assign(socket, { binaryType: "arraybuffer" })
  listen(socket, tape, conn)
  return socket
}
