/** Every endpoint of a ComfyUI server, typed in and out: the face of HTTP, without sockets and runs. */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as BaseUrl from "./BaseUrl.ts"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import * as Credentials from "./Credentials.ts"
import * as Defaults from "./Defaults.ts"
import * as HttpAssets from "./HttpAssets.ts"
import * as HttpCall from "./HttpCall.ts"
import * as HttpFiles from "./HttpFiles.ts"
import * as HttpPrompts from "./HttpPrompts.ts"
import * as HttpServer from "./HttpServer.ts"
import * as HttpTransport from "./HttpTransport.ts"
import * as HttpUsers from "./HttpUsers.ts"
import { lazy } from "./internal/lazy.ts"

/** Where the server is and how long to wait for it. */
export interface HttpOptions {
  /** `http(s)://host:port/prefix`; `user:password@` becomes basic authentication, a query is an error. */
  readonly url: string
  /** Fixed, or an effect that is asked at each request. Default: none. */
  readonly credentials?: Credentials.Source
  /** Until the headers of the answer to a POST of a prompt. Default 90 s. */
  readonly promptTimeout?: Duration.Input
  /** Until the headers of the list of all classes. Default 120 s. */
  readonly objectInfoTimeout?: Duration.Input
  /** Until the headers of any other answer. Default 30 s. */
  readonly headersTimeout?: Duration.Input
  /** For a body that is read whole. Default 60 s. */
  readonly bodyTimeout?: Duration.Input
  /** Of a body that is read whole. Default 256 MiB. */
  readonly maxBodyBytes?: number
  /** Of idempotent requests. Default: two more tries, after 200 and 400 ms, jittered. */
  readonly retry?: Schedule.Schedule<unknown, ComfyHttpError>
}

/** The calls, by what they are about. All fail with {@link ComfyHttpError}. */
export interface Shape extends HttpPrompts.HttpPrompts, HttpFiles.HttpFiles {
  /** Origin and prefix, without secrets. */
  readonly baseUrl: string
  /** What the server is, knows and logs. */
  readonly server: HttpServer.HttpServer
  /** Users, and their settings and files. */
  readonly user: HttpUsers.HttpUsers
  readonly assets: HttpAssets.HttpAssets
  /** Requests to endpoints that this library does not know: prefix, credentials and limits apply. */
  readonly call: HttpCall.HttpCall
}

/** The endpoints of one server. */
export class ComfyHttp extends Context.Service<ComfyHttp, Shape>()("@effect-comfyui/client/ComfyHttp") {}

const retryTwice: Schedule.Schedule<unknown, ComfyHttpError> = Schedule.exponential("200 millis").pipe(
  Schedule.jittered,
  Schedule.upTo({ times: Defaults.http.tries - 1 }),
  Schedule.setInputType<ComfyHttpError>()
)

/** Requests over the `HttpClient` in context, as the options say. Fails only where the URL is no base URL. */
export const transport = (
  options: HttpOptions
): Effect.Effect<HttpTransport.HttpTransport, BaseUrl.BaseUrlError, HttpClient | Scope.Scope> =>
  Effect.flatMap(Effect.fromResult(BaseUrl.parse(options.url)), (base) =>
    HttpTransport.make({
      base,
      credentials: options.credentials ?? Credentials.none,
      bodyTimeout: options.bodyTimeout ?? Defaults.http.idleTimeout,
      maxBodyBytes: options.maxBodyBytes ?? Defaults.http.maxBodyBytes,
      retry: options.retry ?? retryTwice
    }))

/** Every endpoint over one transport. */
export const over = (transport: HttpTransport.HttpTransport, options: HttpOptions): Shape => {
  const call = HttpCall.make(transport, options.headersTimeout ?? Defaults.http.headersTimeout)
  // Dozens of calls that most clients never make: a fleet's worth of idle clients should not hold them.
  const server = lazy(() => HttpServer.make(call, options.objectInfoTimeout ?? Defaults.http.objectInfoTimeout))
  const user = lazy(() => HttpUsers.make(call))
  const assets = lazy(() => HttpAssets.make(call))
  return {
    ...HttpPrompts.make(call, options.promptTimeout ?? Defaults.http.promptTimeout),
    ...HttpFiles.make(call),
    get server() {
      return server()
    },
    get user() {
      return user()
    },
    get assets() {
      return assets()
    },
    baseUrl: transport.baseUrl,
    call
  }
}

/** Endpoints over the `HttpClient` in context. Fails only where the URL is no base URL. */
export const make = (
  options: HttpOptions
): Effect.Effect<Shape, BaseUrl.BaseUrlError, HttpClient | Scope.Scope> =>
  Effect.map(transport(options), (transport) => over(transport, options))

/** Endpoints of one server as a layer. */
export const layer = (options: HttpOptions): Layer.Layer<ComfyHttp, BaseUrl.BaseUrlError, HttpClient> =>
  Layer.effect(ComfyHttp, make(options))
