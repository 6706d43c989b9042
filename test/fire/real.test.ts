import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { realFleetRows } from "./real/fleetRows.ts"
import { check, checkFleet, failureOf } from "./real/play.ts"
import { realRows } from "./real/rows.ts"

/** `FIRE_REAL_RUNS=100 FIRE_SEED=7 npx vitest …`: more of them, or those of one seed again. */
const numRuns = Number(process.env["FIRE_REAL_RUNS"] ?? 3)
const seed = Number(process.env["FIRE_SEED"] ?? 1)

describe("one client, on real sockets and processes", () => {
  for (const row of realRows) {
    it.live(`${row.row}: ${row.name}`, () =>
      Effect.gen(function*() {
        const details = yield* check(row, {
          numRuns,
          seed,
          limitMs: 100_000
        })
        assert.isFalse(details.failed, failureOf(details))
      }), { timeout: 300_000 })
  }
})

describe("a pool, on real sockets and processes", () => {
  for (const row of realFleetRows) {
    it.live(`${row.row}: ${row.name}`, () =>
      Effect.gen(function*() {
        const details = yield* checkFleet(row, { numRuns, seed, limitMs: 100_000 })
        assert.isFalse(details.failed, failureOf(details))
      }), { timeout: 300_000 })
  }
})

it("every row of the table that needs a socket or a process is there", () => {
  assert.deepStrictEqual(
    [...new Set(realRows.map(({ row }) => row))].toSorted((one, other) => one - other),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 19, 24, 37]
  )
})

it("every row of the table that needs processes and concerns several servers is there", () => {
  assert.deepStrictEqual(
    [...new Set(realFleetRows.map(({ row }) => row))].toSorted((one, other) => one - other),
    [5, 6, 7, 10, 12, 24, 38]
  )
})
