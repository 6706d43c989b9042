/** A pool on fake servers in memory, in virtual time, the jobs that people give it, and what was seen in the end. */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { BackendId } from "@effect-comfyui/execution/Ids"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import type { ServerEvent } from "@effect-comfyui/pool/PoolEvent"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, type FakeServer, FakeServers, TestNodes } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Crowd from "./Crowd.ts"
import type { Observation, Sample } from "./Observation.ts"
import type { FleetScenario } from "./Scenario.ts"

/** How a world is made. */
export interface WorldOptions extends Crowd.Habits {
  readonly client?: Partial<ComfyClient.Options>
  readonly pool?: Omit<Pool.Options, "servers">
  /** Of the n-th server, from 0. */
  readonly server?: (index: number, scenario: FleetScenario) => FakeServers.ServerOptions
  /** Virtual time until a job counts as hung. Default 3 hours. */
  readonly patienceMs?: number
}

/** What can be done in a world. */
export interface World {
  readonly pool: Pool.Shape
  readonly crowd: Crowd.Crowd
  readonly servers: ReadonlyArray<FakeServer>
  readonly ids: ReadonlyArray<BackendId>
  readonly victim: FakeServer
  readonly victimId: BackendId
  /** Somebody else sends a prompt straight to a server. */
  readonly stranger: (server: number, workflow: Workflow) => Effect.Effect<void, never, Scope.Scope>
  /** What is wrong, where only the row can see it. */
  readonly note: (text: string) => void
}

/** What happens to a fleet: it may go on in the background. */
export type Strike = (world: World, scenario: FleetScenario) => Effect.Effect<void, never, Scope.Scope>

const nameOf = (index: number): string => ComfyTest.nameOf(index + 1)
const urlOf = (index: number): string => ComfyTest.urlOf(nameOf(index))

/** Everything that is written down while a world goes on. */
interface Book {
  readonly defects: Array<string>
  readonly notes: Array<string>
  readonly foreign: Set<string>
  readonly serverEvents: Array<ServerEvent>
  readonly samples: Array<Sample>
}

const isOfServer = (event: { readonly _tag: string }): event is ServerEvent => "server" in event && !("jobId" in event)

const waitingJobs = Effect.fnUntraced(function*(running: ReadonlyArray<Crowd.Running>, now: number) {
  const { get } = yield* JobQueue
  const waiting: Array<number> = []
  for (const { index, pooled } of running) {
    if (pooled === undefined || (yield* pooled.status)._tag !== "Queued") continue
    const record = Option.getOrUndefined(yield* Effect.orDie(get(pooled.id)))
    if (record?.state !== "waiting" || record.head.notBefore > now) continue
    waiting.push(index)
  }
  return waiting
})

const look = Effect.fnUntraced(function*({ crowd, ids, pool, servers }: World) {
  const at = yield* Clock.currentTimeMillis
  const { blocked, queued, resident, running, servers: views } = yield* pool.snapshot
  const fakes = new Map(
    yield* Effect.forEach(
      servers,
      (server, index) => Effect.map(server.snapshot, (snapshot) => [String(ids[index]), snapshot] as const)
    )
  )
  const sample: Sample = {
    at,
    blocked: blocked.map(({ key, probing, server, state }) => ({ server, key, probing, state })),
    queued,
    running,
    resident: Math.max(0, ...resident.map(({ residents }) => residents.length)),
    waiting: yield* waitingJobs(crowd.running, at),
    servers: views.map(({ id, jobs, next, status }) => {
      const fake = fakes.get(id)
      return {
        id,
        status,
        jobs,
        next,
        empty: fake !== undefined && fake.running.length + fake.pending.length === 0,
        well: fake !== undefined && fake.up && fake.reachable && fake.stalledUntil === undefined && fake.workerAlive
      }
    })
  }
  return sample
})

/** Moves the clock second by second, later in larger steps, and looks at the fleet while something waits. */
const goOn = Effect.fnUntraced(function*(world: World, book: Book, isOver: () => boolean, patienceMs: number) {
  const startedAt = yield* Clock.currentTimeMillis
  for (;;) {
    if (isOver()) return
    const passed = (yield* Clock.currentTimeMillis) - startedAt
    if (passed >= patienceMs) return
    yield* TestClock.adjust(passed < 300_000 ? 1_000 : passed < 1_200_000 ? 5_000 : 60_000)
    book.samples.push(yield* look(world))
  }
})

const make = Effect.fnUntraced(function*(options: WorldOptions, scenario: FleetScenario, book: Book) {
  const fakes = yield* FakeServers.FakeServers
  const servers = scenario.versions.map((_, index) => fakes.get(urlOf(index)))
  const ids = scenario.versions.map((_, index) => BackendId.make(nameOf(index)))
  const pool = yield* Pool.make({
    ...options.pool,
    servers: ids.map((id, index) => ({
      id,
      make: Effect.map(ComfyClient.make({ id, url: urlOf(index), ...options.client }), ComfyClient.backend)
    }))
  })
  yield* Effect.forkScoped(
    Stream.runForEach(pool.events, (event) =>
      Effect.sync(() => {
        if (isOfServer(event)) book.serverEvents.push(event)
      })),
    { startImmediately: true }
  )
  const network = yield* Effect.context<Layer.Success<ReturnType<typeof FakeServers.layer>>>()
  const victim = servers[scenario.victim] ?? fakes.get(urlOf(0))
  const world: World = {
    pool,
    crowd: Crowd.gather(pool, options),
    servers,
    ids,
    victim,
    victimId: ids[scenario.victim] ?? BackendId.make(nameOf(0)),
    stranger: (server, workflow) =>
      Effect.gen(function*() {
        const client = yield* ComfyClient.make({ url: urlOf(server), socket: "none" })
        const { runId } = yield* client.submit(workflow)
        book.foreign.add(runId)
      }).pipe(Effect.ignore, Effect.provide(network)),
    note: (text) => void book.notes.push(text)
  }
  return world
})

const jobsAtTheirTimes = ({ crowd }: World, { jobs }: FleetScenario) =>
  Effect.forEach(jobs, (job) => Effect.andThen(Effect.sleep(job.startMs), crowd.start(job)), {
    concurrency: "unbounded",
    discard: true
  })

const restMs = 180_000

const program = Effect.fnUntraced(function*(
  options: WorldOptions,
  scenario: FleetScenario,
  strike: Strike,
  book: Book
) {
  const scope = yield* Scope.make()
  const world = yield* Scope.provide(make(options, scenario, book), scope)
  const { crowd, pool, servers } = world
  // Who may run a job is known before the first one comes; of a server that is away nobody ever knows.
  yield* Effect.ignore(ComfyTest.advanceUntil(
    Effect.map(pool.servers.get, (all) => all.every(({ status, version }) => status === "ready" && version !== null)),
    { step: "100 millis", limit: "5 seconds" }
  ))
  const startedAt = yield* Clock.currentTimeMillis
  const background = [
    Effect.delay(strike(world, scenario), scenario.faultMs),
    jobsAtTheirTimes(world, scenario)
  ]
  const fibers = yield* Effect.forEach(
    background,
    (effect) => Scope.provide(Effect.forkScoped(effect, { startImmediately: true }), scope)
  )
  const isOver = () =>
    fibers.every((fiber) => fiber.pollUnsafe() !== undefined) &&
    crowd.running.length >= scenario.jobs.length && crowd.running.every(Crowd.isOver)
  yield* goOn(world, book, isOver, options.patienceMs ?? 3 * 3_600_000)
  yield* Effect.forEach(servers, ({ heal }) => heal, { discard: true })
  yield* TestClock.adjust(restMs)
  const rest = yield* look(world)
  // Before the scope closes, which ends every job.
  const jobs = yield* Effect.forEach(crowd.running, Crowd.toSeen)
  const closed = yield* Effect.exit(ComfyTest.advanceWhile(Scope.close(scope, Exit.void), { limit: "5 minutes" }))
  const requests = Effect.map(
    Effect.forEach(servers, (server) => server.requests),
    (all) => all.reduce((sum, { length }) => sum + length, 0)
  )
  const before = yield* requests
  yield* TestClock.adjust("1 hour")
  const later = (yield* requests) - before
  const snapshots = yield* Effect.forEach(servers, ({ snapshot }) => snapshot)
  const observation: Observation = {
    jobs,
    servers: yield* Effect.forEach(servers, (server, index) =>
      Effect.gen(function*() {
        return {
          id: String(world.ids[index]),
          ledger: yield* server.ledger,
          dials: (yield* server.requests).filter(({ target }) => /^(\/api)?\/ws/.test(target)).map(({ at }) => at)
        }
      })),
    victim: world.victimId,
    struckAt: startedAt + scenario.faultMs,
    foreign: book.foreign,
    serverEvents: book.serverEvents,
    samples: book.samples,
    defects: book.defects,
    notes: book.notes,
    rest,
    left: {
      closes: Exit.isSuccess(closed),
      sockets: snapshots.reduce((sum, { sockets }) => sum + sockets.length, 0),
      requestsLater: later
    }
  }
  return observation
})

const refusal = /connect ECONNREFUSED/

/** A connection that nobody takes has this code on Node, which tells that nothing was sent; the fakes only say it. */
const asOnNode = (error: HttpClientError.HttpClientError): HttpClientError.HttpClientError =>
  error.reason._tag !== "TransportError" || !refusal.test(error.reason.description ?? "")
    ? error
    : new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request: error.reason.request,
        description: "connect ECONNREFUSED",
        cause: Object.assign(new Error("connect"), { code: "ECONNREFUSED" })
      })
    })

const network = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(HttpClient.HttpClient, (client) => HttpClient.transform(client, (sent) => Effect.mapError(sent, asOnNode)))
)

/** Nothing that the pool says is worth an error: what is, is a fiber that died. */
const listener = (book: Book) =>
  Logger.layer([
    Logger.make(({ cause, message }) => {
      const text = cause.reasons.length > 0 ? Cause.pretty(cause) : String(message)
      if (!Cause.hasInterruptsOnly(cause)) book.defects.push(text)
    })
  ])

/** Plays a scenario: the jobs at their times, the fault at its own; waits until all is over, and closes the pool. */
export const observe = (
  options: WorldOptions,
  scenario: FleetScenario,
  strike: Strike
): Effect.Effect<Observation> => {
  const book: Book = { defects: [], notes: [], foreign: new Set(), serverEvents: [], samples: [] }
  const fakes = FakeServers.layer(
    Object.fromEntries(scenario.versions.map((version, index) => {
      const more = options.server?.(index, scenario) ?? {}
      return [
        urlOf(index),
        { version, seed: scenario.seed + index, ...more, nodes: [...TestNodes.nodes, ...(more.nodes ?? [])] }
      ]
    }))
  )
  return program(options, scenario, strike, book).pipe(
    Effect.provide(
      Layer.mergeAll(JobQueueMemory.layerMemory, RouterPolicies.layerCostAware, listener(book)).pipe(
        Layer.provideMerge(network),
        Layer.provideMerge(fakes),
        Layer.provideMerge(TestClock.layer()),
        Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "Error"))
      )
    ),
    Random.withSeed(scenario.seed),
    Effect.scoped
  )
}
