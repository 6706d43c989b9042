/**
 * A TCP proxy that treats connections badly on purpose: for any server, with any client. Everything may be changed while it
 * runs; what was changed holds for the bytes and connections that come.
 *
 * ```ts
 * const proxy = yield* ChaosProxyNode.make({ target: "http://127.0.0.1:8188", toClient: { latencyMs: 200, jitterMs: 50 } })
 * const client = yield* ComfyClient.make({ url: proxy.url })
 * yield* proxy.loseAnswers({ times: 1 })
 * ```
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { createServer, type Server, type Socket } from "node:net"
import { dice } from "./internal/dice.ts"
import { type Connection, type Direction, Line, type Run, type Toxics } from "./internal/lineNode.ts"

export type { Connection, Direction, Toxics }

/** What the proxy is like. */
export interface Options {
  /** Where the server is: `http://127.0.0.1:8188`, `ws://…`, or `host:port`. */
  readonly target: string
  /** 0 (default): any free port. */
  readonly port?: number | undefined
  /** The address to listen on; `127.0.0.1` by default. */
  readonly host?: string | undefined
  /** Decides the jitter. Default 1. */
  readonly seed?: number | undefined
  readonly toServer?: Toxics | undefined
  readonly toClient?: Toxics | undefined
  /** Bytes that a direction of a connection holds back at most; then its sender has to wait. Default 1 MiB. */
  readonly bufferBytes?: number | undefined
}

/** Which connections: one, some of the list, or all. */
export type Which = number | ((connection: Connection) => boolean) | "all"

/** A hold on a running proxy. */
export interface ChaosProxy {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly port: number
  /** The open connections. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** How many connections there ever were, refused ones not counted. */
  readonly accepted: Effect.Effect<number>
  /** Waits until a connection is open for which this is true. */
  readonly awaitConnection: (test: (connection: Connection) => boolean) => Effect.Effect<Connection>
  /** Sets how a direction, or both, treat their bytes: what is not named is off from now on. */
  readonly set: (toxics: Toxics, direction?: Direction) => Effect.Effect<void>
  /** A regular end (FIN) to both sides, of all connections by default. */
  readonly cut: (which?: Which) => Effect.Effect<void>
  /** RST to both sides. */
  readonly reset: (which?: Which) => Effect.Effect<void>
  /** Nothing passes any more, not even the end of a side; connections stay open. */
  readonly blackHole: (which?: Which) => Effect.Effect<void>
  /** New connections are accepted, and nothing passes over them, until the effect inside is run. */
  readonly blackHoleNew: Effect.Effect<{ readonly heal: Effect.Effect<void> }>
  /**
   * What the client asks goes through; when the server's first byte after it comes, it is dropped and the connection reset.
   * Strikes the next connection that asks something, so often (default 1), open ones too; `match` sees what it asks, as
   * far as it came in one piece.
   */
  readonly loseAnswers: (
    options?: { readonly times?: number; readonly match?: (asked: string) => boolean }
  ) => Effect.Effect<void>
  /** Nobody listens: connections are refused, open ones stay. */
  readonly refuse: Effect.Effect<void>
  /** Listens again, on the same port. */
  readonly accept: Effect.Effect<void>
  /** As new: no toxics, nothing lost, connections accepted; black holes are reset. */
  readonly heal: Effect.Effect<void>
}

const addressOf = (target: string): { readonly host: string; readonly port: number } => {
  const url = new URL(target.includes("://") ? target : `tcp://${target}`)
  const secure = url.protocol === "https:" || url.protocol === "wss:"
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (secure ? 443 : 80) : Number(url.port)
  }
}

interface Losing {
  left: number
  readonly match: (asked: string) => boolean
}

class Proxy {
  readonly #options: Options
  readonly #run: Run
  readonly #now: () => number
  readonly #lines = new Map<number, Line>()
  readonly #waiting = new Set<() => void>()
  #server: Server | undefined
  #losing: Array<Losing> = []
  readonly #random: () => number
  port = 0
  accepted = 0
  deaf = 0
  toxics: Record<Direction, Toxics>

  constructor(options: Options, run: Run, now: () => number) {
    this.#options = options
    this.#run = run
    this.#now = now
    this.#random = dice(options.seed ?? 1)
    this.toxics = { toServer: options.toServer ?? {}, toClient: options.toClient ?? {} }
  }

  readonly listen: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.#server !== undefined) return resume(Effect.void)
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#take(socket))
    this.#server = server
    server.once("error", (error) => resume(Effect.die(error)))
    server.listen(this.port === 0 ? this.#options.port ?? 0 : this.port, this.#options.host ?? "127.0.0.1", () => {
      const address = server.address()
      if (typeof address === "object" && address !== null) this.port = address.port
      resume(Effect.void)
    })
  })

  readonly stopListening: Effect.Effect<void> = Effect.sync(() => {
    this.#server?.close()
    this.#server = undefined
  })

  #take(socket: Socket): void {
    const id = ++this.accepted
    const line = new Line(socket, {
      id,
      target: addressOf(this.#options.target),
      bufferBytes: this.#options.bufferBytes ?? 1024 * 1024,
      run: this.#run,
      now: this.#now,
      toxics: (direction) => this.toxics[direction],
      random: this.#random,
      asked: (text) => this.#loses(text),
      changed: () => {
        for (const look of [...this.#waiting]) look()
      },
      gone: () => this.#lines.delete(id)
    })
    this.#lines.set(id, line)
    if (this.deaf > 0) line.blackHole()
    line.start()
  }

  /** Whether the answer to what was asked is to be lost. */
  #loses(text: string): boolean {
    const losing = this.#losing.find((one) => one.match(text))
    if (losing === undefined) return false
    losing.left--
    this.#losing = this.#losing.filter((one) => one.left > 0)
    return true
  }

  lose(times: number, match: (asked: string) => boolean): void {
    if (times > 0) this.#losing.push({ left: times, match })
  }

  list(): ReadonlyArray<Connection> {
    return [...this.#lines.values()].map((line) => line.look())
  }

  each(which: Which, act: (line: Line) => void): void {
    for (const [id, line] of this.#lines) {
      if (which === "all" || (typeof which === "number" ? id === which : which(line.look()))) act(line)
    }
  }

  await(test: (connection: Connection) => boolean): Effect.Effect<Connection> {
    return Effect.callback((resume) => {
      const look = (): void => {
        const found = this.list().find(test)
        if (found === undefined) return
        this.#waiting.delete(look)
        resume(Effect.succeed(found))
      }
      this.#waiting.add(look)
      look()
      return Effect.sync(() => {
        this.#waiting.delete(look)
      })
    })
  }

  readonly heal: Effect.Effect<void> = Effect.suspend(() => {
    this.toxics = { toServer: {}, toClient: {} }
    this.#losing = []
    this.deaf = 0
    this.each((connection) => connection.blackHole, (line) => line.reset())
    return this.listen
  })
}

/** Starts a proxy that listens until the scope closes, which resets whatever is open. Dies if the port is taken. */
export const make: (options: Options) => Effect.Effect<ChaosProxy, never, Scope.Scope> = Effect.fnUntraced(
  function*(options: Options) {
    const clock = yield* Clock.Clock
    const run = yield* FiberSet.makeRuntime<never>()
    const proxy = new Proxy(options, (ms, then) => {
      run(Effect.andThen(Effect.sleep(Duration.millis(ms)), Effect.sync(then)))
    }, () => Number(clock.currentTimeNanosUnsafe()) / 1_000_000)
    const onEach = (which: Which, act: (line: Line) => void): Effect.Effect<void> =>
      Effect.sync(() => proxy.each(which, act))
    yield* Effect.acquireRelease(
      proxy.listen,
      () => Effect.andThen(proxy.stopListening, onEach("all", (line) => line.reset()))
    )
    return {
      url: `http://${options.host ?? "127.0.0.1"}:${proxy.port}`,
      port: proxy.port,
      connections: Effect.sync(() => proxy.list()),
      accepted: Effect.sync(() => proxy.accepted),
      awaitConnection: (test) => proxy.await(test),
      set: (toxics, direction) =>
        Effect.sync(() => {
          proxy.toxics = direction === undefined
            ? { toServer: toxics, toClient: toxics }
            : { ...proxy.toxics, [direction]: toxics }
        }),
      cut: (which = "all") => onEach(which, (line) => line.cut()),
      reset: (which = "all") => onEach(which, (line) => line.reset()),
      blackHole: (which = "all") => onEach(which, (line) => line.blackHole()),
      blackHoleNew: Effect.sync(() => {
        proxy.deaf++
        let mine = 1
        return {
          heal: Effect.sync(() => {
            proxy.deaf = Math.max(0, proxy.deaf - mine)
            mine = 0
          })
        }
      }),
      loseAnswers: ({ match = () => true, times = 1 } = {}) => Effect.sync(() => proxy.lose(times, match)),
      refuse: proxy.stopListening,
      accept: proxy.listen,
      heal: proxy.heal
    }
  }
)
