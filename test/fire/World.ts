/** The real client on a fake server in virtual time, the jobs that it runs, and what was seen of them in the end. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { RunId } from "@effect-comfyui/execution/Ids"
import { ComfyTest, type FakeComfy, type FakeServer, FakeServers, TestNodes } from "@effect-comfyui/testing"
import type { VersionProfile } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { type Job, workflowOf } from "./Scenario.ts"

/** How a world is made. */
export interface WorldOptions {
  readonly version: VersionProfile.Version
  /** Of the server: its ids, and the dice of its faults; and of the client's jitter. */
  readonly seed: number
  readonly client?: Partial<ComfyClient.Options> | undefined
  readonly server?: FakeServers.ServerOptions | undefined
  /** A subscriber that takes so many milliseconds for every event. */
  readonly slowConsumerMs?: number | undefined
  /** Virtual time until a run counts as hung. Default 3 hours. */
  readonly patienceMs?: number | undefined
}

/** What one subscriber saw. `exit` is undefined while its stream has not ended. */
export interface Seen {
  readonly events: ReadonlyArray<ExecutionEvent>
  readonly exit: Exit.Exit<void> | undefined
}

/** One job and what came of it. */
export interface Observed {
  readonly job: Job
  readonly runId: RunId
  readonly seen: Seen
  /** What other subscribers saw that came before the end. */
  readonly others: ReadonlyArray<Seen>
  /** When the stream ended, on the clock of the ledger. */
  readonly endedAt: number | undefined
  /** Whether somebody asked for its end before it had ended. */
  readonly wasCancelled: boolean
  /** Whether its consumer went away: it saw no end. */
  readonly wasLeft: boolean
}

/** Everything there is to judge. */
export interface Observation {
  readonly runs: ReadonlyArray<Observed>
  readonly ledger: FakeComfy.Ledger
  /** After the client was closed, and an hour more. */
  readonly left: { readonly closes: boolean; readonly sockets: number; readonly requestsLater: number }
}

/** One subscriber that listens. */
export interface Watching {
  readonly events: Array<ExecutionEvent>
  exit: Exit.Exit<void> | undefined
  readonly fiber: Fiber.Fiber<void>
}

/** A job on its way. */
export interface Running {
  readonly job: Job
  readonly runId: RunId
  readonly main: Watching
  readonly others: Array<Watching>
  /** Subscribers that came after the end, and hear what the server still knows. */
  readonly late: Array<Watching>
  endedAt: number | undefined
  wasCancelled: boolean
  wasLeft: boolean
}

/** People who use one client. */
export interface Crowd {
  readonly running: ReadonlyArray<Running>
  readonly start: (job: Job) => Effect.Effect<Running, never, Scope.Scope>
  /** One more subscriber. */
  readonly attach: (running: Running) => Effect.Effect<void, never, Scope.Scope>
  readonly cancel: (running: Running) => Effect.Effect<void>
  /** Its first subscriber goes away, which cancels it. */
  readonly leave: (running: Running) => Effect.Effect<void>
}

/** What can be done in a world. */
export interface World extends Crowd {
  readonly server: FakeServer
}

const origin = "http://gpu-1:8188"

const watch = (stream: Stream.Stream<ExecutionEvent>, slowMs: number) =>
  Effect.gen(function*() {
    const events: Array<ExecutionEvent> = []
    const take = (event: ExecutionEvent) => {
      events.push(event)
      return slowMs > 0 ? Effect.sleep(slowMs) : Effect.void
    }
    const fiber = yield* Effect.forkScoped(Stream.runForEach(stream, take), { startImmediately: true })
    const watching: Watching = { events, exit: undefined, fiber }
    fiber.addObserver((exit) => {
      watching.exit = exit
    })
    return watching
  })

/** A canonical id that counts: the same at every run of the scenario. */
export const idOf = (index: number): RunId =>
  RunId.make(`00000000-0000-4000-8000-${String(index + 1).padStart(12, "0")}`)

/** Starts a job, the `index`-th of its client. */
export const begin = Effect.fnUntraced(function*(
  client: ComfyClient.Shape,
  job: Job,
  index: number,
  slowConsumerMs = 0
) {
  const clock = yield* Clock.Clock
  const runId = idOf(index)
  const main = yield* watch(client.run(workflowOf(job, index), { runId }), slowConsumerMs)
  const running: Running = {
    job,
    runId,
    main,
    others: [],
    late: [],
    endedAt: undefined,
    wasCancelled: false,
    wasLeft: false
  }
  main.fiber.addObserver(() => {
    running.endedAt = clock.currentTimeMillisUnsafe()
  })
  return running
})

/** Users of this client, and what they do. */
export const gather = (client: ComfyClient.Shape, options: Pick<WorldOptions, "slowConsumerMs"> = {}): Crowd => {
  const all: Array<Running> = []
  return {
    running: all,
    start: (job) =>
      Effect.tap(
        begin(client, job, all.length, options.slowConsumerMs),
        (running) => Effect.sync(() => void all.push(running))
      ),
    attach: (running) => attachTo(client, running),
    cancel: (running) => cancelOf(client, running),
    leave
  }
}

/** One more subscriber of a job. */
export const attachTo = (client: ComfyClient.Shape, running: Running) =>
  Effect.gen(function*() {
    const list = running.main.exit === undefined ? running.others : running.late
    list.push(yield* watch(client.attach(running.runId), 0))
  })

/** Asks for a job's end. */
export const cancelOf = (client: ComfyClient.Shape, running: Running): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (running.main.exit === undefined) running.wasCancelled = true
    return Effect.ignore(client.cancel(running.runId))
  })

/** A job's first subscriber goes away. */
export const leave = (running: Running): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (running.main.exit !== undefined) return Effect.void
    running.wasCancelled = true
    running.wasLeft = true
    // At once: whoever says so may end in the same moment, and its children with it.
    return Effect.asVoid(Effect.forkChild(Fiber.interrupt(running.main.fiber), { startImmediately: true }))
  })

const make = Effect.fnUntraced(function*(server: FakeServer, options: WorldOptions) {
  const client = yield* Effect.orDie(ComfyClient.make({ url: origin, ...options.client }))
  yield* client.link.changes.pipe(Stream.takeUntil((state) => state._tag !== "Connecting"), Stream.runDrain)
  const world: World = { server, ...gather(client, options) }
  return world
})

export const isOver = ({ late, main, others }: Running): boolean =>
  [main, ...others, ...late].every(({ exit }) => exit !== undefined)

const toSeen = ({ events, exit }: Watching): Seen => ({ events, exit })

export const toObserved = (one: Running): Observed => ({
  job: one.job,
  runId: one.runId,
  endedAt: one.endedAt,
  wasCancelled: one.wasCancelled,
  wasLeft: one.wasLeft,
  seen: toSeen(one.main),
  others: one.others.map(toSeen)
})

const program = Effect.fnUntraced(function*(
  options: WorldOptions,
  body: (world: World) => Effect.Effect<void, never, Scope.Scope>
) {
  const server = (yield* FakeServers.FakeServers).get(origin)
  const scope = yield* Scope.make()
  const world = yield* Scope.provide(make(server, options), scope)
  yield* Scope.provide(body(world), scope)
  const over = () => world.running.every(isOver)
  yield* ComfyTest.advanceUntil(over, { step: "1 second", limit: "5 minutes" }).pipe(
    Effect.catchTag(
      "StillWaiting",
      () => ComfyTest.advanceUntil(over, { step: "1 minute", limit: options.patienceMs ?? 3 * 3_600_000 })
    ),
    Effect.ignore
  )
  // Before the scope closes, which ends every stream.
  const runs = world.running.map(toObserved)
  const closed = yield* Effect.exit(ComfyTest.advanceWhile(Scope.close(scope, Exit.void), { limit: "5 minutes" }))
  const before = (yield* server.requests).length
  yield* server.heal
  yield* TestClock.adjust("1 hour")
  const observation: Observation = {
    runs,
    ledger: yield* server.ledger,
    left: {
      closes: Exit.isSuccess(closed),
      sockets: (yield* server.snapshot).sockets.length,
      requestsLater: (yield* server.requests).length - before
    }
  }
  return observation
})

/** Lets `body` happen to a new client of a new server, waits until all is over, and closes the client. */
export const live = (
  options: WorldOptions,
  body: (world: World) => Effect.Effect<void, never, Scope.Scope>
): Effect.Effect<Observation> =>
  program(options, body).pipe(
    Effect.provide(
      FakeServers.layer({
        [origin]: {
          ...options.server,
          version: options.version,
          seed: options.seed,
          nodes: [...TestNodes.nodes, ...(options.server?.nodes ?? [])]
        }
      }).pipe(Layer.provideMerge(TestClock.layer()))
    ),
    Random.withSeed(options.seed),
    Effect.scoped
  )
