import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Goal, Sample } from "../../.ci/bench/contract.ts"
import { bootstrap, canBeClose, judge, median, quantile, reached, rounds } from "../../.ci/bench/statistics.ts"

const figures = fc.array(fc.double({ min: 0.01, max: 1000, noNaN: true }), { minLength: 1, maxLength: 40 })
const samples = (ratios: ReadonlyArray<number>): ReadonlyArray<Sample> =>
  ratios.map((ratio) => ({ ours: ratio * 100, reference: 100, ratio }))
const around = (centre: number, spread: number): ReadonlyArray<Sample> =>
  samples(Array.from({ length: 30 }, (_, round) => centre + spread * (round / 29 - 0.5)))

describe("quantile", () => {
  it("gives the middle, and between two middles the half way", () => {
    assert.strictEqual(median([3, 1, 2]), 2)
    assert.strictEqual(median([4, 1, 2, 3]), 2.5)
    assert.strictEqual(quantile([0, 10], 0.25), 2.5)
    assert.isNaN(median([]))
  })

  it("stays within the values, does not depend on their order and leaves them alone", () => {
    fc.assert(fc.property(figures, fc.double({ min: 0, max: 1, noNaN: true }), (values, q) => {
      const before = [...values]
      const found = quantile(values, q)
      assert.isAtLeast(found, Math.min(...values))
      assert.isAtMost(found, Math.max(...values))
      assert.strictEqual(quantile(values.toReversed(), q), found)
      assert.deepStrictEqual(values, before)
    }))
  })
})

describe("bootstrap", () => {
  it("gives the same interval each time, in order and within the values", () => {
    fc.assert(
      fc.property(figures, (values) => {
        const [low, high] = bootstrap(values)
        assert.isAtMost(low, high)
        assert.isAtLeast(low, Math.min(...values))
        assert.isAtMost(high, Math.max(...values))
        assert.deepStrictEqual(bootstrap(values), [low, high])
      }),
      { numRuns: 20 }
    )
  })

  it("is wider for values further apart", () => {
    const width = (values: ReadonlyArray<number>): number => {
      const [low, high] = bootstrap(values)
      return high - low
    }
    const narrow = Array.from({ length: 30 }, (_, index) => 1 + index / 1000)
    assert.isAbove(width(narrow.map((value) => (value - 1) * 10)), width(narrow))
  })
})

describe("a goal", () => {
  it("bounds the ratio or ours itself", () => {
    const table: ReadonlyArray<readonly [Goal, number, number, boolean]> = [
      [{ max: 1.15 }, 1.15, 900, true],
      [{ max: 1.15 }, 1.16, 0, false],
      [{ min: 0.9 }, 0.9, 0, true],
      [{ min: 0.9 }, 0.89, 900, false],
      [{ maxAbsolute: 64 }, 900, 64, true],
      [{ maxAbsolute: 64 }, 0, 65, false],
      [{ minAbsolute: 500 }, 0, 500, true],
      [{ minAbsolute: 500 }, 900, 499, false]
    ]
    for (const [goal, ratio, ours, ok] of table) assert.strictEqual(reached(goal, ratio, ours), ok)
  })

  it("is close only for a ratio near one", () => {
    assert.isTrue([{ max: 1.2 }, { min: 0.95 }].every(canBeClose))
    assert.isFalse([{ max: 1.21 }, { min: 0.9 }, { maxAbsolute: 1 }, { minAbsolute: 1 }].some(canBeClose))
  })

  it("takes 30 rounds when close, else five or more", () => {
    assert.strictEqual(rounds({ noise: "close", rounds: 3 }), 30)
    assert.strictEqual(rounds({ noise: "wide" }), 5)
    assert.strictEqual(rounds({ noise: "wide", rounds: 2 }), 5)
    assert.strictEqual(rounds({ noise: "wide", rounds: 9 }), 9)
  })
})

describe("judge", () => {
  it("takes a close case whose interval is narrow and reaches the goal", () => {
    const close = (goal: Goal, centre: number, spread: number) =>
      judge({ goal, noise: "close" }, around(centre, spread))
    assert.isTrue(close({ max: 1.15 }, 1.1, 0.05).ok)
    assert.isTrue(close({ min: 0.95 }, 1, 0.05).ok)
    assert.isFalse(close({ max: 1.15 }, 1.25, 0.05).ok)
    assert.isFalse(close({ min: 0.95 }, 0.85, 0.05).ok)
  })

  it("refuses a close case that is too noisy to tell, however good its median", () => {
    const verdict = judge({ goal: { max: 1.15 }, noise: "close" }, around(0.8, 1))
    assert.isBelow(verdict.ratio, 1.15)
    assert.isFalse(verdict.ok)
  })

  it("takes the median of a wide case, whatever one bad round says", () => {
    const verdict = judge({ goal: { min: 0.9 }, noise: "wide" }, samples([0.95, 0.1, 0.96, 0.97, 0.94]))
    assert.deepInclude(verdict, { ok: true, ratio: 0.95, ours: 95, reference: 100 })
    assert.isFalse(judge({ goal: { min: 0.9 }, noise: "wide" }, samples([0.8, 0.8, 0.8, 1, 1])).ok)
  })

  it("refuses a case without samples", () => {
    for (const noise of ["close", "wide"] as const) assert.isFalse(judge({ goal: { max: 1.15 }, noise }, []).ok)
  })
})
