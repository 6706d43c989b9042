// When jobs are thought to end, and whether that is true: on fake servers of unequal speed, in virtual time.
import type { JobError } from "@effect-comfyui/execution/JobEvent"
import type { JobEta } from "@effect-comfyui/pool/Etas"
import { Pool, type PoolJob } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, layerFleet } from "./support/fleet.ts"

const checkpoints = ["people", "scenery", "posters"].map((name) => `${name}.safetensors`)

/** 0.2 s a step at speed 1, and 2 s to load a checkpoint; each server is half as slow again as the one before. */
const servers = (n: number) => ({
  speed: 0.5 + n / 2,
  hardware: { vramBytes: 24_000_000_000, diskBytesPerSecond: 1_000_000_000, stepMsPerMegapixel: 48_828 },
  models: { checkpoints: checkpoints.map((name) => ({ name, bytes: 2_000_000_000 })) }
})

const draw = Effect.gen(function*() {
  const which = yield* Random.nextIntBetween(0, 2)
  const steps = yield* Random.nextIntBetween(8, 32)
  const seed = yield* Random.nextIntBetween(0, 1e9)
  const tenant = (yield* Random.next) < 0.7 ? "studio" : "shop"
  const checkpoint = checkpoints[which] ?? ""
  return { tenant, workflow: Workflows.textToImage({ checkpoint, steps, width: 64, height: 64, seed }) }
})

const whens = ["submitted", "waiting", "running"] as const

interface Said {
  readonly when: typeof whens[number]
  readonly eta: JobEta
  readonly actualMs: number
}

/** Asks at once, then each 3 s; of each kind of answer one is kept, whichever. */
const follow = (job: PoolJob, index: number): Effect.Effect<ReadonlyArray<Said>, JobError> =>
  Effect.gen(function*() {
    const asked: Array<Omit<Said, "actualMs">> = []
    const ask = (when: Said["when"]) =>
      Effect.map(job.eta, (eta) => {
        if (Option.isSome(eta)) asked.push({ when, eta: eta.value })
      })
    yield* ask("submitted")
    const again = Effect.flatMap(job.status, ({ _tag }) => ask(_tag === "Queued" ? "waiting" : "running"))
    const asking = yield* Effect.forkChild(Effect.forever(Effect.delay(again, "3 seconds")))
    const { at } = yield* job.result
    yield* Fiber.interrupt(asking)
    return whens.flatMap((when) => {
      const of = asked.filter((one) => one.when === when)
      const one = of[index % Math.max(1, of.length)]
      return one === undefined ? [] : [{ ...one, actualMs: at - one.eta.at }]
    })
  })

const jobs = 360

/** What the first ones take is learnt, not judged. */
const learnt = 80

/** Jobs come at random, so that servers are busy most of the time and sometimes behind. */
const traffic = Effect.gen(function*() {
  const pool = yield* Pool
  const fibers: Array<Fiber.Fiber<ReadonlyArray<Said>, JobError>> = []
  for (let index = 0; index < jobs; index++) {
    const { tenant, workflow } = yield* draw
    fibers.push(yield* Effect.forkChild(follow(yield* pool.submit(workflow, { tenant }), index)))
    yield* Effect.sleep(-Math.log(1 - (yield* Random.next)) * 2_200)
  }
  const said = yield* Effect.forEach(fibers, Fiber.join)
  return said.slice(learnt).flat()
})

const shareWithin = (said: ReadonlyArray<Said>, when: Said["when"]) => {
  const of = said.filter((one) => one.when === when)
  const within = of.filter(({ actualMs, eta: { highMs, lowMs } }) => actualMs >= lowMs && actualMs <= highMs)
  return { asked: of.length, share: within.length / of.length }
}

const run = (seed: number) =>
  Effect.gen(function*() {
    yield* TestClock.adjust("2 seconds")
    return yield* ComfyTest.advanceWhile(traffic, { limit: "1 hour" })
  }).pipe(Effect.provide(layerFleet(4, { servers, pool: { profiles: true } })), Random.withSeed(`${seed}`))

describe("when a job is thought to end", () => {
  it.effect("75 to 90 of a hundred end within the interval that says eight of ten", () =>
    Effect.gen(function*() {
      const said = (yield* Effect.forEach([1, 2, 3], run)).flat()
      for (const when of whens) {
        const { asked, share } = shareWithin(said, when)
        assert.isAtLeast(asked, 200, when)
        assert.isAtLeast(share, 0.75, when)
        assert.isAtMost(share, 0.9, when)
      }
      for (const { eta: { expectedMs, highMs, lowMs, waitMs } } of said) {
        assert.isTrue(0 <= lowMs && lowMs <= expectedMs && expectedMs <= highMs && waitMs >= 0)
      }
      // It is worth asking: not the widest interval that would be right, but half as wide again as the time itself.
      const width = said.map(({ actualMs, eta }) => (eta.highMs - eta.lowMs) / Math.max(1_000, actualMs))
      assert.isBelow(width.reduce((sum, one) => sum + one, 0) / width.length, 1.5)
    }), 60_000)

  it.effect("counts what waits before it, and shrinks as the run goes on", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 6; i++) yield* all(yield* pool.submit(Workflows.slow({ seconds: 20 + i / 100 })))
      const ahead = yield* Effect.forEach([1, 2, 3], (i) => pool.submit(Workflows.slow({ seconds: 20 + i / 10 })))
      yield* TestClock.adjust("1 second")
      const urgent = yield* pool.submit(Workflows.slow({ seconds: 20.5 }), { priority: 5 })
      const last = yield* pool.submit(Workflows.slow({ seconds: 20.4 }))
      yield* TestClock.adjust("100 millis")
      const etas = yield* Effect.forEach([...ahead, urgent, last], (job) => Effect.map(job.eta, Option.getOrThrow))
      const seconds = etas.map(({ expectedMs }) => Math.round(expectedMs / 1_000))
      assert.isBelow(seconds[3] ?? 0, seconds[1] ?? 0)
      assert.isAbove(seconds[4] ?? 0, 70)
      assert.isAbove(etas[4]?.waitMs ?? 0, 55_000)
      assert.isBelow(seconds[0] ?? 0, 25)
      yield* TestClock.adjust("10 seconds")
      const [first] = ahead
      if (first === undefined) return assert.fail()
      const later = Option.getOrThrow(yield* first.eta)
      assert.isBelow(later.expectedMs, (etas[0]?.expectedMs ?? 0) - 5_000)
      yield* all(first)
      assert.isTrue(Option.isNone(yield* first.eta))
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))

  it.effect("says nothing where nobody can know: no server, and no profiles", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.kill
      yield* TestClock.adjust("2 minutes")
      const job = yield* pool.submit(Workflows.slow({ seconds: 5 }))
      assert.isTrue(Option.isNone(yield* job.eta))
      yield* server.restart
      yield* all(job)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))
})

it.effect("progress of a whole graph, weighed by what is known, never goes back and ends at 1", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    yield* TestClock.adjust("1 second")
    for (let i = 0; i < 4; i++) {
      const { tenant, workflow } = yield* draw
      const job = yield* pool.submit(workflow, { tenant })
      const seen: Array<number> = []
      const watch = Stream.runForEach(
        job.events(),
        (event) =>
          Effect.map(pool.profiles.progress(job.id), (progress) => {
            if (event._tag === "Attempt" && Option.isSome(progress)) seen.push(progress.value.fraction)
          })
      )
      yield* ComfyTest.advanceWhile(watch, { limit: "1 hour" })
      assert.isAtLeast(seen.length, 10)
      assert.deepStrictEqual(seen, seen.toSorted((a, b) => a - b))
      // Where the sampler is known to take nearly all of the time, half of its steps are nearly half of the way.
      if (i > 0) assert.isTrue(seen.some((fraction) => fraction > 0.3 && fraction < 0.7))
    }
  }).pipe(Effect.provide(layerFleet(1, { servers, pool: { profiles: true } }))))
