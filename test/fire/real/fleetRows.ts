/** Rows 5 to 7, 10, 12, 24 and 38 with a pool over processes of their own. */
import { Fault } from "@effect-comfyui/testing"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Permits } from "../fleet/Judge.ts"
import { long, share, succeeding } from "../fleet/Row.ts"
import { drained } from "./drained.ts"
import { onProcesses, type RealFleetRow } from "./FleetRow.ts"
import { killedAnd, once, standStill } from "./Host.ts"

/** Who dies takes along what it did after it was last asked. */
const died: Permits = {
  reasons: ["Lost", "Unreachable", "SubmitAmbiguous", "MaybeExecuted"],
  unknowable: true,
  repeats: true,
  doubt: true,
  leaves: true,
  forgotten: true
}

const small = { servers: [2, 3], maxJobs: 6 } as const

export const realFleetRows: ReadonlyArray<RealFleetRow> = [
  onProcesses(
    {
      row: 5,
      name: "killed after it took the prompt, before it began",
      shape: { ...succeeding, ...small },
      dequeueMs: 150,
      permits: died
    },
    ({ victim }, now) =>
      once(victim, ({ prompts }) => prompts.some(({ startedAt }) => startedAt === undefined)).pipe(
        Effect.andThen(killedAnd(victim, share(now, 0, 200)))
      )
  ),
  onProcesses(
    { row: 6, name: "killed in a node", shape: { ...long, ...small }, permits: died },
    ({ victim }, now) =>
      once(victim, ({ nodes }) => nodes.some(({ endedAt }) => endedAt === undefined)).pipe(
        Effect.andThen(Effect.sleep(share(now, 0, 100))),
        Effect.andThen(killedAnd(victim, share(now, 0, 100)))
      )
  ),
  onProcesses(
    {
      row: 7,
      name: "killed when all was done, and nobody had been told",
      shape: { ...succeeding, ...small },
      options: (_, index) => ({ paid: index % 3 === 0 }),
      permits: died
    },
    ({ victim }, now) =>
      Effect.asVoid(victim.server.inject(Fault.delayFrames(60_000))).pipe(
        Effect.andThen(once(victim, ({ prompts }) => prompts.some(({ outcome }) => outcome === "success"))),
        Effect.andThen(killedAnd(victim, share(now, 0, 100)))
      )
  ),
  onProcesses(
    { row: 10, name: "one server is stopped for a while", shape: { ...long, ...small }, permits: { repeats: true } },
    ({ victim }, now) =>
      victim.process.stop.pipe(
        Effect.andThen(Effect.sleep(share(now, 50, 2_000))),
        Effect.andThen(victim.process.continue)
      )
  ),
  onProcesses(
    { row: 12, name: "replaced at once on the same port", shape: { ...succeeding, ...small }, permits: died },
    ({ victim }) => victim.restart
  ),
  onProcesses(
    { row: 24, name: "the pool's own event loop stands still", shape: { ...long, ...small } },
    (_, now) => standStill(share(now, 100, 3_000))
  ),
  onProcesses(
    { row: 38, name: "one server is drained while jobs run", shape: { ...long, ...small, minJobs: 3 } },
    ({ note, pool, victim, victimId }) =>
      Effect.gen(function*() {
        const startedAt = yield* Clock.currentTimeMillis
        const runs = Effect.map(victim.ledger, ({ prompts }) => prompts.some(({ endedAt }) => endedAt === undefined))
        const drain = yield* Effect.timeoutOption(pool.servers.drain(victimId), "10 seconds")
        if (drain._tag === "None") note("a server was not drained in ten seconds")
        else if (yield* runs) {
          note(`drained after ${(yield* Clock.currentTimeMillis) - startedAt} ms, and something runs`)
        }
        const before = (yield* victim.ledger).prompts.length
        yield* Effect.sleep("300 millis")
        const came = (yield* victim.ledger).prompts.length - before
        if (came > 0) note(`${came} prompts came to a server that was drained`)
      })
  ),
  drained
]
