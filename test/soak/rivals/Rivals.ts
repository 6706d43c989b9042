/**
 * Several pools that know nothing of each other on the same servers, in virtual time: what they do to each other's jobs,
 * and what it costs to wait beside strangers instead of in one queue.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, FakeServers, Workflows } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { MinimumLogLevel } from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { idOf, middle, urlOf, withCard } from "../night/Cards.ts"
import { quantile } from "../night/Judge.ts"
import { type Kind, oneOfKinds, pictures, untilNext } from "../night/Work.ts"

/** What the jobs are: `plain` need no models, `models` do, and it matters which server has loaded them. */
export type Mix = "plain" | "models"

/** How many of what. */
export interface Options {
  readonly jobs: number
  readonly mix: Mix
  readonly pools: number
  readonly seed: number
  /** Default 8. */
  readonly servers?: number
}

/** What came of it. Times are milliseconds. */
export interface Figures {
  readonly jobs: number
  readonly succeeded: number
  /** Jobs without exactly one ending. */
  readonly lost: number
  /** Prompts that were interrupted, or attempts that ended because somebody else ended them: nobody asked for any. */
  readonly interrupted: number
  /** From the submission to the first node. */
  readonly p50: number
  readonly p95: number
  /** Until the first placement. */
  readonly placedP95: number
  /** Share of the servers' time in which they ran something, while jobs came. */
  readonly busy: number
  /** Prompts that were taken back before they ran. */
  readonly removed: number
}

/** Of five to ten seconds each: that many a minute keep one server busy for some 65 % of the time. */
const plain: Kind = {
  name: "plain",
  isVideo: false,
  perServerHour: 1,
  make: (seed) => Workflows.counting({ steps: 10 + seed % 11, stepMs: 500 + seed / 1e6 }),
  options: {}
}

const mixes: Readonly<Record<Mix, { readonly kinds: ReadonlyArray<Kind>; readonly perServerMinute: number }>> = {
  plain: { kinds: [plain], perServerMinute: 5.6 },
  models: { kinds: pictures, perServerMinute: 4 }
}

interface Arrival {
  readonly afterMs: number
  readonly kind: Kind
}

/** The same for any number of pools. */
const arrivals = (count: number, servers: number, mix: Mix): Effect.Effect<ReadonlyArray<Arrival>> => {
  const { kinds, perServerMinute } = mixes[mix]
  return Effect.forEach(
    Array.from({ length: count }),
    () => Effect.all({ afterMs: untilNext(perServerMinute * 60 * servers), kind: oneOfKinds(kinds) })
  )
}

/** What is seen of one job. */
interface Seen {
  queuedAt: number
  placedAt: number | undefined
  beganAt: number | undefined
  endings: Array<string>
  cancelledElsewhere: number
}

const take = (seen: Seen, event: JobEvent): void => {
  if (event._tag === "Queued") seen.queuedAt = event.at
  if (event._tag === "Placed") seen.placedAt ??= event.at
  if (event._tag === "Attempt" && event.event._tag === "NodeStarted") seen.beganAt ??= event.at
  if (event._tag === "AttemptEnded" && event.ending._tag === "Cancelled" && event.ending.by === "elsewhere") {
    seen.cancelledElsewhere++
  }
  if (isJobEnding(event)) seen.endings.push(event._tag)
}

const submit = Effect.fnUntraced(function*(pool: Pool.Shape, { kind }: Arrival, index: number, all: Array<Seen>) {
  const seen: Seen = { queuedAt: 0, placedAt: undefined, beganAt: undefined, endings: [], cancelledElsewhere: 0 }
  all.push(seen)
  const job = yield* Effect.orDie(pool.submit(kind.make(index), kind.options))
  yield* Effect.forkScoped(
    Stream.runForEach(job.events({ previews: "none" }), (event) => Effect.sync(() => take(seen, event))),
    { startImmediately: true }
  )
})

const wait = (from: number, to: number | undefined): ReadonlyArray<number> => to === undefined ? [] : [to - from]

const play = Effect.fnUntraced(function*({ jobs, mix, pools, seed, servers = 8 }: Required<Options>) {
  const numbers = Array.from({ length: servers }, (_, index) => index + 1)
  const specs = numbers.map((n) => ({
    id: idOf(n),
    make: Effect.map(ComfyClient.make({ id: idOf(n), url: urlOf(n) }), ComfyClient.backend),
    vramBytes: middle.vramBytes
  }))
  // Each has a queue and clients of its own.
  const own = Layer.fresh(
    Layer.effect(Pool.Pool, Pool.make({ servers: specs })).pipe(
      Layer.provide([JobQueueMemory.layerMemory, RouterPolicies.layerCostAware])
    )
  )
  const all = yield* Effect.forEach(
    Array.from({ length: pools }),
    () => Effect.map(Layer.build(own), Context.get(Pool.Pool))
  )
  for (const pool of all) {
    yield* ComfyTest.advanceUntil(
      Effect.map(pool.servers.get, (views) => views.every(({ status }) => status === "ready"))
    )
  }
  const startedAt = yield* Clock.currentTimeMillis
  const seen: Array<Seen> = []
  yield* Effect.forkScoped(Effect.gen(function*() {
    for (const [index, arrival] of (yield* Random.withSeed(arrivals(jobs, servers, mix), seed)).entries()) {
      yield* Effect.sleep(arrival.afterMs)
      const pool = all[index % pools]
      if (pool !== undefined) yield* submit(pool, arrival, index, seen)
    }
  }))
  yield* ComfyTest.advanceUntil(() => seen.length === jobs, { step: "10 seconds", limit: "1 day" })
  const cameUntil = yield* Clock.currentTimeMillis
  yield* Effect.ignore(
    ComfyTest.advanceUntil(() => seen.every(({ endings }) => endings.length > 0), {
      step: "10 seconds",
      limit: "2 hours"
    })
  )
  // Nothing comes after an ending.
  yield* TestClock.adjust("1 minute")
  const fakes = (yield* FakeServers.FakeServers).all
  const prompts = (yield* Effect.forEach(fakes, ({ ledger }) => ledger)).flatMap((ledger) => ledger.prompts)
  const busyMs = prompts.reduce(
    (sum, { endedAt = cameUntil, startedAt = cameUntil }) =>
      sum + Math.max(0, Math.min(cameUntil, endedAt) - Math.min(cameUntil, startedAt)),
    0
  )
  const waits = seen.flatMap(({ beganAt, queuedAt }) => wait(queuedAt, beganAt))
  const figures: Figures = {
    jobs: seen.length,
    succeeded: seen.filter(({ endings: [first] }) => first === "JobSucceeded").length,
    lost: seen.filter(({ endings }) => endings.length !== 1).length,
    interrupted: prompts.filter(({ outcome }) => outcome === "interrupted").length +
      seen.reduce((sum, { cancelledElsewhere }) => sum + cancelledElsewhere, 0),
    p50: quantile(waits, 0.5),
    p95: quantile(waits, 0.95),
    placedP95: quantile(seen.flatMap(({ placedAt, queuedAt }) => wait(queuedAt, placedAt)), 0.95),
    busy: busyMs / (servers * (cameUntil - startedAt)),
    removed: prompts.filter(({ outcome }) => outcome === "removed").length
  }
  return figures
})

/** Plays it to its end. */
export const run = (options: Options): Effect.Effect<Figures> => {
  const { servers = 8 } = options
  const fakes = FakeServers.layer(
    Object.fromEntries(
      Array.from({ length: servers }, (_, index) => [
        urlOf(index + 1),
        { ...withCard(middle), seed: options.seed + index }
      ])
    )
  )
  return play({ ...options, servers }).pipe(
    Effect.scoped,
    Effect.provide(fakes.pipe(Layer.provideMerge(TestClock.layer()))),
    Random.withSeed(options.seed),
    Effect.provideService(MinimumLogLevel, "None"),
    Effect.orDie
  )
}

/** The same jobs for one pool and for three. */
export const compare = Effect.fnUntraced(function*(options: Omit<Options, "pools">) {
  const one = yield* run({ ...options, pools: 1 })
  const three = yield* run({ ...options, pools: 3 })
  return { one, three, ratio: three.p95 / one.p95 }
})
