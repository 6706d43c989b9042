import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { wrongs } from "./night/Judge.ts"
import { run } from "./night/Night.ts"
import { isFine, lines } from "./night/Table.ts"
import { troubles } from "./night/Trouble.ts"

it(
  "twenty minutes of a fleet lose nothing, end nothing healthy and run nothing twice",
  { timeout: 120_000 },
  () =>
    Effect.runPromise(Effect.gen(function*() {
      const report = yield* run({ hours: 1 / 3, servers: 8, seed: 1, faults: 0.5 })
      const { figures } = report
      for (const found of Object.values(figures.wrongs)) assert.deepStrictEqual(found, [])
      assert.isTrue(isFine(report))
      assert.isAbove(report.jobs, 30)
      assert.strictEqual([...figures.endings.values()].reduce((sum, times) => sum + times, 0), report.jobs)
      assert.isAtLeast(figures.endings.get("JobSucceeded") ?? 0, report.jobs * 0.9)
      assert.isAbove([...report.faults.values()].filter(({ struck }) => struck > 0).length, 3)
      assert.isAbove(figures.foreign, 0)
      const table = lines(report).join("\n")
      for (const wrong of Object.values(wrongs)) assert.include(table, wrong)
    }))
)

it("every kind of trouble has a name of its own", () => {
  assert.strictEqual(new Set(troubles.map(({ name }) => name)).size, troubles.length)
})
