/**
 * Real traffic once, then for ever without a server. `record` goes between a client and both seams to the world;
 * `replay` stands in their place. The file is the JSON-lines format of {@link Tape}, and holds no secret.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import type { CassetteError } from "./CassetteError.ts"
import { FakeNodeSocket, FakeSocket } from "./FakeSocket.ts"
import * as httpSeam from "./internal/httpSeam.ts"
import { Recording } from "./internal/recording.ts"
import * as recordSeams from "./internal/recordSeams.ts"
import { Redactor } from "./internal/redact.ts"
import * as tapeReplay from "./internal/tapeReplay.ts"
import * as timer from "./internal/timer.ts"
import * as Tape from "./Tape.ts"

/** What must not stand in the file, beyond what is always struck out. */
export interface RedactOptions {
  /**
   * Names of headers, query parameters, cookies and members of JSON, in any writing (`X-Gate`, `x_gate`, `xGate`).
   * Always: whatever is called a password, secret, token, API key, credential, authorisation, cookie or session; and
   * every header of a request that is not known to be harmless.
   */
  readonly names?: ReadonlyArray<string>
  /** Texts that are struck out wherever they occur. */
  readonly values?: ReadonlyArray<Redacted.Redacted<string>>
}

/** How traffic is recorded. */
export interface RecordOptions {
  /** The name of the case in the first line. Default `cassette`. */
  readonly case?: string
  /** Default empty. */
  readonly title?: string
  /** The server's release. Default: what it says in `/system_stats`, else `unknown`. */
  readonly version?: string
  /** The server that is recorded; traffic with others passes unrecorded. Default: the first that is talked to. */
  readonly origin?: string
  readonly redact?: RedactOptions
  /** Bodies and frames of so many bytes together; with more, {@link Recorder} fails with `TooLarge`. Default 64 MiB. */
  readonly maxBytes?: number
  /** Takes the text when the layer's scope closes. A recording that cannot be given is a defect then. */
  readonly save?: (text: string) => Effect.Effect<void, CassetteError>
}

/** The recording so far. */
export class Recorder extends Context.Service<Recorder, {
  /** The file as it is now. Fails with `TooLarge` once the limit was passed: half a recording is none. */
  readonly text: Effect.Effect<string, CassetteError>
}>()("@effect-comfyui/testing/Cassette/Recorder") {}

/** The replay of a recording. */
export class Player extends Context.Service<Player, {
  /** Fails with the first thing that the client did and that was not recorded. What was asked here is no defect later. */
  readonly verify: Effect.Effect<void, CassetteError>
  /** Requests and sockets that were recorded and did not come, in the order of the recording. */
  readonly unused: Effect.Effect<ReadonlyArray<string>>
}>()("@effect-comfyui/testing/Cassette/Player") {}

type Seams = HttpClient.HttpClient | Socket.WebSocketConstructor

const makeRecord = Effect.fnUntraced(function*(options: RecordOptions) {
  const clock = yield* Clock.Clock
  const now = (): number => Number(clock.currentTimeNanosUnsafe()) / 1_000_000
  const start = now()
  const { names = [], values = [] } = options.redact ?? {}
  const tape = new Recording({
    case: options.case ?? "cassette",
    title: options.title ?? "",
    version: options.version,
    maxBytes: options.maxBytes ?? 64 * 1024 * 1024,
    redactor: new Redactor(names, values.map(Redacted.value)),
    now: () => now() - start
  })
  const subject: recordSeams.Subject = {
    origin: options.origin === undefined ? undefined : new URL(options.origin).origin
  }
  const text = Effect.suspend(() => Effect.fromResult(tape.text()))
  const { save } = options
  if (save !== undefined) yield* Effect.addFinalizer(() => Effect.orDie(Effect.flatMap(text, save)))
  return Context.make(Recorder, { text }).pipe(
    Context.add(HttpClient.HttpClient, recordSeams.http(yield* HttpClient.HttpClient, tape, subject)),
    Context.add(Socket.WebSocketConstructor, recordSeams.sockets(yield* Socket.WebSocketConstructor, tape, subject))
  )
})

/**
 * Both seams with a recording between: provide it with those of a real server. Nothing that passes is changed, and
 * secrets are struck out of what is kept: by the name they come under, then wherever their text (6 characters or more)
 * occurs again. Sockets that the client ends are noted as such.
 *
 * ```ts
 * const recorded = Cassette.record({ save }).pipe(Layer.provide(PlatformNode.layer()))
 * ```
 */
export const record = (options: RecordOptions = {}): Layer.Layer<Recorder | Seams, never, Seams> =>
  Layer.effectContext(makeRecord(options))

/** How a recording is replayed. */
export interface ReplayOptions {
  /** Recorded times are multiplied with it: 1 as they were (default), 0 at once. */
  readonly pace?: number
  /**
   * What happens when a recorded GET comes once more than it was recorded: it is unexpected like any other (`fail`,
   * default), or answered as the last time (`repeat`).
   */
  readonly onRepeat?: "fail" | "repeat"
  /** Members of JSON bodies and frames that may differ, by name: `["seed"]`. */
  readonly ignore?: ReadonlyArray<string>
  /** Names whose values are not shown in errors, as for {@link record}. */
  readonly redact?: Pick<RedactOptions, "names">
  readonly limits?: Tape.Limits
}

type Driver = ReturnType<typeof makeDriver>

/** Inputs in, outputs to whoever waits for them, a timer for the next. */
const makeDriver = (state: tapeReplay.State, driving: {
  readonly now: () => number
  readonly wake: (ms: number, fire: () => void) => void
}) => {
  const answers = new Map<number, (output: tapeReplay.Output) => void>()
  const queue: Array<tapeReplay.Input> = []
  let busy = false
  const deliver = (output: tapeReplay.Output): void => {
    const key = "id" in output ? output.id : output.conn
    answers.get(key)?.(output)
  }
  const input = (next: tapeReplay.Input): void => {
    queue.push(next)
    if (busy) return
    busy = true
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const [, outputs] = tapeReplay.step(state, one, driving.now())
      for (const output of outputs) deliver(output)
    }
    busy = false
    const wake = tapeReplay.nextWake(state)
    if (wake !== undefined) driving.wake(Math.max(0, wake - driving.now()), () => input({ _tag: "Tick" }))
  }
  let ids = 0
  return {
    input,
    /** A number for a request or a socket, and who hears of it. */
    open: (hear: (output: tapeReplay.Output) => void): number => {
      answers.set(++ids, hear)
      return ids
    },
    forget: (id: number) => void answers.delete(id)
  }
}

const replayHttp = (driver: Driver): HttpClient.HttpClient =>
  HttpClient.make((request, url) =>
    Effect.flatMap(
      httpSeam.bodyBytes(request),
      (body) =>
        Effect.callback<HttpClientResponse.HttpClientResponse, HttpClientError.HttpClientError>((resume) => {
          const id = driver.open((output) => {
            driver.forget(id)
            switch (output._tag) {
              case "Response": {
                const cut = output.aborted ? { cutAfter: output.body.length } : {}
                return resume(Effect.succeed(httpSeam.toResponse(request, { ...output, ...cut })))
              }
              case "RequestError": {
                const { code } = output
                const cause = /^[A-Z][A-Z0-9_]+$/.test(code) ? { code } : undefined
                return resume(Effect.fail(httpSeam.transportError(request, code, cause)))
              }
              case "UnexpectedRequest":
                return resume(Effect.fail(httpSeam.transportError(request, output.error.message, output.error)))
            }
          })
          driver.input({ _tag: "Request", id, method: request.method, path: url.pathname + url.search, body })
          return Effect.sync(() => {
            driver.forget(id)
            driver.input({ _tag: "Gone", id })
          })
        })
    )
  )

const replaySockets =
  (driver: Driver, start: (effect: Effect.Effect<void>) => unknown): Socket.WebSocketConstructor["Service"] =>
  (
    url
  ) => {
    const target = new URL(url)
    const later = (then: () => void) => start(Effect.andThen(Effect.yieldNow, Effect.sync(then)))
    const leave = () => {
      driver.forget(conn)
      driver.input({ _tag: "Close", conn })
    }
    const socket = new FakeNodeSocket(url, {
      send: (frame) => driver.input({ _tag: "Frame", conn, frame }),
      ping: () => socket.ponged(),
      close: (code, reason) => {
        leave()
        later(() => socket.closed(code, reason))
      },
      terminate: leave
    })
    const conn = driver.open((output) => {
      switch (output._tag) {
        case "Opened":
          return socket.opened()
        case "Received":
          return socket.received(output.frame)
        case "Closed":
          return socket.closed(output.code, output.reason)
        case "Refused":
          return socket.refused(output.status)
        case "Broken":
          return socket.broken(output.code)
        case "UnexpectedDial":
          return socket.broken(output.error.message)
      }
    })
    // Whoever constructs a socket adds its listeners first.
    later(() => {
      if (socket.readyState === FakeSocket.CONNECTING) {
        driver.input({ _tag: "Dial", conn, path: target.pathname + target.search })
      }
    })
    return socket
  }

const makeReplay = Effect.fnUntraced(function*(text: string, options: ReplayOptions) {
  const tape = yield* Effect.fromResult(Tape.parse(text, options.limits))
  const clock = yield* Clock.Clock
  const now = (): number => Number(clock.currentTimeNanosUnsafe()) / 1_000_000
  const begun = now()
  const run = yield* FiberSet.makeRuntime<never>()
  const wake = yield* timer.make
  const state = tapeReplay.init(tape, {
    pace: options.pace ?? 1,
    repeats: options.onRepeat === "repeat",
    ignored: new Set(options.ignore),
    redactor: new Redactor(options.redact?.names ?? [], [])
  })
  const driver = makeDriver(state, {
    now: () => now() - begun,
    wake
  })
  let isSeen = false
  const verify = Effect.suspend(() => {
    isSeen = true
    const [first] = state.problems
    return first === undefined ? Effect.void : Effect.fail(first)
  })
  yield* Effect.addFinalizer(() => isSeen ? Effect.void : Effect.orDie(verify))
  return Context.make(Player, { verify, unused: Effect.sync(() => tapeReplay.unused(state)) }).pipe(
    Context.add(HttpClient.HttpClient, replayHttp(driver)),
    Context.add(Socket.WebSocketConstructor, replaySockets(driver, (effect) => run(effect)))
  )
})

/**
 * Both seams as a recording remembers them. Needs no network, and no time under `TestClock`.
 *
 * What the client sends must be what was recorded: method, path, body and frames; ids (UUIDs) may be others, and stand
 * for those of then in every answer. Requests that change something come in the recorded order (those that were under
 * way together, in any), and no question is answered before its time. Anything else fails with an `HttpClientError`
 * whose cause is a {@link CassetteError} that shows the nearest recorded request; a client that swallows it is found out
 * when the layer's scope closes: it is a defect then, unless {@link Player} was asked. Pings are answered.
 */
export const replay = (text: string, options: ReplayOptions = {}): Layer.Layer<Player | Seams, CassetteError> =>
  Layer.effectContext(makeReplay(text, options))
