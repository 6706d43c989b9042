/**
 * The real client on fake servers, in memory and in virtual time: what a test of your own service stands on. Use it under
 * `it.effect`, whose clock moves only when the test moves it; the helpers here do that.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as ComfyClients from "@effect-comfyui/client/ComfyClients"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { FakeServer } from "./FakeServer.ts"
import * as FakeServers from "./FakeServers.ts"
import * as TestNodes from "./TestNodes.ts"

/** What did not happen within `limitMs` of virtual time. */
export class StillWaiting extends Schema.TaggedError<StillWaiting>()("StillWaiting", { limitMs: Schema.Finite }) {
  override get message(): string {
    return `still waiting after ${Duration.format(Duration.millis(this.limitMs))} of virtual time`
  }
}

/** A server as {@link FakeServers} takes it, and its client. {@link TestNodes} are among its node classes. */
export interface Options extends FakeServers.ServerOptions {
  readonly client?: Omit<Partial<ComfyClient.Options>, "url">
}

/** How far the clock moves. */
export interface AdvanceOptions {
  /** How much at a time. Default 1 second. */
  readonly step?: Duration.Input
  /** How much in all, at most. Default 1 hour. */
  readonly limit?: Duration.Input
}

/** The name of the n-th server, from 1. */
export const nameOf = (n: number): string => `gpu-${n}`

/** Where the server of that name is. */
export const urlOf = (name: string): string => `http://${name}:8188`

type Seams = HttpClient | WebSocketConstructor

const serverOptions = (options: Options): FakeServers.ServerOptions => ({
  ...options,
  nodes: [...TestNodes.nodes, ...(options.nodes ?? [])]
})

const clientOptions = (name: string, { basePath = "", client }: Options): ComfyClient.Options => ({
  ...client,
  url: urlOf(name) + basePath
})

const isSettled = (client: ComfyClient.Shape): Effect.Effect<void> =>
  Stream.runDrain(Stream.takeUntil(client.link.changes, (state) => state._tag !== "Connecting"))

/** For what ends by being interrupted or closed: longer than a client takes to cancel its runs. */
const ending: AdvanceOptions = { step: "100 millis", limit: "1 minute" }

/** A client that closes cancels its runs, which takes time where a server does not answer: nobody else moves the clock. */
const closedInTime = <A, E, R>(layer: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.effectContext(Effect.gen(function*() {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Effect.ignore(advanceWhile(Scope.close(scope, exit), ending)))
    return yield* Layer.buildWithScope(layer, scope)
  }))

/**
 * One fake server and the real client of it. The socket is up when the layer is there, so a test may move the clock at
 * once. Every build is a server of its own; its state is in `ComfyTest.server`.
 *
 * ```ts
 * const environment = MyService.layer.pipe(Layer.provideMerge(ComfyTest.layer({ version: "0.27.0" })))
 * ```
 */
export const layer = (
  options: Options = {}
): Layer.Layer<ComfyClient.ComfyClient | FakeServers.FakeServers | Seams> => {
  const name = nameOf(1)
  return Layer.effect(
    ComfyClient.ComfyClient,
    Effect.tap(
      Effect.orDie(ComfyClient.make(clientOptions(name, options))),
      (client) => options.client?.socket === "none" ? Effect.void : isSettled(client)
    )
  ).pipe(closedInTime, Layer.provideMerge(FakeServers.layer({ [urlOf(name)]: serverOptions(options) })))
}

/**
 * `n` fake servers, `gpu-1` to `gpu-n`, and their clients by name: `clients.get("gpu-2")` is a layer. A client is made
 * when it is first wanted; {@link connected} waits for its socket. Options are those of every server, or a function of
 * the name.
 */
export const layerFleet = (
  n: number,
  options: Options | ((name: string) => Options) = {}
): Layer.Layer<ComfyClients.ComfyClients | FakeServers.FakeServers | Seams> => {
  const servers = Array.from({ length: n }, (_, index) => {
    const name = nameOf(index + 1)
    return { name, options: typeof options === "function" ? options(name) : options }
  })
  return ComfyClients.layer(
    Object.fromEntries(servers.map(({ name, options }) => [name, clientOptions(name, options)])),
    { idleTimeToLive: Duration.infinity }
  ).pipe(
    closedInTime,
    Layer.provideMerge(
      FakeServers.layer(Object.fromEntries(servers.map(({ name, options }) => [urlOf(name), serverOptions(options)])))
    )
  )
}

/** The server of that name, from behind: its ledger, its faults. */
export const serverOf = (name: string): Effect.Effect<FakeServer, never, FakeServers.FakeServers> =>
  Effect.map(FakeServers.FakeServers, (servers) => servers.get(urlOf(name)))

/** The server of {@link layer}, the first of a fleet. */
export const server: Effect.Effect<FakeServer, never, FakeServers.FakeServers> = serverOf(nameOf(1))

/** What can happen without time happens in fewer turns. */
const turns = 64

const isTrue = <E, R>(condition: (() => boolean) | Effect.Effect<boolean, E, R>): Effect.Effect<boolean, E, R> =>
  Effect.isEffect(condition) ? condition : Effect.sync(condition)

/**
 * Moves the clock in steps until the condition holds; not at all if it holds already, or will when everything that is
 * ready has run. `StillWaiting` at the limit.
 */
export const advanceUntil = Effect.fnUntraced(function*<E = never, R = never>(
  condition: (() => boolean) | Effect.Effect<boolean, E, R>,
  options: AdvanceOptions = {}
): Effect.fn.Return<void, StillWaiting | E, R> {
  const step = Math.max(1, Duration.toMillis(options.step ?? "1 second"))
  const limit = Duration.toMillis(options.limit ?? "1 hour")
  const holds = isTrue(condition)
  for (let turn = 0; turn < turns; turn++) {
    if (yield* holds) return
    yield* Effect.yieldNow
  }
  for (let passed = 0; passed < limit;) {
    const next = Math.min(step, limit - passed)
    yield* TestClock.adjust(next)
    passed += next
    if (yield* holds) return
  }
  return yield* new StillWaiting({ limitMs: limit })
})

/**
 * Runs an effect and moves the clock in steps until it has ended; its result is the effect's. At the limit it is
 * interrupted: `StillWaiting`. What it does on its interruption takes time too (a run is cancelled on its server), so the
 * clock moves on, a minute at most; what has not ended then is left behind. The layers here close the same way. This is
 * how a test calls what takes time.
 *
 * ```ts
 * const poster = yield* ComfyTest.advanceWhile(service.draw("a lighthouse"))
 * ```
 */
export const advanceWhile = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  options: AdvanceOptions = {}
): Effect.Effect<A, E | StillWaiting, R> =>
  Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
    // No child: whoever has children waits for them, and this one may never end.
    const fiber = yield* Effect.forkDetach(restore(effect), { startImmediately: true })
    const isOver = () => fiber.pollUnsafe() !== undefined
    yield* Effect.onError(restore(advanceUntil(isOver, options)), () =>
      Effect.suspend(() => {
        fiber.interruptUnsafe()
        return Effect.ignore(advanceUntil(isOver, ending))
      }))
    return yield* Fiber.join(fiber)
  }))

/**
 * Waits until the socket of the client in context is up, and moves the clock only if it must: after a restart, a client
 * dials when its pause is over. `StillWaiting` after `limit`, by default a minute.
 */
export const connected = (
  options: AdvanceOptions = {}
): Effect.Effect<void, StillWaiting, ComfyClient.ComfyClient> =>
  Effect.flatMap(ComfyClient.ComfyClient, (client) =>
    advanceUntil(
      Effect.map(client.link.get, (state) => state._tag === "Up"),
      { step: "50 millis", limit: "1 minute", ...options }
    ))
