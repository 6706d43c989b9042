/** Rows 5 to 7, 12, 38 and 39: processes that die under their jobs, servers that are taken out of use, and flapping. */
import { Fault } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { endingOf, nameOf, recordsOf } from "../Judge.ts"
import type { Observation } from "../Observation.ts"
import { type FleetRow, inject, long, post, share, succeeding, supervised } from "../Row.ts"
import type { Strike } from "../World.ts"

/** Every third job costs money. */
const someArePaid = (_: unknown, index: number) => ({ paid: index % 3 === 0 })

/** What a job that must not run twice ends in when it may have run. */
const maybe = ["Lost", "Unreachable", "SubmitAmbiguous", "MaybeExecuted"]

/** Who may run again did, and succeeded; who may not is left to a person. */
const paidAlone = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => {
    const ending = endingOf(job.main)
    if (ending === undefined || ending._tag === "JobSucceeded") return []
    return job.paid && ending._tag === "DeadLettered" ? [] : [`job ${job.index}: ${nameOf(ending)}, paid: ${job.paid}`]
  })

/** A job under which one process died has said two executions at most, and was tried twice. */
const twice = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => {
    const lost = recordsOf(job, seen).filter(({ outcome }) => outcome === "lost").length
    const ending = endingOf(job.main)
    if (lost === 0 || ending?._tag !== "JobSucceeded" || job.attempts > lost) return []
    return [`job ${job.index}: ${job.attempts} attempts, and ${lost} processes died under it`]
  })

const placedAfter = (seen: Observation, server: string, at: number): ReadonlyArray<string> =>
  seen.jobs.flatMap(({ index, main }) =>
    main.events.flatMap((event) =>
      event._tag === "Placed" && event.server === server && event.at > at
        ? [`job ${index} was placed on ${server} ${event.at - at} ms after that was forbidden`]
        : []
    )
  )

/** Takes the victim out of use while something runs, and waits until it is empty. */
const drained: Strike = ({ note, pool, victim, victimId }) =>
  Effect.gen(function*() {
    const before = (yield* victim.ledger).prompts.length
    const startedAt = yield* Clock.currentTimeMillis
    yield* pool.servers.drain(victimId)
    const { prompts } = yield* victim.ledger
    const last = Math.max(startedAt, ...prompts.map(({ endedAt = Number.POSITIVE_INFINITY }) => endedAt))
    const late = (yield* Clock.currentTimeMillis) - last
    if (!Number.isFinite(last)) note("drained while something ran")
    else if (late > 1_000) note(`drained ${late} ms after the last job`)
    if (prompts.length > before) note(`${prompts.length - before} prompts came to a server that drains`)
    const view = (yield* pool.servers.get).find(({ id }) => id === victimId)
    if (view !== undefined && view.jobs.length > 0) note("drained with jobs on it")
  })

const drainedAt = (seen: Observation): number =>
  seen.serverEvents.find(({ _tag }) => _tag === "ServerDraining")?.at ?? Number.POSITIVE_INFINITY

export const processes: ReadonlyArray<FleetRow> = [
  {
    row: 5,
    name: "a process dies after it took the prompt, before its answer",
    shape: succeeding,
    strike: supervised(() => [Fault.on(post, Fault.killAfter, { times: 1 })]),
    also: twice
  },
  {
    row: 5,
    name: "a process dies before it takes the prompt",
    shape: succeeding,
    strike: supervised(() => [Fault.on(post, Fault.killBefore, { times: 1 })])
  },
  {
    row: 5,
    name: "a process dies with prompts that have not begun",
    shape: succeeding,
    server: () => ({ dequeueMs: 2_000 }),
    strike: (world, now) =>
      Effect.gen(function*() {
        for (;;) {
          const { pending, running } = yield* world.victim.snapshot
          if (running.length === 0 && pending.length > 0 || (yield* isLate)) break
          yield* Effect.sleep(20)
        }
        yield* world.victim.kill
        yield* Effect.sleep(share(now, 0, 10_000))
        yield* world.victim.restart
      }),
    also: twice
  },
  {
    row: 6,
    name: "a process dies in a node",
    shape: succeeding,
    strike: supervised(({ dial }) => [
      Fault.onNode({}, Fault.killProcess(dial % 2 === 0 ? "before" : { progress: 1 + (dial % 7) }), {
        skip: dial % 3,
        times: 1
      })
    ]),
    also: twice
  },
  {
    row: 6,
    name: "a process dies in a node, and stays away",
    shape: long,
    strike: ({ victim }) =>
      Effect.gen(function*() {
        for (;;) {
          const { running } = yield* victim.snapshot
          if (running.length > 0 || (yield* isLate)) break
          yield* Effect.sleep(100)
        }
        yield* victim.kill
      }),
    permits: { withinMs: 30 * 60_000 },
    also: twice
  },
  {
    row: 7,
    name: "a process dies when all is done and nobody was told",
    shape: succeeding,
    strike: supervised(() => [Fault.killServerAt(Fault.event("execution_success"), { times: 1 })]),
    permits: { unknowable: true, repeats: true },
    also: twice
  },
  {
    row: 7,
    name: "a process dies when all is done, and some jobs are paid",
    shape: { ...succeeding, minJobs: 3 },
    options: someArePaid,
    strike: supervised(() => [Fault.killServerAt(Fault.event("execution_success"), { times: 2 })]),
    permits: { unknowable: true, repeats: true, reasons: maybe },
    also: paidAlone
  },
  {
    row: 7,
    name: "a process dies in a node, and some jobs are paid",
    shape: { ...succeeding, minJobs: 3 },
    options: someArePaid,
    strike: supervised(({ dial }) => [Fault.onNode({}, Fault.killProcess("before"), { skip: dial % 4, times: 1 })]),
    permits: { reasons: maybe },
    also: paidAlone
  },
  {
    row: 12,
    name: "a process is replaced at once, and knows nothing",
    shape: succeeding,
    strike: ({ victim }) => Effect.andThen(victim.kill, victim.restart),
    also: twice
  },
  {
    row: 38,
    name: "a server is drained while jobs run",
    shape: { ...long, minJobs: 4 },
    strike: drained,
    also: (seen) => placedAfter(seen, seen.victim, drainedAt(seen))
  },
  {
    row: 38,
    name: "a server is taken out while jobs run",
    shape: { ...long, minJobs: 4 },
    strike: ({ pool, victimId }) => Effect.asVoid(pool.servers.remove(victimId)),
    permits: { repeats: true, leaves: true },
    also: (seen) =>
      placedAfter(
        seen,
        seen.victim,
        seen.serverEvents.find(({ _tag }) => _tag === "ServerRemoved")?.at ?? Number.POSITIVE_INFINITY
      )
  },
  {
    row: 38,
    name: "the pool is drained, and closed with what still waits",
    shape: { ...long, minJobs: 4, servers: [2, 3], arrivalsMs: 1_000 },
    strike: (world) =>
      Effect.gen(function*() {
        const at = yield* Clock.currentTimeMillis
        const done = yield* world.pool.drain("2 minutes")
        if (!done) world.note("what ran did not end")
        for (const { jobs } of yield* world.pool.servers.get) if (jobs.length > 0) world.note("drained with jobs")
        for (const server of world.servers) {
          const late = (yield* server.ledger).prompts.filter(({ acceptedAt }) => acceptedAt > at)
          if (late.length > 0) world.note(`${late.length} prompts came to a pool that drains`)
        }
        // Nobody takes them any more: whoever drains a queue in memory ends them.
        for (const running of world.crowd.running) yield* world.crowd.cancel(running)
      }),
    permits: { idleUnjudged: true, refusals: true }
  },
  {
    row: 39,
    name: "the network before one server flaps, up 2 s and down 2 s",
    shape: succeeding,
    strike: inject(() => [Fault.flapping({ upMs: 2_000, downMs: 2_000, schedule: { forMs: 120_000 } })]),
    permits: { reasons: ["SubmitAmbiguous"], doubt: true, repeats: true, idleUnjudged: true }
  },
  {
    row: 39,
    name: "a process flaps, up 5 s and down 2 s",
    shape: succeeding,
    strike: inject(
      () => [Fault.flapping({ upMs: 5_000, downMs: 2_000, what: "process", schedule: { forMs: 60_000 } })]
    ),
    permits: { reasons: ["Lost", "Unreachable", "SubmitAmbiguous"], doubt: true, idleUnjudged: true }
  },
  {
    row: 39,
    name: "a card is broken for an hour, and is tried again ever more rarely",
    // Jobs come all the time, so that there is one for every trial.
    shape: { kinds: ["picture"], minJobs: 25, maxJobs: 30, arrivalsMs: 20 * 60_000, servers: [2, 3] },
    pool: { breakers: { open: 30_000 } },
    strike: inject(() => [Fault.onNode({}, Fault.poisonGpu())]),
    permits: { withinMs: 20 * 60_000 },
    also: (seen) => trials(seen)
  }
]

const isLate = Effect.map(Clock.currentTimeMillis, (now) => now > 20_000)

/** The time for which a breaker opens doubles, and between two openings one job at most goes there. */
const trials = (seen: Observation): ReadonlyArray<string> => {
  const out: Array<string> = []
  const openings = seen.serverEvents.flatMap((event) =>
    event._tag === "ServerBlocked" && event.server === seen.victim && event.key === null ? [event] : []
  )
  for (const [index, { at, until }] of openings.entries()) {
    const before = openings[index - 1]
    if (before === undefined) continue
    const grown = (until - at) / (before.until - before.at)
    if (Math.abs(grown - 2) > 0.01 && until - at < 3_600_000) {
      out.push(`opened for ${until - at} ms after ${before.until - before.at} ms`)
    }
    const placed = seen.jobs.flatMap(({ main }) =>
      main.events.filter((event) =>
        event._tag === "Placed" && event.server === seen.victim && event.at > before.at && event.at <= at
      )
    ).length
    if (placed !== 1) {
      out.push(`${placed} jobs were the trial of ${seen.victim}`)
    }
  }
  return out
}
