/** The real client on real sockets and the wall clock: what it takes for a row is seen here, and judged as in memory. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { FakeComfy, FakeServer, Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Crowd, gather, type Observation, type Observed, type Running, toObserved } from "../World.ts"

/** Clocks so short that whatever the client waits for in a row takes tenths of a second. */
export const quick: Partial<ComfyClient.Options> = {
  pingInterval: "200 millis",
  openTimeout: "500 millis",
  promptTimeout: "2 seconds",
  headersTimeout: "700 millis",
  bodyTimeout: "700 millis",
  socket: "required",
  retry: Schedule.exponential("30 millis").pipe(
    Schedule.jittered,
    Schedule.upTo({ times: 2 }),
    Schedule.setInputType()
  ),
  reconnect: Schedule.spaced("40 millis").pipe(Schedule.jittered, Schedule.setInputType()),
  watch: {
    silence: [300, 600, 1_000],
    silenceRepeat: 1_000,
    pollFloor: 40,
    pollCap: 300,
    deafAfter: 400,
    settleGrace: 150,
    frameGrace: 50,
    lostApart: 120,
    unreachableFloor: 8_000,
    unreachableCap: 12_000,
    doubtAsk: [40, 100, 200, 400],
    doubtRepeat: 300,
    absentAfterClose: 300,
    absentAfterProxy: 1_500,
    doubtGiveUp: 8_000
  }
}

/** Who serves, and where the client dials. */
export interface Stage {
  readonly url: string
  readonly ledger: Effect.Effect<FakeComfy.Ledger>
  /** What can be looked at once all is over; undefined where nobody is there any more. */
  readonly server: FakeServer<Fault.FaultData> | undefined
  /** Takes back whatever still goes wrong. */
  readonly heal: Effect.Effect<void>
}

/** How long a run may take before it counts as hung; on a busy machine too. */
const patience = "20 seconds"

const whenOver = (running: Running): Effect.Effect<void> =>
  Effect.forEach(
    [running.main, ...running.others, ...running.late],
    ({ fiber }) => Fiber.await(fiber),
    { concurrency: "unbounded", discard: true }
  )

/** Somebody who came in the moment after the end asks the server, which may know less by then. */
const isFollower = ({ events: [first] }: Observed["others"][number]): boolean =>
  !(first?._tag === "Gap" && first.cause === "attached")

/** Asks until the answer is what it was 30 ms before; undefined where it never is. */
const quiet = (count: Effect.Effect<number>): Effect.Effect<number | undefined> =>
  Effect.gen(function*() {
    let last = yield* count
    for (let look = 0; look < 100; look++) {
      yield* Effect.sleep("30 millis")
      const now = yield* count
      if (now === last) return now
      last = now
    }
    return undefined
  })

/** What a closed client leaves on its server, once that has read what was on its way. */
const leavings = Effect.fnUntraced(function*(server: FakeServer<Fault.FaultData>) {
  const sockets = Effect.map(server.snapshot, (snapshot) => snapshot.sockets.length)
  const left = yield* Effect.timeoutOption(
    Effect.repeat(Effect.delay(sockets, "10 millis"), { until: (count) => count === 0 }),
    "5 seconds"
  )
  const requests = yield* quiet(Effect.map(server.requests, ({ length }) => length))
  return { sockets: left._tag === "Some" ? 0 : yield* sockets, requestsLater: requests === undefined ? 1 : 0 }
})

/** Lets `body` happen to a new client, waits until all is over, and closes the client. */
export const live = (
  stage: Stage,
  options: {
    readonly seed: number
    readonly client?: Partial<ComfyClient.Options> | undefined
    readonly platform?: PlatformNode.PlatformOptions | undefined
  },
  body: (crowd: Crowd) => Effect.Effect<void, never, Scope.Scope>
): Effect.Effect<Observation> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const client = yield* Scope.provide(
      Effect.orDie(ComfyClient.make({
        url: stage.url,
        ...quick,
        ...options.client,
        watch: { ...quick.watch, ...options.client?.watch }
      })),
      scope
    )
    yield* client.link.changes.pipe(Stream.takeUntil((state) => state._tag !== "Connecting"), Stream.runDrain)
    const crowd = gather(client)
    yield* Scope.provide(body(crowd), scope)
    yield* Effect.timeoutOption(
      Effect.forEach(crowd.running, whenOver, { concurrency: "unbounded", discard: true }),
      patience
    )
    // Before the scope closes, which ends every stream.
    const runs = crowd.running.map(toObserved).map((run) => ({ ...run, others: run.others.filter(isFollower) }))
    yield* stage.heal
    const closed = yield* Effect.timeoutOption(Scope.close(scope, Exit.void), patience)
    return {
      runs,
      ledger: yield* stage.ledger,
      left: {
        closes: closed._tag === "Some",
        ...stage.server === undefined ? { sockets: 0, requestsLater: 0 } : yield* leavings(stage.server)
      }
    }
  }).pipe(
    Effect.provide(PlatformNode.layer(options.platform)),
    Random.withSeed(options.seed)
  )
