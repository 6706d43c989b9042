/** Rows 8 to 11, 24 and 37: sockets that break, lie and come back, and event loops that stand still. */
import { Fault } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import { triesOf } from "../Judge.ts"
import type { Observation } from "../Observation.ts"
import { type FleetRow, inject, long, share, succeeding } from "../Row.ts"

/** Whatever the socket does, no server runs anything again, and no job moves. */
const firstAttempts = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => triesOf(job) === 1 ? [] : [`job ${job.index}: tried ${triesOf(job)} times`])

/** Nobody can dial a server more often: the default schedule begins with a quarter of a second. */
const dialsPerSecond = 6

const gathered = (dials: ReadonlyArray<number>, withinMs: number): number =>
  Math.max(0, ...dials.map((from) => dials.filter((at) => at >= from && at < from + withinMs).length))

/** Each server is dialled rarely, and all of them at moments of their own. */
const spread = ({ servers, struckAt }: Observation): ReadonlyArray<string> => {
  const out: Array<string> = []
  const again = servers.map(({ dials }) => dials.filter((at) => at > struckAt))
  for (const [index, dials] of again.entries()) {
    const rush = gathered(dials, 1_000)
    if (rush > dialsPerSecond) out.push(`server ${index + 1} was dialled ${rush} times within a second`)
    if (dials.length === 0) out.push(`server ${index + 1} was not dialled again`)
  }
  // The first dials after a break lie in a window that jitter makes as wide as the first pause is long.
  const firsts = again.flatMap(([first]) => first === undefined ? [] : [first]).toSorted((a, b) => a - b)
  const together = gathered(firsts, 10)
  if (together > Math.ceil(servers.length / 3)) out.push(`${together} servers were dialled within 10 ms`)
  return out
}

export const sockets: ReadonlyArray<FleetRow> = [
  {
    row: 8,
    name: "the socket of one server is cut, and new ones are refused for a while",
    shape: succeeding,
    strike: ({ victim }, now) =>
      Effect.andThen(
        victim.inject(Fault.refuseUpgrades({ status: 502 }, { forMs: share(now, 100, 30_000) })),
        victim.cutSockets()
      ),
    also: firstAttempts
  },
  {
    row: 8,
    name: "all sockets are cut at once, and new ones are refused for a while",
    shape: succeeding,
    strike: ({ servers }, now) =>
      Effect.forEach(
        servers,
        (server) =>
          Effect.andThen(
            server.inject(Fault.refuseUpgrades("reset", { forMs: share(now, 100, 30_000) })),
            server.cutSockets()
          ),
        { discard: true }
      ),
    also: firstAttempts
  },
  {
    row: 9,
    name: "the socket is cut again and again",
    shape: long,
    strike: ({ victim }, { dial }) =>
      Effect.asVoid(Effect.forkScoped(
        Effect.repeat(Effect.delay(victim.cutSockets(), 500 + dial * 20), { times: 10 })
      )),
    also: firstAttempts
  },
  {
    row: 10,
    name: "the connection to one server is half open",
    shape: long,
    strike: ({ victim }, { dial }) => victim.halfOpenSockets({ serverNoticesMs: dial % 2 === 0 ? 10_000 : 120_000 }),
    also: firstAttempts
  },
  {
    row: 11,
    name: "the socket of one server goes deaf",
    shape: succeeding,
    strike: ({ victim }) => victim.deafenSockets(),
    also: firstAttempts
  },
  {
    row: 11,
    name: "every socket of one server is deaf",
    shape: succeeding,
    strike: ({ victim }) => Effect.andThen(victim.inject(Fault.deafUpgrades()), victim.cutSockets()),
    also: firstAttempts
  },
  {
    row: 24,
    name: "the event loop of one server stands still",
    shape: long,
    strike: ({ victim }, now) => victim.stall(share(now, 5_000, 60_000)),
    also: (seen) => firstAttemptsUnless(seen)
  },
  {
    row: 24,
    name: "the event loop of one server stutters",
    shape: long,
    strike: inject(() => [Fault.flapping({ upMs: 2_000, downMs: 2_000, what: "stall", schedule: { forMs: 120_000 } })]),
    also: (seen) => firstAttemptsUnless(seen)
  },
  {
    row: 37,
    name: "the sockets of sixty servers drop at once",
    shape: { kinds: ["counting"], minJobs: 2, maxJobs: 4, servers: [60, 60] },
    strike: ({ servers }, now) =>
      Effect.forEach(
        servers,
        (server) =>
          Effect.andThen(
            server.inject(Fault.refuseUpgrades("reset", { forMs: share(now, 1, 20_000) })),
            server.cutSockets()
          ),
        { discard: true }
      ),
    also: (seen) => [...firstAttempts(seen), ...spread(seen)]
  }
]

/** A POST that meets a server which stands still may be asked for again; nothing runs twice. */
const firstAttemptsUnless = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => triesOf(job) <= 2 ? [] : [`job ${job.index}: tried ${triesOf(job)} times`])
