import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { compare } from "./rivals/Rivals.ts"
import { isFine, lines } from "./rivals/Table.ts"

it(
  "three pools on the same servers interrupt nobody, and wait hardly longer than one",
  { timeout: 120_000 },
  () =>
    Effect.runPromise(Effect.gen(function*() {
      const compared = yield* compare({ jobs: 300, mix: "plain", seed: 1 })
      const { one, three } = compared
      for (const figures of [one, three]) {
        assert.strictEqual(figures.jobs, 300)
        assert.strictEqual(figures.succeeded, 300)
        assert.strictEqual(figures.lost, 0)
        assert.strictEqual(figures.interrupted, 0)
        assert.isAbove(figures.p95, 0)
      }
      assert.isTrue(isFine(compared), lines(compared).join("\n"))
    }))
)
