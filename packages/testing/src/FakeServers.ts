/**
 * Fake ComfyUI servers in memory, behind the two seams to the world: `HttpClient` and `WebSocketConstructor`. They run
 * on Effect's Clock, so under `TestClock` a workflow of ten minutes takes milliseconds. A client that is given these
 * layers cannot tell them from a network.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import type * as FakeComfy from "./FakeComfy.ts"
import type { FakeServer } from "./FakeServer.ts"
import { FakeNodeSocket, FakeSocket } from "./FakeSocket.ts"
import { type Carrier, Driver } from "./internal/driver.ts"
import { makeServer } from "./internal/handle.ts"
import * as httpSeam from "./internal/httpSeam.ts"
import * as timer from "./internal/timer.ts"

/** One server and how it is reached. */
export interface ServerOptions extends FakeComfy.Options {
  /**
   * `ws` (default): sockets take headers and have `ping`, `terminate` and `on("pong")`. `browser`: none of it, and
   * headers throw, as in a browser.
   */
  readonly sockets?: "ws" | "browser" | undefined
  /** The server stands behind this path prefix, such as `/comfy`; other paths are a proxy's 404 page. */
  readonly basePath?: string | undefined
}

/** The running servers, by origin (`http://gpu-1:8188`). */
export class FakeServers extends Context.Service<FakeServers, {
  /** Dies if there is no server of this origin: a test's own mistake. */
  readonly get: (origin: string) => FakeServer
  readonly all: ReadonlyArray<FakeServer>
}>()("@effect-comfyui/testing/FakeServers") {}

interface Entry {
  readonly origin: string
  readonly options: ServerOptions
  readonly driver: Driver
  readonly server: FakeServer
}

/** How long `ws` waits for the other side of a close handshake. */
const closeTimeoutMs = 30_000

const notHere = new TextEncoder().encode("<html><head><title>404 Not Found</title></head></html>\n")

/** The server's path for a requested one; undefined outside of its prefix. */
const strip = (options: ServerOptions, path: string): string | undefined => {
  const { basePath } = options
  if (basePath === undefined || basePath === "" || basePath === "/") return path
  const prefix = basePath.endsWith("/") ? basePath.slice(0, -1) : basePath
  if (path === prefix) return "/"
  return path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : undefined
}

const makeHttp = (entries: ReadonlyMap<string, Entry>): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.flatMap(httpSeam.bodyBytes(request), (body) => {
      const entry = entries.get(url.origin)
      if (entry === undefined) {
        return Effect.fail(httpSeam.transportError(request, `getaddrinfo ENOTFOUND ${url.hostname}`))
      }
      const path = strip(entry.options, url.pathname)
      if (path === undefined) {
        const headers = { "content-type": "text/html", server: "nginx" }
        return Effect.succeed(
          httpSeam.toResponse(request, { status: 404, headers, body: notHere })
        )
      }
      return Effect.callback<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>((resume) => {
        const headers = { host: url.host, ...httpSeam.headersOf(request) }
        const id = entry.driver.request(
          { method: request.method, path: path + url.search, headers, body },
          (outcome) =>
            resume(
              outcome._tag === "HttpResponse"
                ? Effect.delay(
                  Effect.succeed(httpSeam.toResponse(request, outcome)),
                  Duration.millis(outcome.slow?.headersMs ?? 0)
                )
                : Effect.fail(
                  httpSeam.transportError(
                    request,
                    outcome.reason === "refused"
                      ? `connect ECONNREFUSED ${url.host}`
                      : "the connection broke before an answer came (ECONNRESET)"
                  )
                )
            )
        )
        return Effect.sync(() => entry.driver.abandon(id))
      })
    })
  )

type Run = (effect: Effect.Effect<void>) => unknown

const makeSockets = (entries: ReadonlyMap<string, Entry>, start: Run) =>
(
  url: string,
  options?: Socket.WebSocketConstructorOptions
): FakeSocket => {
  // A runtime starts a fiber at once; a socket's user first adds its listeners.
  const run: Run = (effect) => start(Effect.andThen(Effect.yieldNow, effect))
  const target = new URL(url)
  const origin = `${target.protocol === "wss:" ? "https:" : "http:"}//${target.host}`
  const entry = entries.get(origin)
  const browser = entry?.options.sockets === "browser"
  if (browser && options !== undefined && typeof options !== "string" && !Array.isArray(options)) {
    throw new TypeError("this WebSocket cannot send headers")
  }
  let conn: number | undefined
  const wire = {
    send: (frame: string | Uint8Array) => {
      if (conn !== undefined) entry?.driver.input({ _tag: "SocketFrame", conn, frame })
    },
    ping: () => {
      if (conn !== undefined) entry?.driver.input({ _tag: "SocketPing", conn })
    },
    close: (code: number, reason: string) => {
      if (conn === undefined || entry === undefined) return
      const closing = conn
      if (entry.driver.isHalfOpen(closing)) {
        run(Effect.andThen(Effect.sleep(closeTimeoutMs), Effect.sync(() => socket.closed(1006, ""))))
        return
      }
      run(Effect.sync(() => {
        entry.driver.forget(closing)
        entry.driver.input({ _tag: "SocketClose", conn: closing, code })
        socket.closed(code, reason)
      }))
    },
    terminate: () => {
      if (conn === undefined || entry === undefined) return
      const ended = conn
      conn = undefined
      entry.driver.forget(ended)
      entry.driver.input({ _tag: "SocketClose", conn: ended, code: 1006 })
    }
  }
  const socket = browser ? new FakeSocket(url, wire) : new FakeNodeSocket(url, wire)
  const carrier: Carrier = {
    opened: () => socket.opened(),
    refused: (response) => socket.refused(response.status),
    received: (frame) => socket.received(frame),
    closed: (code, reason) => {
      if (code === 1006) socket.broken(`connect ECONNREFUSED ${target.host}`)
      else socket.closed(code, reason)
    },
    raw: () => {
      // What `ws` makes of bytes that break its protocol: an error, and the end of the connection.
      const broken = conn
      conn = undefined
      if (broken === undefined || entry === undefined) return
      entry.driver.forget(broken)
      entry.driver.input({ _tag: "SocketClose", conn: broken, code: 1006 })
      socket.closed(1006, "")
    },
    ponged: () => {
      if (socket instanceof FakeNodeSocket) socket.ponged()
    }
  }
  run(Effect.sync(() => {
    if (socket.readyState !== FakeSocket.CONNECTING) {
      socket.closed(1006, "")
      return
    }
    const path = entry === undefined ? undefined : strip(entry.options, target.pathname)
    if (entry === undefined) socket.broken(`getaddrinfo ENOTFOUND ${target.hostname}`)
    else if (path === undefined) socket.refused(404)
    else {
      conn = entry.driver.nextConn()
      entry.driver.open(conn, path + target.search, { host: target.host, ...httpSeam.dialHeaders(options) }, carrier)
    }
  }))
  return socket
}

const make = Effect.fnUntraced(function*(servers: Readonly<Record<string, ServerOptions>>) {
  const clock = yield* Clock.Clock
  const now = (): number => Number(clock.currentTimeNanosUnsafe()) / 1_000_000
  const startedAt = clock.currentTimeMillisUnsafe()
  const run = yield* FiberSet.makeRuntime<never>()
  const entries = new Map<string, Entry>()
  for (const [key, options] of Object.entries(servers)) {
    const { origin } = new URL(key)
    const wake = yield* timer.make
    const driver = new Driver({ epochMs: startedAt, ...options }, { now, wake })
    entries.set(origin, { origin, options, driver, server: makeServer(origin, driver) })
  }
  const get = (origin: string): FakeServer => {
    const entry = entries.get(new URL(origin).origin)
    if (entry === undefined) throw new Error(`there is no fake server at ${origin}`)
    return entry.server
  }
  return Context.make(FakeServers, { get, all: [...entries.values()].map((entry) => entry.server) }).pipe(
    Context.add(HttpClient.HttpClient, makeHttp(entries)),
    Context.add(Socket.WebSocketConstructor, makeSockets(entries, (effect) => run(effect)))
  )
})

/**
 * Servers by origin, each with its own options. Any other origin cannot be resolved. Building the layer starts them;
 * closing its scope ends their timers.
 *
 * ```ts
 * const Servers = FakeServers.layer({ "http://gpu-1:8188": { version: "0.33.0" } })
 * ```
 */
export const layer = (
  servers: Readonly<Record<string, ServerOptions>>
): Layer.Layer<FakeServers | HttpClient.HttpClient | Socket.WebSocketConstructor> => Layer.effectContext(make(servers))
