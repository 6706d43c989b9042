import { BackendId } from "@effect-comfyui/execution/Ids"
import * as ColdSurcharge from "@effect-comfyui/profiling/ColdSurcharge"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import * as Sketch from "@effect-comfyui/profiling/Sketch"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { chain, near, nodeFailed, script } from "./support/events.ts"
import { profile } from "./support/recorded.ts"

const workflow = chain("1", "2")

/** 1 takes `first`, 2 the rest. */
const run = (first: number, all: number) => {
  const s = script()
  return profile([
    s.submitted(0),
    s.started(5),
    s.start(5, "1"),
    s.finish(5 + first, "1"),
    s.start(5 + first, "2"),
    s.finish(5 + all, "2"),
    s.completed(5 + all)
  ], workflow)
}

const failedRun = () => {
  const s = script()
  return profile([s.started(0), s.cached(0, "1"), s.start(0, "2"), s.failed(10, nodeFailed("2"))], workflow)
}

const labels = { workflow: "a1:x", tenant: "shop" }

describe("ProfileSet", () => {
  it("counts runs and their nodes under every name they have", () => {
    const set = ProfileSet.init()
    for (const [first, all] of [[10, 40], [20, 60]] as const) {
      ProfileSet.step(set, { profile: run(first, all), ...labels })
    }
    ProfileSet.step(set, { profile: failedRun(), ...labels, tenant: null })
    const whole = ProfileSet.get(set, "workflows", "a1:x") ?? assert.fail("no row")
    assert.deepStrictEqual([whole.observed, whole.timed, whole.meanMs], [3, 2, 50])
    near(whole.failureRate, 1 / 3)
    // One of six nodes.
    near(whole.cacheRate, 1 / 6)
    assert.deepStrictEqual(ProfileSet.get(set, "servers", "gpu-1"), whole)
    assert.strictEqual(ProfileSet.get(set, "tenants", "shop")?.observed, 2)
    const first = ProfileSet.get(set, "nodes", "a1:x 1") ?? assert.fail("no row")
    assert.deepStrictEqual([first.observed, first.timed, first.meanMs, first.failureRate], [3, 2, 15, 0])
    near(first.cacheRate, 1 / 3)
    const second = ProfileSet.get(set, "nodes", "a1:x 2") ?? assert.fail("no row")
    assert.deepStrictEqual([second.timed, second.meanMs], [2, 35])
    near(second.failureRate, 1 / 3)
    assert.strictEqual(ProfileSet.get(set, "classes", "KSampler")?.observed, 5)
    assert.strictEqual(ProfileSet.get(set, "classes", "nobody"), undefined)
  })

  it("leaves out runs that go on, skipped nodes and times that were not seen", () => {
    const s = script()
    const going = profile([s.started(0), s.start(0, "1")], workflow)
    const set = ProfileSet.step(ProfileSet.init(), { profile: going, ...labels })
    assert.strictEqual(ProfileSet.rows(set, "workflows").rows.size, 0)
    const t = script()
    const missed = [t.started(0), t.start(0, "1"), t.gap(10, "socket"), t.completed(90, "http")]
    ProfileSet.step(set, { profile: profile(missed, workflow), ...labels })
    assert.strictEqual(ProfileSet.get(set, "workflows", "a1:x")?.timed, 0)
    assert.strictEqual(ProfileSet.get(set, "nodes", "a1:x 1")?.timed, 0)
    assert.strictEqual(ProfileSet.get(set, "nodes", "a1:x 2"), undefined)
  })

  it("survives JSON", () => {
    const set = ProfileSet.init(3)
    for (let i = 0; i < 20; i++) {
      ProfileSet.step(set, {
        profile: i % 4 === 0 ? failedRun() : run(i, 2 * i),
        workflow: `a1:${i}`,
        tenant: `t${i % 5}`
      })
    }
    const read = Result.getOrThrow(ProfileSet.fromJson(ProfileSet.toJson(set)))
    assert.deepStrictEqual(ProfileSet.snapshot(read), ProfileSet.snapshot(set))
    assert.strictEqual(ProfileSet.rows(read, "workflows").rows.size, 3)
    assert.strictEqual(ProfileSet.rows(read, "workflows").other.observed, 17)
  })

  it("reads sums that need all 53 bits", () => {
    const set = ProfileSet.step(ProfileSet.init(), { profile: run(1, 2), ...labels })
    const text = ProfileSet.toJson(set).replaceAll(/"sumUs":\d+/g, `"sumUs":${Number.MAX_SAFE_INTEGER}`)
    assert.strictEqual(ProfileSet.toJson(Result.getOrThrow(ProfileSet.fromJson(text))), text)
  })

  it("refuses other versions and what contradicts itself, by a typed error", () => {
    const reason = (text: string) => {
      const read = ProfileSet.fromJson(text)
      return Result.isFailure(read) ? read.failure.reason : assert.fail("it was read")
    }
    const good = JSON.parse(ProfileSet.toJson(ProfileSet.step(ProfileSet.init(), { profile: run(1, 2), ...labels })))
    assert.deepStrictEqual(reason(JSON.stringify({ ...good, version: 2 })), {
      _tag: "UnsupportedVersion",
      found: 2,
      supported: 1
    })
    assert.strictEqual(reason("{\"jobs\":[]}")._tag, "UnsupportedVersion")
    for (const text of ["", "nonsense", "[]", "null", JSON.stringify({ ...good, nodes: 5 })]) {
      assert.strictEqual(reason(text)._tag, "InvalidDocument", text)
    }
    for (
      const [from, to] of [
        [/"count":1/, "\"count\":2"],
        [/"observed":1/, "\"observed\":-1"],
        [/"buckets":\[\[\d+,1\]\]/, "\"buckets\":[[99999,1]]"]
      ] as const
    ) {
      const text = JSON.stringify(good)
      assert.notStrictEqual(text.replace(from, to), text)
      assert.strictEqual(reason(text.replace(from, to))._tag, "InvalidDocument")
    }
  })
})

describe("Sketch", () => {
  const durations = fc.array(fc.double({ min: 0.002, max: 2e9, noNaN: true }), { minLength: 1, maxLength: 300 })

  it("is right within 2 %, in bounded memory", () => {
    fc.assert(fc.property(durations, fc.constantFrom(0, 0.5, 0.9, 0.99, 1), (all, q) => {
      const sketch = Sketch.init()
      for (const ms of all) Sketch.add(sketch, ms)
      // The least of them that so many do not exceed.
      const exact = all.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(q * all.length)) - 1] ?? 0
      const told = Sketch.quantileMs(sketch, q) ?? assert.fail("no quantile")
      assert.isAtMost(Math.abs(told - exact), (Sketch.relativeError + 1e-9) * exact)
    }))
    const sketch = Sketch.init()
    for (let exponent = -400; exponent < 400; exponent++) Sketch.add(sketch, 1.07 ** exponent)
    for (const ms of [Number.NaN, -1, Infinity]) Sketch.add(sketch, ms)
    assert.isAtMost(sketch.buckets.size, Sketch.maxBuckets)
    assert.strictEqual(sketch.count, 800)
    assert.strictEqual(Sketch.maxBuckets, 716)
  })

  it("has nothing to say of nothing", () => {
    assert.deepStrictEqual([Sketch.meanMs(Sketch.init()), Sketch.quantileMs(Sketch.init(), 0.5)], [null, null])
  })

  it("merges exactly", () => {
    fc.assert(fc.property(durations, durations, (a, b) => {
      const of = (all: ReadonlyArray<number>) => {
        const sketch = Sketch.init()
        for (const ms of all) Sketch.add(sketch, ms)
        return sketch
      }
      const merged = of(a)
      Sketch.merge(merged, of(b))
      assert.deepStrictEqual(Sketch.toStored(merged), Sketch.toStored(of([...b, ...a])))
    }))
  })
})

describe("the cold surcharge", () => {
  const server = BackendId.make("gpu-1")

  it("is what cold runs of the same key took more than warm ones, and null while that is a guess", () => {
    const estimates = Estimates.init()
    assert.isNull(ColdSurcharge.estimate(estimates, server, "a1:x"))
    Estimates.step(estimates, { server, key: "a1:x", cold: true, executionMs: 9_000 })
    Estimates.step(estimates, { server, key: "a1:y", cold: false, executionMs: 1_000 })
    assert.isNull(ColdSurcharge.estimate(estimates, server, "a1:x"))
    Estimates.step(estimates, { server, key: "a1:x", cold: false, executionMs: 5_000 })
    assert.deepStrictEqual(ColdSurcharge.estimate(estimates, server, "a1:x"), { value: 4_000, samples: 1 })
    const told = run(1, 2)
    assert.isNull(told.coldSurchargeMs)
    assert.deepStrictEqual(Profile.withColdSurcharge(told, estimates, "a1:x"), {
      ...told,
      coldSurchargeMs: { value: 4_000, samples: 1 }
    })
    assert.isNull(Profile.withColdSurcharge(profile([]), estimates, "a1:x").coldSurchargeMs)
  })
})
