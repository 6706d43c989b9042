// Plays rows of the fault table as tests: each with 100 seeds. A failure prints its seed and the smallest scenario.
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { judge } from "./Judge.ts"
import { observe, type Row } from "./rows/Row.ts"
import { scenarios } from "./Scenario.ts"

/** `FIRE_RUNS=1000 FIRE_SEED=7 npx vitest …`: more of them, or those of one seed again. */
const numRuns = Number(process.env["FIRE_RUNS"] ?? 100)
/** The same ones each time: a change is judged by what it changes. Others are found with another seed, and by the soak. */
const seed = Number(process.env["FIRE_SEED"] ?? 1)

export const play = (title: string, rows: ReadonlyArray<Row>): void =>
  void describe(`one client on one server, ${title}`, () => {
    for (const row of rows) {
      it(`${row.row}: ${row.name}`, { timeout: 300_000 }, () =>
        fc.assert(
          fc.asyncProperty(scenarios(row.shape), (scenario) =>
            Effect.runPromise(
              Effect.map(observe(row, scenario), (seen) => assert.deepStrictEqual(judge(seen, () => row.permits), []))
            )),
          { numRuns, timeout: 20_000, seed }
        ))
    }
  })
