// The rows of the fault table that concern several servers, on a pool in virtual time. A failure prints its seed and the
// smallest scenario.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { complaints } from "./fleet/Row.ts"
import { fleetRows } from "./fleet/rows.ts"
import { scenarios } from "./fleet/Scenario.ts"

/** `FIRE_RUNS=100 FIRE_SEED=7 npx vitest …`: more of them, or those of one seed again. */
const numRuns = Number(process.env["FIRE_RUNS"] ?? 2)
/** The same ones each time: a change is judged by what it changes. */
const seed = Number(process.env["FIRE_SEED"] ?? 1)

describe("a pool", () => {
  for (const row of fleetRows) {
    it(`${row.row}: ${row.name}`, { timeout: 600_000 }, () =>
      fc.assert(
        fc.asyncProperty(scenarios(row.shape), (scenario) =>
          Effect.runPromise(Effect.map(complaints(row, scenario), (wrong) =>
            assert.deepStrictEqual(wrong, [])))),
        { numRuns, timeout: 60_000, seed }
      ))
  }
})

it("every row of the table that concerns several servers, and needs no socket and no process, is there", () => {
  assert.deepStrictEqual(
    [...new Set(fleetRows.map(({ row }) => row))].toSorted((one, other) => one - other),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 24, 30, 31, 33, 34, 36, 37, 38, 39, 40]
  )
})
