/** The rows of the fault table on real sockets and processes, many scenarios of each, a line per row. */
import * as Effect from "effect/Effect"
import type { RunDetails } from "fast-check"
import { realFleetRows } from "../fire/real/fleetRows.ts"
import { check, checkFleet, failureOf, type Playing } from "../fire/real/play.ts"
import { realRows } from "../fire/real/rows.ts"

/** So many rows at a time: each is mostly waiting. */
const concurrency = 6

const line = <S>(name: string, details: RunDetails<[S]>): string =>
  `${details.failed ? "FAILED" : "ok"}  ${name}, ${details.numRuns} scenarios${
    details.failed ? `\n${failureOf(details)}` : ""
  }`

/** Plays all of them; gives back whether all went well. */
export const faults = (
  options: Playing,
  tell: (line: string) => Effect.Effect<void>
): Effect.Effect<boolean> => {
  const told = <S>(name: string, played: Effect.Effect<RunDetails<[S]>>): Effect.Effect<boolean> =>
    Effect.flatMap(played, (details) => Effect.as(tell(line(name, details)), !details.failed))
  const all = [
    ...realRows.map((row) => told(`${row.row}: ${row.name}`, check(row, options))),
    ...realFleetRows.map((row) => told(`${row.row}: a pool, ${row.name}`, checkFleet(row, options)))
  ]
  return Effect.map(Effect.all(all, { concurrency }), (passed) => passed.every(Boolean))
}
