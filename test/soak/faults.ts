/** The rows of the fault table on real sockets and processes, many scenarios of each, a line per row. */
import * as Effect from "effect/Effect"
import { check, failureOf } from "../fire/real/play.ts"
import { realRows } from "../fire/real/rows.ts"

/** So many rows at a time: each is mostly waiting. */
const concurrency = 6

/** Plays all of them; gives back whether all went well. */
export const faults = (
  options: { readonly numRuns: number; readonly seed: number; readonly limitMs: number },
  tell: (line: string) => Effect.Effect<void>
): Effect.Effect<boolean> =>
  Effect.map(
    Effect.forEach(
      realRows,
      (row) =>
        Effect.gen(function*() {
          const details = yield* check(row, options)
          yield* tell(
            `${details.failed ? "FAILED" : "ok"}  ${row.row}: ${row.name}, ${details.numRuns} scenarios${
              details.failed ? `\n${failureOf(details)}` : ""
            }`
          )
          return !details.failed
        }),
      { concurrency }
    ),
    (passed) => passed.every(Boolean)
  )
