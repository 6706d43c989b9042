/**
 * One request to one origin: fresh credentials, cookies kept, waits bounded, and an answer only where it is ComfyUI's.
 * What proxies, balancers and login pages say instead is `Unreachable`, never a fact about the server.
 */
import { bounded } from "@effect-comfyui/execution/ExecutionError"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Cookies from "effect/http/Cookies"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Headers from "effect/http/Headers"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import type { HttpMethod } from "effect/http/HttpMethod"
import * as UrlParams from "effect/http/UrlParams"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import type * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Alarm from "./Alarm.ts"
import * as BaseUrl from "./BaseUrl.ts"
import { ComfyHttpError, type HttpReason } from "./ComfyHttpError.ts"
import * as Credentials from "./Credentials.ts"

/** What a request needs. `path` begins with a slash, is encoded, and may carry a query of its own. */
export interface HttpRequest {
  readonly method: HttpMethod
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: HttpBody.HttpBody
  /** Until the headers of the answer. */
  readonly timeout: Duration.Input
  /** May be sent again after a failure. */
  readonly idempotent: boolean
  /** Statuses by which ComfyUI itself says no; others are somebody else's or a violation. */
  readonly refusals?: ReadonlyArray<number>
  /** Whether a 404 without a JSON body is ComfyUI's own here; elsewhere it is a gone machine behind a proxy. */
  readonly emptyNotFound?: boolean
}

/** Limits of every request. */
export interface TransportOptions {
  readonly base: BaseUrl.BaseUrl
  readonly credentials: Credentials.Source
  /** For the whole body of an answer that is read into memory. */
  readonly bodyTimeout: Duration.Input
  readonly maxBodyBytes: number
  /** Of idempotent requests. */
  readonly retry: Schedule.Schedule<unknown, ComfyHttpError>
}

/** An answer with a status below 300; the body is still to be read. */
export type Answer = HttpClientResponse.HttpClientResponse

/** Requests to one origin. */
export interface HttpTransport {
  /** Origin and prefix, without secrets. */
  readonly baseUrl: string
  readonly send: (request: HttpRequest) => Effect.Effect<Answer, ComfyHttpError>
  /** The body piece by piece, until `take` is false; never held whole. */
  readonly pieces: (request: HttpRequest, take: (piece: string) => boolean) => Effect.Effect<void, ComfyHttpError>
  /** The whole body as text, within `maxBodyBytes`. */
  readonly text: (request: HttpRequest) => Effect.Effect<string, ComfyHttpError>
  /** Credentials and cookies for a dial, with the address to dial. */
  readonly address: (clientId: string) => Effect.Effect<
    { readonly url: URL; readonly headers: Readonly<Record<string, Redacted.Redacted<string>>> }
  >
  /** The timer of its waits, for others of the same client. */
  readonly alarm: Alarm.Alarm
}

type ErrorContext = Pick<HttpRequest, "method" | "path">

const failure = (
  { method, path }: ErrorContext,
  reason: HttpReason,
  status: number | null,
  maybeSent = true
): ComfyHttpError => new ComfyHttpError({ method, path: bounded(path, 300), reason, status, maybeSent })

/** Causes that lie before the first byte of the request. */
const neverSent: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "ERR_TLS_CERT_ALTNAME_INVALID"
])

/** The codes along a chain of causes, outermost first. */
const codesOf = (cause: unknown, depth = 0): ReadonlyArray<string> => {
  if (!Predicate.isObject(cause) || depth > 8) return []
  const code = Predicate.hasProperty(cause, "code") && typeof cause.code === "string" ? [cause.code] : []
  const nested = [
    ...(Predicate.hasProperty(cause, "cause") ? [cause.cause] : []),
    ...(Predicate.hasProperty(cause, "reason") ? [cause.reason] : []),
    ...(Predicate.hasProperty(cause, "errors") && Array.isArray(cause.errors) ? cause.errors : [])
  ]
  return [...code, ...nested.flatMap((inner) => codesOf(inner, depth + 1))]
}

const isTimeout = (codes: ReadonlyArray<string>): boolean =>
  codes.some((code) => code === "ETIMEDOUT" || code === "UND_ERR_CONNECT_TIMEOUT" || code === "UND_ERR_HEADERS_TIMEOUT")

/** A transport's failure by its codes alone: its texts and objects name URLs and headers. */
const transportFailure = (request: ErrorContext, error: HttpClientError.HttpClientError): ComfyHttpError => {
  const codes = codesOf(error.reason)
  return failure(
    request,
    {
      _tag: "Unreachable",
      by: isTimeout(codes) ? "timeout" : "network",
      status: null,
      cause: codes.length > 0 ? codes.join(", ") : error.reason._tag
    },
    null,
    !codes.some((code) => neverSent.has(code))
  )
}

const timedOut = (request: ErrorContext, what: string): ComfyHttpError =>
  failure(request, { _tag: "Unreachable", by: "timeout", status: null, cause: what }, null)

const proxy = (request: ErrorContext, status: number, cause: string): ComfyHttpError =>
  failure(request, { _tag: "Unreachable", by: "proxy", status, cause }, status)

const retryAfterMs = (headers: Headers.Headers, at: number): number | null => {
  const text = headers["retry-after"]
  if (text === undefined) return null
  const parsed = Headers.parseRetryAfter(text)
  if (Result.isFailure(parsed)) return null
  const delay = Duration.toMillis(Headers.retryAfterDelay(parsed.success, at))
  return Number.isFinite(delay) && delay >= 0 ? delay : null
}

const isHtml = (headers: Headers.Headers, body: string): boolean =>
  (headers["content-type"] ?? "").includes("html") || /^\s*</.test(body)

const maxErrorBody = 64 * 1024

/** Whether ComfyUI itself said no: a status that the endpoint is known to give, in a shape that it is known to have. */
const isOwnRefusal = ({ emptyNotFound, refusals }: HttpRequest, { headers, status }: Answer, body: string): boolean =>
  refusals?.includes(status) === true && !isHtml(headers, body) &&
  (status !== 404 || emptyNotFound === true || body.trimStart().startsWith("{"))

/** What an error status means. */
const refused = (
  request: HttpRequest,
  answer: Answer,
  body: string,
  at: number
): ComfyHttpError => {
  const { headers, status } = answer
  if (status === 429) {
    return failure(request, { _tag: "RateLimited", retryAfterMs: retryAfterMs(headers, at) }, status)
  }
  if (status >= 300 && status < 400) return proxy(request, status, "redirect")
  if (isOwnRefusal(request, answer, body)) return failure(request, { _tag: "Answered", body }, status)
  if (status === 401 || status === 403) return failure(request, { _tag: "Unauthorized", status }, status)
  if (status === 413) return failure(request, { _tag: "Answered", body: isHtml(headers, body) ? "" : body }, status)
  if (status === 500 && !isHtml(headers, body)) return failure(request, { _tag: "Answered", body }, status)
  return proxy(request, status, isHtml(headers, body) ? "an HTML page" : "not an answer of ComfyUI")
}

const cookieHeader = (jar: string | undefined, own: Credentials.Credentials["cookies"]): string | undefined => {
  const pairs = Object.entries(own).map(([name, value]) => `${name}=${encodeURIComponent(Redacted.value(value))}`)
  const all = jar === undefined ? pairs : [jar, ...pairs]
  return all.length === 0 ? undefined : all.join("; ")
}

const plain = (secrets: Credentials.Credentials["query"]): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(secrets).map(([name, value]) => [name, Redacted.value(value)]))

const settings = Context.empty().pipe(
  // Spans would carry the URL with its tokens, and ComfyUI's CORS refuses the headers of propagation.
  Context.add(HttpClient.TracerDisabledWhen, () => true),
  // A redirect followed blindly would take the credentials with it.
  Context.add(FetchHttpClient.RequestInit, { redirect: "manual" })
)

/** Requests over the `HttpClient` in context. */
export const make = Effect.fnUntraced(function*(
  options: TransportOptions
): Effect.fn.Return<HttpTransport, never, HttpClient.HttpClient | Scope.Scope> {
  const client = yield* HttpClient.HttpClient
  const alarm = yield* Alarm.make
  const clock = yield* Clock.Clock
  const { base } = options
  const userinfo = base.userinfo === undefined
    ? Credentials.none
    : Credentials.basic(base.userinfo.username, base.userinfo.password)
  const withUserinfo = (asked: Credentials.Credentials) => Credentials.all(userinfo, asked)
  const current = Effect.isEffect(options.credentials)
    ? Effect.map(options.credentials, withUserinfo)
    : Effect.succeed(withUserinfo(options.credentials))
  let jar: ReadonlyArray<Cookies.Cookie> = []

  const cookies = (url: string, own: Credentials.Credentials["cookies"]) =>
    cookieHeader(
      jar.length === 0 ? undefined : Cookies.toRequestCookieHeader(jar, url, clock.currentTimeMillisUnsafe()),
      own
    )

  const keepCookies = (answer: Answer) => {
    if (answer.headers["set-cookie"] === undefined) return
    jar = Cookies.mergeIntoArray(jar, answer.url, answer.cookies, clock.currentTimeMillisUnsafe())
  }

  const execute = (request: HttpRequest, secrets: Credentials.Credentials): Effect.Effect<Answer, ComfyHttpError> => {
    const url = BaseUrl.httpUrl(base, request.path)
    const cookie = cookies(url, secrets.cookies)
    const prepared = HttpClientRequest.make(request.method)(url, {
      headers: { ...request.headers, ...plain(secrets.headers), ...(cookie === undefined ? {} : { cookie }) },
      urlParams: UrlParams.fromInput(plain(secrets.query)),
      ...(request.body === undefined ? {} : { body: request.body })
    })
    return client.execute(prepared).pipe(
      Effect.mapError((error) => transportFailure(request, error)),
      (answer) =>
        alarm.timeoutOrElse(answer, request.timeout, () => Effect.fail(timedOut(request, "no answer in time"))),
      Effect.tap((answer) => Effect.sync(() => keepCookies(answer)))
    )
  }

  const read = (request: ErrorContext, answer: Answer, limit: number): Effect.Effect<string, ComfyHttpError> => {
    const length = Number(answer.headers["content-length"] ?? Number.NaN)
    const tooLarge = oversized(request, limit)
    if (length > limit) return Effect.fail(tooLarge())
    // A short body whose length is known is framed by HTTP itself.
    return bounded(request, length <= 1_000_000 ? answer.text : readBounded(answer, limit, tooLarge))
  }

  const bounded = <A>(
    request: ErrorContext,
    body: Effect.Effect<A, ComfyHttpError | HttpClientError.HttpClientError>
  ): Effect.Effect<A, ComfyHttpError> =>
    Effect.mapError(body, (error) => error._tag === "ComfyHttpError" ? error : transportFailure(request, error)).pipe(
      (read) => alarm.timeoutOrElse(read, options.bodyTimeout, () => Effect.fail(timedOut(request, "the body stopped")))
    )

  const once = (request: HttpRequest): Effect.Effect<Answer, ComfyHttpError> =>
    Effect.gen(function*() {
      let answer = yield* execute(request, yield* current)
      const denied = answer.status === 401 || answer.status === 403
      if (denied && request.refusals?.includes(answer.status) !== true && Effect.isEffect(options.credentials)) {
        // A token may have expired between two requests: asked once more, then it is an error.
        yield* Effect.ignore(read(request, answer, maxErrorBody))
        answer = yield* execute(request, yield* current)
      }
      if (answer.status < 300) return answer
      const body = yield* read(request, answer, maxErrorBody).pipe(Effect.orElseSucceed(() => ""))
      return yield* refused(request, answer, body, clock.currentTimeMillisUnsafe())
    })

  const send = (request: HttpRequest): Effect.Effect<Answer, ComfyHttpError> =>
    (request.idempotent
      ? Effect.retry(once(request), { schedule: options.retry, while: isTransient })
      : once(request)).pipe(
        Effect.provideContext(settings)
      )

  return {
    baseUrl: BaseUrl.format(base),
    alarm,
    send,
    text: (request) =>
      Effect.flatMap(
        send(request),
        (answer) =>
          Effect.flatMap(read(request, answer, options.maxBodyBytes), (body) =>
            Effect.filterOrFail(
              Effect.succeed(body),
              () => !isHtml(answer.headers, body),
              () => proxy(request, answer.status, "an HTML page")
            ))
      ),
    pieces: (request, take) =>
      Effect.flatMap(send(request), (answer) => {
        let first = true
        const feed = (piece: string): Effect.Effect<boolean, ComfyHttpError> => {
          if (first && isHtml(answer.headers, piece)) return Effect.fail(proxy(request, answer.status, "an HTML page"))
          first = false
          return Effect.succeed(take(piece))
        }
        const limit = options.maxBodyBytes
        return bounded(request, feedBounded(answer, limit, oversized(request, limit), feed))
      }),
    address: (clientId) =>
      Effect.map(current, (secrets) => {
        const url = BaseUrl.socketUrl(base, clientId)
        for (const [name, value] of Object.entries(secrets.query)) url.searchParams.set(name, Redacted.value(value))
        const cookie = cookies(BaseUrl.httpUrl(base, "/ws"), secrets.cookies)
        return {
          url,
          headers: cookie === undefined ? secrets.headers : { ...secrets.headers, cookie: Redacted.make(cookie) }
        }
      })
  }
})

const oversized = (request: ErrorContext, limit: number) => (): ComfyHttpError =>
  failure(request, { _tag: "ProtocolViolation", kind: "oversized body", excerpt: `${limit}` }, 200)

/** Hands on what comes, chunk by chunk up to the limit, until `feed` wants no more. */
const feedBounded = (
  answer: Answer,
  limit: number,
  tooLarge: () => ComfyHttpError,
  feed: (piece: string) => Effect.Effect<boolean, ComfyHttpError>
): Effect.Effect<void, ComfyHttpError | HttpClientError.HttpClientError> => {
  const decoder = new TextDecoder()
  let bytes = 0
  const take = (chunk: Uint8Array): Effect.Effect<boolean, ComfyHttpError> => {
    bytes += chunk.byteLength
    return bytes > limit ? Effect.fail(tooLarge()) : feed(decoder.decode(chunk, { stream: true }))
  }
  return Effect.andThen(Stream.runForEachWhile(answer.stream, take), Effect.suspend(() => feed(decoder.decode())))
}

/** Reads what has no stated length, or a long one. */
const readBounded = (answer: Answer, limit: number, tooLarge: () => ComfyHttpError) => {
  const texts: Array<string> = []
  const feed = (piece: string) => Effect.sync(() => texts.push(piece) > 0)
  return Effect.map(feedBounded(answer, limit, tooLarge, feed), () => texts.join(""))
}

/** Worth another try soon: no answer, or somebody in between who had none. */
export const isTransient = (error: ComfyHttpError): boolean =>
  error.reason._tag === "Unreachable" && error.reason.by !== "timeout" && error.status !== 404
