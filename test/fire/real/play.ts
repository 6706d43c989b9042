// Plays rows on real sockets and processes. A failure prints its seed and the smallest scenario found in time.
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Fleet from "../fleet/Scenario.ts"
import { type Scenario, scenarios } from "../Scenario.ts"
import type { RealFleetRow } from "./FleetRow.ts"
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
const checkAll = <S>(
  chance: fc.Arbitrary<S>,
  complaints: (scenario: S) => Effect.Effect<ReadonlyArray<string>>,
  { limitMs, numRuns, seed }: Playing
): Effect.Effect<fc.RunDetails<[S]>> =>
  Effect.callback((resume, signal) => {
    const play = (scenario: S): Promise<void> =>
      Effect.runPromise(
        Effect.map(complaints(scenario), (found) => {
          if (found.length > 0) throw new Error(found.join("\n"))
        }),
        { signal }
      )
    const checked = fc.check(fc.asyncProperty(chance, play), {
      numRuns,
      timeout: 60_000,
      interruptAfterTimeLimit: limitMs,
      ...seed === undefined ? {} : { seed }
    })
    void checked.then((details) => resume(Effect.succeed(details)))
    return Effect.asVoid(Effect.promise(() => checked))
  })

/** One client on one server. */
export const check = (row: RealRow, playing: Playing): Effect.Effect<fc.RunDetails<[Scenario]>> =>
  checkAll(scenarios({ maxJobs, ...row.shape }), row.complaints, playing)

/** A pool on several. */
export const checkFleet = (row: RealFleetRow, playing: Playing): Effect.Effect<fc.RunDetails<[Fleet.FleetScenario]>> =>
  checkAll(Fleet.scenarios(row.shape), row.complaints, playing)

/** The seed, the smallest scenario, and what was wrong with it; empty where nothing was. */
export const failureOf = <S>(details: fc.RunDetails<[S]>): string =>
  details.failed ? `${fc.defaultReportMessage(details)}\n${String(details.errorInstance)}` : ""
