import * as RetryBudget from "@effect-comfyui/pool/RetryBudget"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const minute = 60_000

describe("RetryBudget", () => {
  it("is five, and a tenth of the jobs of the last ten minutes", () => {
    const state = RetryBudget.init()
    assert.strictEqual(RetryBudget.left(state, 0), 5)
    for (let i = 0; i < 100; i++) RetryBudget.job(state, i)
    assert.strictEqual(RetryBudget.left(state, minute), 15)
    assert.strictEqual(RetryBudget.left(state, 11 * minute), 5)
  })

  it("says how long to wait, and is right", () => {
    const state = RetryBudget.init()
    for (let i = 0; i < 5; i++) assert.strictEqual(RetryBudget.spend(state, minute), 0)
    const wait = RetryBudget.spend(state, 2 * minute)
    assert.isAbove(wait, 8 * minute)
    assert.strictEqual(RetryBudget.spend(state, 2 * minute + wait), 0)
  })

  it("never lets more through in a window than its share", () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(2 * minute)), { maxLength: 300 }), (steps) => {
      const state = RetryBudget.init()
      const spent: Array<number> = []
      const jobs: Array<number> = []
      let now = 0
      for (const [isJob, pause] of steps) {
        now += pause
        if (isJob) {
          RetryBudget.job(state, now)
          jobs.push(now)
        } else if (RetryBudget.spend(state, now) === 0) spent.push(now)
        const inside = (times: ReadonlyArray<number>, window: number) => times.filter((at) => at > now - window).length
        assert.isAtMost(inside(spent, 9.8 * minute), 5 + inside(jobs, 20 * minute) / 10)
      }
    }))
  })
})
