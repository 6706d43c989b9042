/**
 * One logical socket to one server: dialled anew whenever it ends, announced only when the server has registered it, and
 * watched by pings. What it cannot promise, that nothing was missed, it says: every loss is told with its reason.
 */
import { readTime, type Time } from "@effect-comfyui/execution/Time"
import type { Frame } from "@effect-comfyui/protocol/Frame"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import type * as Socket from "effect/socket/Socket"
import { type Connection, dial, LinkError, type LinkReason } from "./Connection.ts"
import * as Defaults from "./Defaults.ts"

/** Where the socket stands. `generation` counts the registered connections of this link, from 1. */
export type LinkState =
  | { readonly _tag: "Connecting" }
  | { readonly _tag: "Up"; readonly generation: number; readonly clientId: string }
  | { readonly _tag: "Down"; readonly error: LinkError }
  /** Upgrades were refused: the client works by asking over HTTP, and tries again later. */
  | { readonly _tag: "Refused"; readonly error: LinkError }

/** What a link tells, on its own fiber: handlers are synchronous and never wait. */
export interface Listener {
  readonly up: (state: Extract<LinkState, { readonly _tag: "Up" }>, time: Time) => void
  readonly messages: (messages: ReadonlyArray<ServerMessage.ServerMessage>, time: Time) => void
  readonly down: (error: LinkError, time: Time) => void
  /** Any other change of state. */
  readonly changed: (state: LinkState) => void
}

/** What a link needs. */
export interface LinkOptions {
  /** The address of a client id, with fresh credentials. */
  readonly address: (clientId: string) => Effect.Effect<
    { readonly url: URL; readonly headers: Readonly<Record<string, Redacted.Redacted<string>>> }
  >
  readonly freshClientId: Effect.Effect<string>
  /** Whether frames of this client id may still come: then a new connection takes it over, else a fresh one. */
  readonly keepsClientId: () => boolean
  /** Whether the server answers over HTTP within the limit of a dead socket. */
  readonly httpAnswers: Effect.Effect<boolean>
  readonly reconnect: Schedule.Schedule<unknown, LinkError>
  /** How many refused upgrades lead to polling; none for a client that must have a socket. */
  readonly refusalsUntilPolling: Option.Option<number>
  readonly refusedRetry: Duration.Input
  readonly openTimeout: Duration.Input
  readonly pingInterval: Duration.Input
  readonly missedPongs: number
  readonly maxBufferedBytes: number
  readonly listener: Listener
}

/** A link; it ends with its scope. */
export interface Link {
  /** The id that runs are posted under now. */
  readonly clientId: () => string
  readonly state: () => LinkState
  /**
   * Whether the connection is what it seems: it answers a ping within `within`. Without a connection it is not; where
   * there are no pings, as in browsers, it is taken at its word.
   */
  readonly isAlive: (within: Duration.Input) => Effect.Effect<boolean>
  /** Replaces the connection: for the listener it is lost with this reason. */
  readonly redial: (reason: LinkReason) => Effect.Effect<void>
}

/** Without an end: 250 ms doubling to 15 s, jittered. */
export const reconnectForever: Schedule.Schedule<unknown, LinkError> = Schedule.min([
  Schedule.exponential(Defaults.socket.reconnectBase),
  Schedule.spaced(Defaults.socket.reconnectCap)
]).pipe(Schedule.jittered, Schedule.setInputType<LinkError>())

/** A connection that lived less is one more failure for the schedule: a server that accepts and drops is no loop. */
const provenMs = 10_000

/** A server whose connections live just long enough to begin the schedule anew would be dialled without end. */
const budget = (perMinute: number) => {
  const dials: Array<number> = []
  /** Milliseconds until the next dial may be made; it is taken to be made then. */
  return (now: number): number => {
    const first = dials.length < perMinute ? undefined : dials.shift()
    const wait = first === undefined ? 0 : Math.max(0, first + 60_000 - now)
    dials.push(now + wait)
    return wait
  }
}

const isAnswered = (pong: Option.Option<Result.Result<void, LinkError>>): boolean =>
  Option.isSome(pong) && Result.isSuccess(pong.value)

const featureFlags = JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } })

/** Opens a link and keeps it open until the scope closes. Never fails: a dead server is a state, not an error. */
export const make = Effect.fnUntraced(function*(
  options: LinkOptions
): Effect.fn.Return<Link, never, Scope.Scope | Socket.WebSocketConstructor> {
  const { listener } = options
  const clock = yield* Clock.Clock
  let state: LinkState = { _tag: "Connecting" }
  let generation = 0
  let refusals = 0
  let current: { readonly connection: Connection; replaced: LinkReason | undefined } | undefined
  let clientId = yield* options.freshClientId

  const become = (next: LinkState) => {
    state = next
    listener.changed(next)
  }

  /** Pulls until the connection ends. The first frame is the server's word that it has registered us. */
  const pump = (connection: Connection, id: string): Effect.Effect<never, LinkError> => {
    const decoder = ServerMessage.makeDecoder()
    const take = (frames: ReadonlyArray<Frame>) => {
      const messages = decoder.decodeBatch(frames)
      const time = readTime(clock)
      if (state._tag !== "Up") {
        refusals = 0
        const up: LinkState = { _tag: "Up", generation: ++generation, clientId: id }
        become(up)
        listener.up(up, time)
      }
      listener.messages(messages, time)
    }
    return Effect.forever(Effect.map(connection.pull, take), { disableYield: true })
  }

  const heartbeat = (ping: Effect.Effect<void, LinkError>) =>
    Effect.gen(function*() {
      let missed = 0
      for (;;) {
        yield* Effect.sleep(options.pingInterval)
        const answered = yield* Effect.timeoutOption(ping, options.pingInterval)
        missed = Option.isSome(answered) ? 0 : missed + 1
        // A server whose interpreter is held by a node answers neither pings nor HTTP: then waiting is right.
        if (missed >= options.missedPongs && (yield* options.httpAnswers)) {
          yield* replace({ _tag: "PongsMissed", missed })
          return yield* Effect.never
        }
      }
    })

  const replace = (reason: LinkReason) =>
    Effect.suspend(() => {
      if (current === undefined || current.replaced !== undefined) return Effect.void
      current.replaced = reason
      return current.connection.drop
    })

  const lost = (error: LinkError) => {
    const reason = current?.replaced
    const told = reason === undefined ? error : new LinkError({ reason })
    const wasUp = state._tag === "Up"
    current = undefined
    become({ _tag: "Down", error: told })
    if (wasUp) listener.down(told, readTime(clock))
    return told
  }

  /** One connection from dial to loss. Succeeds if it lived long enough to prove the way to the server. */
  const connection = Effect.scoped(Effect.gen(function*() {
    if (!options.keepsClientId()) clientId = yield* options.freshClientId
    const id = clientId
    const { headers, url } = yield* options.address(id)
    const connection = yield* dial({
      url,
      headers,
      openTimeout: options.openTimeout,
      maxBufferedBytes: options.maxBufferedBytes
    })
    current = { connection, replaced: undefined }
    // Negotiation happens on the very first frame or never.
    yield* connection.send(featureFlags)
    if (Option.isSome(connection.ping)) yield* Effect.forkScoped(heartbeat(connection.ping.value))
    return yield* pump(connection, id)
  }))

  const waitFor = budget(Defaults.socket.dialsPerMinute)

  const attempt = Effect.gen(function*() {
    const wait = waitFor(readTime(clock).now)
    if (wait > 0) yield* Effect.sleep(Math.ceil(wait))
    const openedAt = readTime(clock).now
    const error = lost(yield* Effect.flip(connection))
    const lived = readTime(clock).now - openedAt >= provenMs
    if (error.reason._tag === "UpgradeRefused") {
      refusals++
      if (Option.isSome(options.refusalsUntilPolling) && refusals >= options.refusalsUntilPolling.value) {
        become({ _tag: "Refused", error })
        yield* Effect.sleep(options.refusedRetry)
      }
    }
    return lived ? undefined : yield* error
  })

  // A connection that proved itself begins the schedule anew; a schedule that ends is the end of dialling.
  yield* attempt.pipe(
    Effect.retry(options.reconnect),
    Effect.andThen(Effect.sleep(Defaults.socket.reconnectBase)),
    Effect.forever,
    Effect.ignore,
    Effect.forkScoped
  )

  return {
    clientId: () => clientId,
    state: () => state,
    isAlive: (within) =>
      Effect.suspend(() => {
        if (current === undefined || state._tag !== "Up") return Effect.succeed(false)
        return Option.match(current.connection.ping, {
          onNone: () => Effect.succeed(true),
          onSome: (ping) => Effect.map(Effect.timeoutOption(Effect.result(ping), within), isAnswered)
        })
      }),
    redial: replace
  }
})

/** No socket at all: everything is learnt by asking. */
export const none = (clientId: string): Link => {
  const error = new LinkError({ reason: { _tag: "Dropped" } })
  return {
    clientId: () => clientId,
    state: () => ({ _tag: "Refused", error }),
    isAlive: () => Effect.succeed(false),
    redial: () => Effect.void
  }
}
