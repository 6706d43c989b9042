import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import { aCourse, eventsOf, hostile, jobOf, repeated } from "./support/arbitrary.ts"
import { addsUp, chain } from "./support/events.ts"
import { profile } from "./support/recorded.ts"

const workflow = chain("1", "2", "3", "4")

const isTime = (ms: number | null) => ms === null || (ms >= 0 && ms < Infinity)

const sound = (told: Profile.Profile): boolean => {
  for (const ms of [told.queueMs, told.executionMs, told.totalMs, told.idleMs]) assert.isTrue(isTime(ms))
  for (const node of told.nodes) {
    assert.isTrue(isTime(node.durationMs) && isTime(node.exclusiveMs) && isTime(node.startMs) && isTime(node.endMs))
    assert.isTrue(node.startMs === null || node.endMs === null || node.endMs >= node.startMs)
    assert.isTrue(node.share >= 0 && node.share <= 1)
    assert.isTrue(node.durationMs === null || node.exclusiveMs <= node.durationMs + 1e-6 * (1 + node.durationMs))
  }
  return isTime(told.criticalPath?.durationMs ?? null)
}

describe("a profile, of any run", () => {
  it("deals out the execution time, no more and no less, at any moment", () => {
    fc.assert(fc.property(aCourse, (course) => {
      const state = Profile.init(workflow)
      for (const event of eventsOf(course)) {
        Profile.step(state, event)
        const told = Profile.snapshot(state)
        addsUp(told)
        assert.isTrue(sound(told))
      }
    }))
  })

  it("is the same of all events at once, of one at a time, and with some of them again", () => {
    fc.assert(
      fc.property(aCourse.chain((course) => fc.tuple(fc.constant(eventsOf(course)), repeated(eventsOf(course)))), (
        [events, again]
      ) => {
        const once = profile(events, workflow)
        assert.deepStrictEqual(profile(again, workflow), once)
        assert.deepStrictEqual(profile([...events, ...events], workflow), once)
        const read = Profile.init(workflow)
        for (const event of events) Profile.snapshot(Profile.step(read, event))
        assert.deepStrictEqual(Profile.snapshot(read), once)
      })
    )
  })

  it("is the same whatever batches its events come in", () => {
    fc.assert(fc.property(aCourse, fc.integer({ min: 1, max: 20 }), (course, size) => {
      const events = eventsOf(course)
      const source = Stream.rechunk(Stream.fromIterable(events), size)
      assert.deepStrictEqual(Effect.runSync(Stream.run(source, Profile.sink(workflow))), profile(events, workflow))
    }))
  })

  it("takes nothing but two readings from the wall clock", () => {
    fc.assert(fc.property(aCourse, fc.array(fc.double({ min: -1e12, max: 1e12, noNaN: true }), { minLength: 1 }), (
      course,
      jumps
    ) => {
      let i = 0
      const jumping = eventsOf(course, () => jumps[i++ % jumps.length] ?? 0)
      const clocks = { startedAtMs: 0, clockOffsetMs: 0 }
      assert.deepStrictEqual(
        { ...profile(jumping, workflow), ...clocks },
        { ...profile(eventsOf(course), workflow), ...clocks }
      )
    }))
  })

  it("stays sound whatever a server or a clock says", () => {
    fc.assert(fc.property(hostile, (events) => {
      const told = profile(events, workflow)
      assert.isTrue(sound(told))
      addsUp(told)
    }))
  })
})

const runs = fc.array(fc.record({ course: aCourse, waitMs: fc.integer({ min: 0, max: 1e6 }) }), { maxLength: 4 })

const jobProfile = (events: ReturnType<typeof jobOf>) =>
  JobProfile.snapshot(events.reduce((state, event) => JobProfile.step(state, event), JobProfile.init(workflow)))

describe("a job's profile, of any job", () => {
  it("has its time in waits and attempts, and no other", () => {
    fc.assert(fc.property(runs, (runs) => {
      const told = jobProfile(jobOf(runs))
      const within = told.attempts.reduce((sum, { endMs, placedMs }) => sum + (endMs ?? 0) - placedMs, 0)
      const parts = (told.queueMs ?? 0) + told.retryWaitMs + within
      assert.isAtMost(Math.abs(parts - told.totalMs), 1e-6 * (1 + told.totalMs))
      assert.strictEqual(told.queueMs, runs[0]?.waitMs ?? 0)
      for (const attempt of told.attempts) {
        assert.isTrue(sound(attempt.run))
        addsUp(attempt.run)
      }
    }))
  })

  it("is the same with some of its events again", () => {
    fc.assert(
      fc.property(
        runs.chain((runs) => fc.tuple(fc.constant(jobOf(runs)), repeated(jobOf(runs)))),
        ([events, again]) => {
          assert.deepStrictEqual(jobProfile(again), jobProfile(events))
        }
      )
    )
  })

  it("has no time below nothing, whatever the wall clock does", () => {
    fc.assert(fc.property(runs, fc.array(fc.double({ min: -1e12, max: 1e12, noNaN: true }), { minLength: 1 }), (
      runs,
      jumps
    ) => {
      let i = 0
      const told = jobProfile(jobOf(runs, () => jumps[i++ % jumps.length] ?? 0))
      for (const ms of [told.queueMs, told.retryWaitMs, told.transferMs, told.totalMs]) assert.isTrue(isTime(ms))
      for (const { endMs, placedMs, run, startMs, waitMs } of told.attempts) {
        for (const ms of [endMs, placedMs, startMs, waitMs]) assert.isTrue(isTime(ms))
        assert.isTrue(sound(run))
      }
    }))
  })
})

const observation = fc.record({
  profile: aCourse.map((course) => profile(eventsOf(course), workflow)),
  workflow: fc.constantFrom(...Array.from({ length: 12 }, (_, i) => `a1:${i}`)),
  tenant: fc.option(fc.constantFrom("a", "b", "c", "d", "e"))
})
const some = fc.array(observation, { maxLength: 8 })

const setOf = (observations: ReadonlyArray<ProfileSet.Observation>, cap: number) =>
  observations.reduce((set, one) => ProfileSet.step(set, one), ProfileSet.init(cap))

const plain = ProfileSet.snapshot

describe("a set of profiles, under its cap and at it", () => {
  const cap = fc.constantFrom(0, 1, 3, 10_000)

  it("merges in any grouping and order into what one would have seen alone", () => {
    fc.assert(
      fc.property(some, some, some, cap, (a, b, c, cap) => {
        const [x, y, z] = [setOf(a, cap), setOf(b, cap), setOf(c, cap)]
        const all = setOf([...a, ...b, ...c], cap)
        assert.deepStrictEqual(plain(ProfileSet.merge(ProfileSet.merge(x, y), z)), plain(all))
        assert.deepStrictEqual(plain(ProfileSet.merge(x, ProfileSet.merge(y, z))), plain(all))
        assert.deepStrictEqual(plain(ProfileSet.merge(z, ProfileSet.merge(y, x))), plain(all))
        assert.deepStrictEqual(plain(ProfileSet.merge(x, ProfileSet.init(cap))), plain(x))
        assert.deepStrictEqual(plain(ProfileSet.merge(ProfileSet.init(), x)), plain(x))
      }),
      { numRuns: 40 }
    )
  })

  it("merges sets of different caps in any grouping", () => {
    fc.assert(
      fc.property(some, some, some, cap, cap, cap, (a, b, c, k, l, m) => {
        const [x, y, z] = [setOf(a, k), setOf(b, l), setOf(c, m)]
        const all = setOf([...a, ...b, ...c], Math.min(k, l, m))
        assert.deepStrictEqual(plain(ProfileSet.merge(ProfileSet.merge(x, y), z)), plain(all))
        assert.deepStrictEqual(plain(ProfileSet.merge(x, ProfileSet.merge(y, z))), plain(all))
      }),
      { numRuns: 40 }
    )
  })

  it("counts everything once, in a row or in the other one", () => {
    fc.assert(
      fc.property(some, cap, (observations, cap) => {
        const over = observations.filter(({ profile }) => profile.state !== "running").length
        const { other, rows } = ProfileSet.rows(setOf(observations, cap), "workflows")
        assert.isAtMost(rows.size, cap)
        assert.strictEqual([...rows.values()].reduce((sum, { observed }) => sum + observed, other.observed), over)
      }),
      { numRuns: 40 }
    )
  })
})
