// Rows 2 to 7 of the fault table once more, with jobs that cost money: whatever happens to a POST or a process, the ledgers
// of the servers show at most one execution of each.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { endingOf, recordsOf } from "./fleet/Judge.ts"
import type { Observation } from "./fleet/Observation.ts"
import { fleetRows } from "./fleet/rows.ts"
import { scenarios } from "./fleet/Scenario.ts"
import { observe } from "./fleet/World.ts"

/** `FIRE_RUNS=100 npx vitest …`: more of them. */
const numRuns = Number(process.env["FIRE_RUNS"] ?? 2)
const seed = Number(process.env["FIRE_SEED"] ?? 1)

/** Executions that nobody should have paid for, and jobs that nobody was told the end of. */
const wrongs = (seen: Observation): ReadonlyArray<string> =>
  seen.jobs.flatMap((job) => {
    const began = recordsOf(job, seen).filter(({ startedAt }) => startedAt !== undefined).length
    const ending = endingOf(job.main)
    return [
      ...began > 1 ? [`job ${job.index} began ${began} times`] : [],
      ...ending === undefined ? [`job ${job.index} has no ending`] : [],
      ...ending !== undefined && ending.executions.atMost > 1
        ? [`job ${job.index} says ${ending.executions.atMost}`]
        : []
    ]
  })

describe("a paid job", () => {
  for (const row of fleetRows.filter(({ row }) => row >= 2 && row <= 7)) {
    // An option that allows a second run is one that a paid job has no use for.
    const habits = { ...row, options: () => ({ paid: true }) }
    it(`${row.row}: ${row.name}`, { timeout: 1_200_000 }, () =>
      fc.assert(
        fc.asyncProperty(scenarios(row.shape), (scenario) =>
          Effect.runPromise(Effect.map(observe(habits, scenario, row.strike), (seen) =>
            assert.deepStrictEqual(wrongs(seen), [])))),
        { numRuns, timeout: 60_000, seed }
      ))
  }
})
