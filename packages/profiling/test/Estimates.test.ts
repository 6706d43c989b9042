import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
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

  it("is the same after its process has ended: as JSON and back", () => {
    fc.assert(fc.property(fc.array(anyRun, { maxLength: 300 }), fc.array(anyRun, { maxLength: 80 }), (runs, more) => {
      const state = learn(runs)
      const again = Result.getOrThrow(Estimates.fromJson(Estimates.toJson(state)))
      // What comes later is learnt in the same way.
      for (const run of more) {
        Estimates.step(state, run)
        Estimates.step(again, run)
      }
      for (const { estimate, key, server } of Estimates.snapshot(state)) {
        const found = Estimates.estimate(again, server, key)
        assert.closeTo(found.warmMs, estimate.warmMs, 0.01 + estimate.warmMs * 1e-6)
        assert.closeTo(found.coldMs, estimate.coldMs, 0.02 + estimate.coldMs * 1e-6)
        assert.deepStrictEqual([found.samples, found.source], [estimate.samples, estimate.source])
        for (const cold of [true, false]) {
          const [a, b] = [state, again].map((one) => Estimates.quantiles(one, server, key, cold)?.p50 ?? 0)
          // Quantiles are at most a sixteenth of the samples behind, and not always at the same time.
          if ((a ?? 0) > 1 && more.length === 0) assert.closeTo(b ?? 0, a ?? 0, (a ?? 0) * 1e-3)
        }
      }
      assert.deepStrictEqual(
        Estimates.snapshot(again).map(({ key, server }) => `${server} ${key}`),
        Estimates.snapshot(state).map(({ key, server }) => `${server} ${key}`)
      )
    }))
  })

  it("keeps its caps when it is read, and refuses what is no such document", () => {
    const runs = Array.from({ length: 100 }, (_, i) => finished(one, `a1:${i}`, false, 10)).flat()
    const small = Result.getOrThrow(Estimates.fromJson(Estimates.toJson(learn(runs)), { cap: 8 }))
    assert.deepStrictEqual([small.pairs.order.size, small.keys.size], [8, 8])
    assert.strictEqual(Estimates.estimate(small, one, "a1:99").source, "pair")
    const text = Estimates.toJson(learn(runs))
    const broken = [
      "",
      "null",
      text.slice(0, -20),
      text.replace("\"version\":1", "\"version\":2"),
      text.replaceAll("\"count\":1", "\"count\":-1"),
      text.replaceAll("\"count\":1", "\"count\":\"many\"")
    ]
    for (const bad of broken) assert.isTrue(Result.isFailure(Estimates.fromJson(bad)))
  })

  it("takes a count that no samples bear out for theirs", () => {
    const text = Estimates.toJson(learn(finished(one, "a1:a", false, 10, 20))).replaceAll(
      "\"count\":2",
      "\"count\":900"
    )
    const state = Result.getOrThrow(Estimates.fromJson(text))
    assert.strictEqual(Estimates.estimate(state, one, "a1:a").samples, 2)
    Estimates.step(state, { server: one, key: "a1:a", cold: false, executionMs: 30 })
    assert.deepInclude(Estimates.quantiles(state, one, "a1:a", false), { p50: 20, p99: 30, samples: 3 })
  })
})
