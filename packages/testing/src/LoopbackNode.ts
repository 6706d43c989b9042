/**
 * A fake ComfyUI server on a loopback port of this process: real HTTP, real WebSockets, real time. For what only real
 * sockets show; everything else is quicker and exact with `FakeServers`.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { Socket as NetSocket } from "node:net"
import type { Duplex } from "node:stream"
import { type RawData, type WebSocket, WebSocketServer } from "ws"
import type * as FakeComfy from "./FakeComfy.ts"
import type { FakeServer } from "./FakeServer.ts"
import * as FaultyComfy from "./FaultyComfy.ts"
import { type Carrier, Driver, type Driving, type HttpOutcome } from "./internal/driver.ts"
import { makeServer } from "./internal/handle.ts"
import { isRaw, writeRaw } from "./internal/rawAnswerNode.ts"

/** What the server is like, and where it listens. */
export interface Options extends FakeComfy.Options {
  /** 0 (default): any free port. */
  readonly port?: number | undefined
  /** The address to listen on; `127.0.0.1` by default. */
  readonly host?: string | undefined
  /** Called when the fake process dies by what it ran. */
  readonly onCrash?: ((reason: string) => void) | undefined
}

/** A listening server. */
export interface LoopbackServer extends FakeServer {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly port: number
}

const lower = (headers: NodeJS.Dict<string | Array<string>>): Record<string, string> => {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) out[name.toLowerCase()] = typeof value === "string" ? value : value.join(", ")
  }
  return out
}

/** How long a connection is kept alive if no proxy ends it: as aiohttp does. */
const keepAliveMs = 75_000

const bytesOf = (data: RawData): Uint8Array =>
  Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? new Uint8Array(data) : data

class Loopback {
  readonly driver: Driver
  readonly #options: Options
  readonly #run: (effect: Effect.Effect<void>) => unknown
  readonly #sockets = new Set<Duplex>()
  readonly #webSockets = new Map<number, WebSocket>()
  readonly #upgrades = new WebSocketServer({ noServer: true, autoPong: false, perMessageDeflate: false })
  #server: Server | undefined
  #port = 0

  constructor(options: Options, driving: Driving, run: (effect: Effect.Effect<void>) => unknown) {
    this.#options = options
    this.#run = run
    this.driver = new Driver(options, {
      ...driving,
      onCrash: (reason) => {
        this.stopListening()
        options.onCrash?.(reason)
      },
      onReachable: (reachable) => {
        if (reachable) this.#open()
        else this.stopListening()
      }
    })
  }

  get port(): number {
    return this.#port
  }

  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    const server = this.#open()
    if (server.listening) return resume(Effect.void)
    server.once("error", (error) => resume(Effect.die(error)))
    server.once("listening", () => resume(Effect.void))
  })

  #open(): Server {
    if (this.#server !== undefined) return this.#server
    const server = createServer((request, response) => this.#answer(request, response))
    this.#server = server
    server.on("connection", (socket: NetSocket) => {
      socket.setNoDelay(true)
      this.#sockets.add(socket)
      socket.on("close", () => this.#sockets.delete(socket))
    })
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head))
    server.on("clientError", (_error, socket) => socket.destroy())
    server.on("error", () => {
      this.#server = undefined
    })
    server.listen(this.#port === 0 ? this.#options.port ?? 0 : this.#port, this.#options.host ?? "127.0.0.1", () => {
      const address = server.address()
      if (typeof address === "object" && address !== null) this.#port = address.port
    })
    return server
  }

  /** Nobody can connect any more, and every connection breaks: as after the end of a process. */
  stopListening(): void {
    this.#server?.close()
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
    this.#webSockets.clear()
  }

  /** Nothing is read from half-open connections any more: not even a close frame is answered. */
  pauseHalfOpen(): void {
    for (const [conn, webSocket] of this.#webSockets) if (this.driver.isHalfOpen(conn)) webSocket.pause()
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.#server !== undefined) {
      this.#server.keepAliveTimeout = FaultyComfy.keepAliveMs(this.driver.state) ?? keepAliveMs
    }
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const id = this.driver.request({
        method: request.method ?? "GET",
        path: request.url ?? "/",
        headers: lower(request.headers),
        body: Buffer.concat(chunks)
      }, (outcome) => this.#write(response, outcome))
      response.on("close", () => this.driver.abandon(id))
    })
    request.on("error", () => response.destroy())
  }

  #write(response: ServerResponse, outcome: HttpOutcome): void {
    if (outcome._tag === "HttpAborted") {
      const { socket } = response
      if (socket === null) response.destroy()
      else socket.resetAndDestroy()
      return
    }
    if (response.socket !== null && isRaw(outcome)) {
      this.#run(writeRaw(response.socket, outcome))
      return
    }
    response.sendDate = false
    // aiohttp says nothing about connections that stay open.
    if (outcome.headers["connection"] === undefined) response.removeHeader("connection")
    response.writeHead(outcome.status, outcome.headers)
    if (outcome.cutAfter === undefined) response.end(outcome.body)
    else response.write(outcome.body.slice(0, outcome.cutAfter), () => response.socket?.resetAndDestroy())
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    let webSocket: WebSocket | undefined
    // Node's server has let go of it, and `ws` has not taken it: a reset that nobody listens for ends the process.
    socket.on("error", () => socket.destroy())
    const conn = this.driver.nextConn()
    const early: Array<string | Uint8Array> = []
    const carrier: Carrier = {
      opened: () => {
        this.#upgrades.handleUpgrade(request, socket, head, (accepted) => {
          webSocket = accepted
          this.#listenTo(conn, accepted)
          for (const frame of early) accepted.send(frame)
        })
      },
      refused: ({ body, headers, status }) => {
        const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("")
        socket.end(
          Buffer.concat([Buffer.from(`HTTP/1.1 ${status} Refused\r\n${lines}connection: close\r\n\r\n`), body])
        )
      },
      received: (frame) => {
        if (webSocket === undefined) early.push(frame)
        else if (webSocket.readyState === webSocket.OPEN) webSocket.send(frame)
      },
      closed: (code, reason) => {
        this.#webSockets.delete(conn)
        if (webSocket === undefined || code === 1006) {
          webSocket?.terminate()
          socket.destroy()
        } else webSocket.close(code, reason)
      },
      ponged: () => webSocket?.pong(),
      raw: (bytes) => {
        socket.write(bytes)
      }
    }
    socket.once("close", () => {
      if (webSocket !== undefined) return
      this.driver.forget(conn)
      this.driver.input({ _tag: "SocketClose", conn, code: 1006 })
    })
    this.driver.open(conn, request.url ?? "/", lower(request.headers), carrier)
  }

  #listenTo(conn: number, accepted: WebSocket): void {
    this.#webSockets.set(conn, accepted)
    accepted.on("message", (data, binary) => {
      const bytes = bytesOf(data)
      this.driver.input({ _tag: "SocketFrame", conn, frame: binary ? bytes : new TextDecoder().decode(bytes) })
    })
    accepted.on("ping", () => this.driver.input({ _tag: "SocketPing", conn }))
    accepted.on("error", () => accepted.terminate())
    accepted.on("close", (code) => {
      this.#webSockets.delete(conn)
      this.driver.forget(conn)
      this.driver.input({ _tag: "SocketClose", conn, code })
    })
  }
}

/**
 * Starts a server that listens until the scope closes. Dies if the port is taken.
 */
export const make: (options?: Options) => Effect.Effect<LoopbackServer, never, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options = {}) {
    const clock = yield* Clock.Clock
    const timer = yield* FiberHandle.makeRuntime<never>()
    const slow = yield* FiberSet.makeRuntime<never>()
    const loopback = new Loopback({ epochMs: clock.currentTimeMillisUnsafe(), ...options }, {
      now: () => Number(clock.currentTimeNanosUnsafe()) / 1_000_000,
      wake: (ms, fire) => {
        timer(
          Effect.andThen(ms <= 0 ? Effect.yieldNow : Effect.sleep(Duration.millis(Math.ceil(ms))), Effect.sync(fire))
        )
      }
    }, (effect) => slow(effect))
    yield* Effect.acquireRelease(loopback.listen, () => Effect.sync(() => loopback.stopListening()))
    const url = `http://${options.host ?? "127.0.0.1"}:${loopback.port}`
    const server = makeServer(url, loopback.driver)
    return {
      ...server,
      url,
      port: loopback.port,
      halfOpenSockets: (which) =>
        Effect.andThen(server.halfOpenSockets(which), Effect.sync(() => loopback.pauseHalfOpen())),
      restart: Effect.andThen(
        server.restart,
        Effect.suspend(() => loopback.driver.state.down > 0 ? Effect.void : loopback.listen)
      )
    }
  }
)

/** One loopback server as a service. */
export class Loopbacked extends Context.Service<Loopbacked, LoopbackServer>()(
  "@effect-comfyui/testing/LoopbackNode"
) {}

/** A loopback server for the lifetime of the layer. */
export const layer = (options: Options = {}): Layer.Layer<Loopbacked> => Layer.effect(Loopbacked, make(options))
