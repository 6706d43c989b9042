// Plays rows on real sockets and processes. A failure prints its seed and the smallest scenario found in time.
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { type Scenario, scenarios } from "../Scenario.ts"
import type { RealRow } from "./RealRow.ts"

/** How often, from which seed, and how long at most. */
export interface Playing {
  readonly numRuns: number
  readonly seed: number | undefined
  /** Then no more scenarios are begun, and a failure is made no smaller. */
  readonly limitMs: number
}

const maxJobs = 3

/** One scenario after the other, until one fails. Interrupted, it waits until the one under way has cleaned up. */
export const check = (row: RealRow, { limitMs, numRuns, seed }: Playing): Effect.Effect<fc.RunDetails<[Scenario]>> =>
  Effect.callback((resume, signal) => {
    const play = (scenario: Scenario): Promise<void> =>
      Effect.runPromise(
        Effect.map(row.complaints(scenario), (complaints) => {
          if (complaints.length > 0) throw new Error(complaints.join("\n"))
        }),
        { signal }
      )
    const checked = fc.check(fc.asyncProperty(scenarios({ maxJobs, ...row.shape }), play), {
      numRuns,
      timeout: 60_000,
      interruptAfterTimeLimit: limitMs,
      ...seed === undefined ? {} : { seed }
    })
    void checked.then((details) => resume(Effect.succeed(details)))
    return Effect.asVoid(Effect.promise(() => checked))
  })

/** The seed, the smallest scenario, and what was wrong with it; empty where nothing was. */
export const failureOf = (details: fc.RunDetails<[Scenario]>): string =>
  details.failed ? `${fc.defaultReportMessage(details)}\n${String(details.errorInstance)}` : ""
