/**
 * Real clients on real fake processes, with jobs all the time and faults of every kind at random: what was told is
 * compared with what really ran. Ends by itself.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as ChaosProxyNode from "@effect-comfyui/testing/ChaosProxyNode"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Host from "../fire/real/Host.ts"
import { quick } from "../fire/real/live.ts"
import { kinds } from "../fire/Scenario.ts"
import { attachTo, begin, cancelOf, leave, type Running, toObserved } from "../fire/World.ts"
import * as Audit from "./Audit.ts"
import { type Strike, strikes, type Target } from "./Strike.ts"
import * as Tally from "./Tally.ts"

/** How long, how much, and what chance is. */
export interface Options {
  readonly seconds: number
  /** Every other one stands behind a proxy. Default 4. */
  readonly servers?: number
  /** Jobs in flight on each server. Default 6. */
  readonly inFlight?: number
  readonly seed: number
  /** Default: every kind. */
  readonly strikes?: ReadonlyArray<Strike>
}

/**
 * A dead worker is told from a busy one after seconds. A server that says nothing is given up late: on a busy machine a
 * process may not get its turn for seconds, and that a run was given up meanwhile would look like a lie.
 */
export const impatient: Partial<ComfyClient.Options> = {
  ...quick,
  promptTimeout: "1 second",
  headersTimeout: "2 seconds",
  bodyTimeout: "2 seconds",
  watch: {
    ...quick.watch,
    unreachableFloor: 40_000,
    unreachableCap: 60_000,
    doubtGiveUp: 40_000,
    stuckStart: 2_000,
    stuckNode: 60_000
  }
}

/** How long runs may take to end once nothing goes wrong any more. */
const patience = "90 seconds"

interface Server extends Target {
  readonly client: ComfyClient.Shape
  readonly audit: Audit.Audit
  readonly running: Set<Running>
  /** Strikes so far that put frames out of order, and whether one does now. */
  shuffles: { readonly before: number; readonly now: boolean }
  /** Jobs so far, which are numbered from 0. */
  jobs: number
}

const happens = (percent: number): Effect.Effect<boolean> => Effect.map(Random.next, (dice) => dice * 100 < percent)

/** Who began while a process lived that is dead now, or dies, was on it. */
const beganIn = (host: Host.Host) => {
  const { done } = host.deaths()
  return () => host.deaths().begun !== done
}

/** Whether frames came out of order since then. */
const shuffledSince = (server: Server) => {
  const { before, now } = server.shuffles
  return () => now || server.shuffles.now || server.shuffles.before !== before
}

const isHeard = ({ events: [first] }: Running["main"]): boolean =>
  !(first?._tag === "Gap" && first.cause === "attached")

const asObserved = (running: Running): Audit.Ended["run"] => {
  // Somebody who came in the moment after the end was told what the server knew by then.
  return toObserved({ ...running, others: running.others.filter(isHeard) })
}

/** One job from its start to its end, with what people do to it meanwhile. */
const job = Effect.fnUntraced(function*(server: Server) {
  const kind = kinds[yield* Random.nextIntBetween(0, kinds.length - 1)] ?? "picture"
  const size = yield* Random.nextIntBetween(1, 8)
  const wasKilled = beganIn(server.host)
  const wasShuffled = shuffledSince(server)
  const running = yield* begin(server.client, {
    kind,
    size,
    startMs: 0,
    cancelMs: undefined,
    attachMs: undefined
  }, server.jobs++)
  server.audit.open.add(running.runId)
  server.running.add(running)
  const act = (percent: number, what: Effect.Effect<void, never, Scope.Scope>) =>
    Effect.gen(function*() {
      if (!(yield* happens(percent))) return
      yield* Effect.sleep(yield* Random.nextIntBetween(0, 300))
      yield* what
    })
  yield* Effect.forkScoped(Effect.all([
    act(15, attachTo(server.client, running)),
    act(15, cancelOf(server.client, running)),
    act(3, leave(running))
  ], { concurrency: "unbounded", discard: true }))
  yield* Effect.ensuring(
    Effect.gen(function*() {
      yield* Fiber.await(running.main.fiber)
      for (const { fiber } of running.others) yield* Fiber.await(fiber)
    }),
    Effect.sync(() => {
      server.running.delete(running)
      server.audit.end({ run: asObserved(running), wasKilled: wasKilled(), wasShuffled: wasShuffled() })
    })
  )
  return Tally.nameOf(running.main.events.at(-1))
})

/** Where these come at once, more of them say nothing: people wait a little. */
const discouraging: ReadonlySet<string> = new Set(["Failed(Unreachable)", "Failed(GpuPoisoned)"])

/** One job after the other until it is told to stop. */
const worker = (server: Server, goesOn: () => boolean): Effect.Effect<void> =>
  Effect.gen(function*() {
    while (goesOn()) {
      const ending = yield* Effect.scoped(job(server))
      yield* Effect.sleep((discouraging.has(ending) ? 300 : 0) + (yield* Random.nextIntBetween(0, 40)))
    }
  })

/** The kind that has struck least so far; one that finds nothing to strike is not tried for ever. */
const choose = Effect.fnUntraced(function*(tally: Tally.Tally, all: ReadonlyArray<Strike>) {
  let least: Strike | undefined
  let lowest = Number.POSITIVE_INFINITY
  for (const strike of all) {
    const { struck, tried } = tally.faults.get(strike.name) ?? { struck: 0, tried: 0 }
    const score = struck + tried / 6 + 3 * (yield* Random.next)
    if (score < lowest) {
      lowest = score
      least = strike
    }
  }
  return least
})

/** Strikes and heals in turn, and judges what has ended between two faults. */
const striker = Effect.fnUntraced(function*(
  server: Server,
  all: ReadonlyArray<Strike>,
  tally: Tally.Tally,
  goesOn: () => boolean
) {
  const mine = all.filter(({ needsProxy }) => server.proxy !== undefined || !needsProxy)
  while (goesOn()) {
    const strike = yield* choose(tally, mine)
    if (strike === undefined) return
    const counts = tally.faults.get(strike.name)
    if (counts !== undefined) counts.tried++
    if (strike.shuffles === true) server.shuffles = { ...server.shuffles, now: true }
    const exit = yield* Effect.exit(strike.strike(server))
    if (strike.shuffles === true) server.shuffles = { before: server.shuffles.before + 1, now: false }
    if (Exit.isSuccess(exit)) {
      if (exit.value && counts !== undefined) counts.struck++
    } else {
      Tally.keep(tally.accidents, `${strike.name}: ${Cause.pretty(exit.cause)}`)
      yield* server.host.restart
    }
    yield* Effect.sleep(yield* Random.nextIntBetween(20, 150))
    yield* server.audit.look
  }
})

const open = Effect.fnUntraced(function*(index: number, options: Options, tally: Tally.Tally) {
  const host = yield* Host.make({ speed: 0.03, seed: options.seed + index })
  const proxy = index % 2 === 0
    ? yield* ChaosProxyNode.make({ target: host.process.url, seed: options.seed + index })
    : undefined
  const comfy = yield* Effect.orDie(ComfyClient.make({ url: proxy?.url ?? host.process.url, ...impatient }))
  const running = new Set<Running>()
  const server: Server = {
    host,
    proxy,
    client: comfy,
    audit: Audit.make(host, host.server.origin, tally),
    running,
    shuffles: { before: 0, now: false },
    // Who cancels does not wait for what comes of it.
    cancelAll: Effect.suspend(() =>
      Effect.forEach([...running], (one) => Effect.forkDetach(cancelOf(comfy, one)), { discard: true })
    ),
    jobs: 0
  }
  return server
})

const heapUsed = Effect.sync(() => {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
})

/** Runs a soak to its end. `tell` hears what is done from time to time. */
export const run = (
  options: Options,
  tell: (line: string) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Tally.Report> =>
  Effect.gen(function*() {
    const all = options.strikes ?? strikes
    const tally = Tally.make(all.map(({ name }) => name))
    const startedAt = yield* Clock.currentTimeMillis
    const servers = yield* Effect.forEach(
      Array.from({ length: options.servers ?? 4 }),
      (_, index) => open(index, options, tally),
      { concurrency: "unbounded" }
    )
    let goesOn = true
    const fine = (fiber: Fiber.Fiber<void>) =>
      Effect.map(Fiber.await(fiber), (exit) => {
        if (Exit.isFailure(exit)) Tally.keep(tally.accidents, Cause.pretty(exit.cause))
      })
    const workers = yield* Effect.forEach(servers, (server) =>
      Effect.forEach(
        Array.from({ length: options.inFlight ?? 6 }),
        () => Effect.forkScoped(worker(server, () => goesOn))
      ))
    const strikers = yield* Effect.forEach(
      servers,
      (server) => Effect.forkScoped(striker(server, all, tally, () => goesOn))
    )
    const earlyMs = Math.min(60_000, options.seconds * 1_000 / 3)
    yield* Effect.sleep(earlyMs)
    const heapEarly = yield* heapUsed
    yield* tell(`${Math.round(earlyMs / 1_000)} s: ${tally.runs} runs`)
    yield* Effect.sleep(options.seconds * 1_000 - earlyMs)
    goesOn = false
    yield* Effect.forEach(strikers, fine, { discard: true })
    yield* Effect.forEach(servers, ({ host, proxy }) => Effect.andThen(host.server.heal, proxy?.heal ?? Effect.void), {
      discard: true
    })
    yield* tell("the faults are over")
    yield* Effect.timeoutOption(Effect.forEach(workers.flat(), fine, { discard: true }), patience)
    // Whoever still waits hangs: its interruption hands in what it saw, which is no ending.
    yield* Effect.forEach(workers.flat(), Fiber.interrupt, { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(servers, ({ audit }) => audit.look, { discard: true })
    const report: Tally.Report = {
      tally,
      seed: options.seed,
      seconds: ((yield* Clock.currentTimeMillis) - startedAt) / 1_000,
      heapEarly,
      heapEnd: yield* heapUsed
    }
    return report
  }).pipe(Effect.scoped, Effect.provide(PlatformNode.layer()), Random.withSeed(options.seed))
