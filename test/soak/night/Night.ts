/**
 * Hours of a fleet in virtual time: the real pool and the real clients on fake servers in memory, with jobs, strangers and
 * faults by chance. The same seed is the same night.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import { ComfyTest, FakeServers } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { MinimumLogLevel } from "effect/References"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as TestClock from "effect/testing/TestClock"
import nodeProcess from "node:process"
import { cardOf, idOf, serverOptions, urlOf } from "./Cards.ts"
import * as Foreign from "./Foreign.ts"
import { type Figures, judge } from "./Judge.ts"
import * as Leases from "./Leases.ts"
import * as Requests from "./Requests.ts"
import { type Stroke, type Trouble, troubles } from "./Trouble.ts"
import { follow, type SeenJob } from "./Watch.ts"
import { jobsPerHour, kinds, oneOfKinds, tenantOf, untilNext } from "./Work.ts"

/** How long, how large, and what chance is. */
export interface Options {
  readonly hours: number
  readonly servers: number
  readonly seed: number
  /** Faults for each job; every kind in its turn. Default 0.01. */
  readonly faults?: number
  /** Kinds of faults. Default: all. */
  readonly troubles?: ReadonlyArray<Trouble>
  /** How much work there is beside what fills about 70 % of the fleet. Default 1. */
  readonly load?: number
}

/** What is left of a night. */
export interface Report {
  readonly options: Options
  readonly figures: Figures
  readonly jobs: number
  /** By kind: how often it was tried, how often it struck. */
  readonly faults: ReadonlyMap<string, { readonly tried: number; readonly struck: number }>
  readonly requests: Requests.Requests
  /** Requests that no run needs for itself, per server and second. */
  readonly beyond: number
  readonly virtualSeconds: number
  readonly wallSeconds: number
  /** What this process used of the processor: on a busy machine it waits for its turn. */
  readonly cpuSeconds: number
}

/** Prompts of others for each server and hour. */
const foreignPerServerHour = 1.5

/** So long the last jobs may take once no more come and nothing breaks any more. */
const drainMs = 6 * 3_600_000

type Network = HttpClient | WebSocketConstructor

const specOf = (n: number, leaseMs: number): ServerSpec<Network> => {
  const { name, vramBytes } = cardOf(n)
  const make = Effect.map(ComfyClient.make({ id: idOf(n), url: urlOf(n) }), ComfyClient.backend)
  return { id: idOf(n), make, tags: [name], vramBytes, ...Leases.isRented(n) ? { availableUntil: leaseMs } : {} }
}

/** Everything that happens is written down here. */
interface Book {
  readonly jobs: Array<SeenJob>
  readonly foreign: Foreign.Foreign
  readonly faults: Map<string, { tried: number; struck: number }>
  /** What befalls servers now: of each one thing at a time. */
  readonly struck: Set<number>
  readonly strokes: Array<Stroke>
}

/** Does it again and again by chance, so many times an hour, until a moment; what it started lives on. */
const byChance = <R>(perHour: number, untilMs: number, act: Effect.Effect<void, never, R>) =>
  Effect.gen(function*() {
    if (perHour <= 0) return
    const clock = yield* Clock.Clock
    for (;;) {
      yield* Effect.sleep(yield* untilNext(perHour))
      if (clock.currentTimeMillisUnsafe() >= untilMs) return
      yield* Effect.forkScoped(act, { startImmediately: true })
    }
  })

const oneOf = (count: number): Effect.Effect<number> => Random.nextIntBetween(1, count)

/** One job from its submission to its end. */
const job = Effect.fnUntraced(function*(book: Book, index: number) {
  const pool = yield* Pool.Pool
  const { get } = yield* FakeServers.FakeServers
  const kind = yield* oneOfKinds(kinds)
  const who = yield* tenantOf(kind)
  const submitted = yield* Effect.orDie(pool.submit(kind.make(index), { ...kind.options, ...who }))
  const seen: SeenJob = {
    name: kind.name,
    isVideo: kind.isVideo,
    isPaid: kind.options.paid === true,
    tenant: who.tenant ?? "",
    job: submitted,
    queuedAt: 0,
    attempts: [],
    endings: [],
    isOver: false,
    holes: 0
  }
  book.jobs.push(seen)
  yield* follow(seen, (id: BackendId) => get(ComfyTest.urlOf(id)))
})

const nowMs = Clock.currentTimeMillis

const trouble = Effect.fnUntraced(function*(book: Book, all: ReadonlyArray<Trouble>, turn: number, servers: number) {
  const one = all[turn % all.length]
  const n = yield* oneOf(servers)
  if (one === undefined || book.struck.has(n)) return
  const counts = book.faults.get(one.name) ?? { tried: 0, struck: 0 }
  book.faults.set(one.name, counts)
  counts.tried++
  book.struck.add(n)
  const { get } = yield* FakeServers.FakeServers
  const stroke: Stroke = { server: idOf(n), name: one.name, at: yield* nowMs, endedAt: undefined }
  book.strokes.push(stroke)
  if (yield* one.strike(get(urlOf(n)))) counts.struck++
  stroke.endedAt = yield* nowMs
  book.struck.delete(n)
})

const play = Effect.fnUntraced(function*(
  options: Options,
  leasesMs: ReadonlyArray<number>,
  requests: Requests.Requests,
  http: HttpClient
) {
  const { faults = 0.01, hours, load = 1, servers } = options
  const pool = yield* Pool.Pool
  const { all, get } = yield* FakeServers.FakeServers
  const book: Book = { jobs: [], foreign: Foreign.make(), faults: new Map(), struck: new Set(), strokes: [] }
  const before = yield* TestClock.withLive(nowMs)
  const cpuBefore = nodeProcess.cpuUsage()
  yield* ComfyTest.advanceUntil(
    Effect.map(pool.servers.get, (views) => views.every(({ status }) => status === "ready"))
  )
  const arrivalsMs = hours * 3_600_000
  const perHour = load * jobsPerHour(servers)
  const order = yield* Random.shuffle(options.troubles ?? troubles)
  let turn = 0
  const chance = [
    byChance(perHour, arrivalsMs, Effect.suspend(() => job(book, book.jobs.length))),
    byChance(perHour * faults, arrivalsMs, Effect.suspend(() => trouble(book, [...order], turn++, servers))),
    byChance(
      foreignPerServerHour * servers,
      arrivalsMs,
      Effect.flatMap(oneOf(servers), (n) => Foreign.come(book.foreign, http, urlOf(n)))
    )
  ]
  // Each has dice of its own, so that what comes does not hang on what the pool makes of it.
  yield* Effect.forEach(
    chance,
    (one, index) => Effect.forkScoped(Random.withSeed(one, `${options.seed}, ${index}`)),
    { discard: true }
  )
  const leases = Leases.make()
  for (const [index, leaseMs] of leasesMs.entries()) {
    if (!Leases.isRented(index + 1)) continue
    const ends = Leases.run(leases, index + 1, leaseMs - (yield* nowMs), arrivalsMs)
    yield* Effect.forkScoped(Random.withSeed(ends, `${options.seed}, lease ${index}`))
  }
  yield* TestClock.adjust(arrivalsMs)
  yield* Effect.ignore(
    ComfyTest.advanceUntil(
      () => book.struck.size === 0 && book.jobs.every(({ isOver }) => isOver),
      { step: "1 minute", limit: drainMs }
    )
  )
  const virtualSeconds = (yield* nowMs) / 1_000
  const ledgers = yield* Effect.forEach(all, ({ origin }) => get(origin).ledger)
  const figures = judge({
    jobs: book.jobs,
    ledgers,
    foreign: book.foreign.prompts,
    leases,
    strokes: book.strokes,
    arrivalsMs
  })
  const cpu = nodeProcess.cpuUsage(cpuBefore)
  const report: Report = {
    options,
    figures,
    jobs: book.jobs.length,
    faults: book.faults,
    requests,
    beyond: Requests.beyond(requests) / (servers * virtualSeconds),
    virtualSeconds,
    wallSeconds: ((yield* TestClock.withLive(nowMs)) - before) / 1_000,
    cpuSeconds: (cpu.user + cpu.system) / 1e6
  }
  return report
})

/** Plays a night to its end. */
export const run = (options: Options): Effect.Effect<Report> => {
  const numbers = Array.from({ length: options.servers }, (_, index) => index + 1)
  const fakes = FakeServers.layer(
    Object.fromEntries(numbers.map((n) => [urlOf(n), serverOptions(n, options.seed)]))
  )
  const requests: Requests.Requests = new Map()
  return Effect.gen(function*() {
    const http = yield* HttpClient
    const leasesMs = yield* Random.withSeed(Effect.forEach(numbers, () => Leases.length), `${options.seed}, leases`)
    const servers = numbers.map((n, index) => specOf(n, leasesMs[index] ?? 0))
    const pool = Layer.effect(Pool.Pool, Pool.make({ servers })).pipe(
      Layer.provide([JobQueueMemory.layerMemory, RouterPolicies.layerCostAware, Requests.layer(requests)])
    )
    return yield* Effect.provide(play(options, leasesMs, requests, http), pool)
  }).pipe(
    Effect.scoped,
    Effect.provide(fakes.pipe(Layer.provideMerge(TestClock.layer()))),
    Random.withSeed(options.seed),
    // What breaks is meant to: the table tells of it.
    Effect.provideService(MinimumLogLevel, "None"),
    Effect.orDie
  )
}
