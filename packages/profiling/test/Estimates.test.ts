import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const one = BackendId.make("one")
const two = BackendId.make("two")

const finished = (server: BackendId, key: AffinityKey, cold: boolean, ...times: ReadonlyArray<number>) =>
  times.map((executionMs): Estimates.Finished => ({ server, key, cold, executionMs }))

const learn = (runs: ReadonlyArray<Estimates.Finished>, options?: Partial<Estimates.Options>) => {
  const state = Estimates.init(options)
  for (const run of runs) Estimates.step(state, run)
  return state
}

const anyRun: fc.Arbitrary<Estimates.Finished> = fc.record({
  server: fc.constantFrom(one, two),
  key: fc.constantFrom<AffinityKey>("a1:a", "a1:b", "a1:c"),
  cold: fc.boolean(),
  executionMs: fc.double({ min: 0, max: 1e7, noNaN: true })
})

describe("Estimates", () => {
  it("knows nothing but its prior at first", () => {
    const estimate = Estimates.estimate(learn([]), one, "a1:a")
    assert.deepInclude(estimate, { source: "prior", samples: 0, warmMs: 10_000, coldMs: 15_000 })
  })

  it("takes the pair, then the key elsewhere, then all keys", () => {
    const state = learn([...finished(one, "a1:a", false, 100, 100), ...finished(one, "a1:a", true, 400)])
    assert.deepInclude(Estimates.estimate(state, one, "a1:a"), {
      source: "pair",
      warmMs: 100,
      coldMs: 400,
      surchargeMs: 300,
      samples: 3,
      surchargeSamples: 1
    })
    assert.deepInclude(Estimates.estimate(state, two, "a1:a"), { source: "key", warmMs: 100, samples: 3 })
    assert.deepInclude(Estimates.estimate(state, two, "a1:b"), { source: "global", warmMs: 100, samples: 0 })
  })

  it("learns that a server is slow, and expects it of keys that never ran there", () => {
    const state = learn([
      ...Array.from(
        { length: 60 },
        (_, i) => finished(i % 2 === 0 ? one : two, "a1:a", false, i % 2 === 0 ? 100 : 400)
      ),
      finished(one, "a1:b", false, 100, 100, 100)
    ].flat())
    const [fast, slow] = [one, two].map((server) => Estimates.estimate(state, server, "a1:b").warmMs)
    assert.isAbove(slow ?? 0, 1.5 * (fast ?? 0))
  })

  it("does not take the noise of runs of milliseconds for the speed of a card", () => {
    const noise = Array.from({ length: 20 }, (_, i) => finished(two, "a1:c", false, i % 2 === 0 ? 1 : 60)).flat()
    const state = learn([...finished(one, "a1:a", false, 5_000), ...finished(one, "a1:c", false, 5), ...noise])
    assert.strictEqual(Estimates.estimate(state, two, "a1:a").warmMs, 5_000)
  })

  it("ignores times that are none", () => {
    const state = learn(finished(one, "a1:a", false, Number.NaN, Number.POSITIVE_INFINITY, -1))
    assert.strictEqual(Estimates.estimate(state, one, "a1:a").source, "prior")
  })

  it("keeps the caps, and forgets what was used least lately", () => {
    const runs = Array.from({ length: 100 }, (_, i) => finished(one, `a1:${i}`, false, 10)).flat()
    const state = learn(runs, { cap: 8 })
    assert.strictEqual(Estimates.snapshot(state).length, 8)
    assert.strictEqual(Estimates.estimate(state, one, "a1:99").source, "pair")
    assert.strictEqual(Estimates.estimate(state, one, "a1:1").source, "global")
  })

  it("forgets a server, not what its runs say of keys", () => {
    const state = Estimates.forget(learn(finished(one, "a1:a", false, 10, 20)), one)
    assert.deepStrictEqual(Estimates.snapshot(state), [])
    assert.strictEqual(Estimates.estimate(state, one, "a1:a").source, "key")
  })

  it("has the quantiles of the last samples", () => {
    const state = learn(finished(one, "a1:a", false, ...Array.from({ length: 200 }, (_, i) => i)))
    assert.deepStrictEqual(Estimates.quantiles(state, one, "a1:a", false), {
      p50: 168,
      p90: 193,
      p99: 199,
      samples: 200
    })
    assert.isUndefined(Estimates.quantiles(state, one, "a1:a", true))
  })

  it("stays within what was seen, and cold is never below warm", () => {
    fc.assert(fc.property(fc.array(anyRun, { minLength: 1, maxLength: 200 }), (runs) => {
      const state = learn(runs)
      for (const { estimate, key, server } of Estimates.snapshot(state)) {
        const times = runs.filter((run) => run.server === server && run.key === key)
        const largest = Math.max(...times.map(({ executionMs }) => executionMs))
        assert.isAtMost(estimate.warmMs, largest * 1.000_001 + 1e-6)
        assert.isAtLeast(estimate.coldMs, estimate.warmMs)
        assert.strictEqual(estimate.samples, times.length)
      }
    }))
  })
})
