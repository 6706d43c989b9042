import type { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { ready as known } from "./support/ask.ts"
import { all, idOf, layerFleet, type Setup, told } from "./support/fleet.ts"

/** A picture of ten seconds; two of them once, so that the pool knows what they take, warm and cold. */
const draw = (seed: number) => Workflows.textToImage({ seed, steps: 20, width: 512, height: 512 })
const servers = () => ({ hardware: { stepMsPerMegapixel: 2_000 } })

const taught = Effect.gen(function*() {
  const pool = yield* known
  for (const seed of [1, 2, 3]) yield* all(yield* pool.submit(draw(seed)))
  return pool
})

const fleet = (n: number, setup: Setup = {}) => Effect.provide(layerFleet(n, { servers, ...setup }))

/** Moves the clock until a server has the next prompt in its queue; the names of the jobs there. */
const untilNext = (pool: Pool["Service"]) =>
  ComfyTest.advanceUntil(
    Effect.map(pool.servers.get, (views) => views.some(({ next }) => next !== null)),
    { step: "100 millis" }
  )

describe("prefetch", () => {
  it.effect("the next prompt of the same models is there before the card is free, and never a third", () =>
    Effect.gen(function*() {
      const pool = yield* taught
      const jobs = yield* Effect.forEach([4, 5, 6, 7], (seed) => pool.submit(draw(seed)))
      for (const job of jobs) {
        const events = yield* all(job)
        const last = events.at(-1)
        assert.isTrue(last?._tag === "JobSucceeded" && last.executions.atMost === 1)
      }
      const { prompts } = yield* (yield* ComfyTest.serverOf("gpu-1")).ledger
      const ours = prompts.slice(3).toSorted((a, b) => a.acceptedAt - b.acceptedAt)
      assert.strictEqual(ours.length, 4)
      for (const [index, { acceptedAt }] of ours.entries()) {
        const open = ours.slice(0, index).filter(({ endedAt }) => (endedAt ?? Infinity) > acceptedAt)
        assert.strictEqual(open.length, index === 0 ? 0 : 1)
      }
      assert.isTrue((yield* jobs[1]?.why ?? Effect.succeed([]))[0]?.why["prefetched"])
    }).pipe(fleet(1)))

  it.effect("can be switched off", () =>
    Effect.gen(function*() {
      const pool = yield* taught
      const jobs = yield* Effect.forEach([4, 5], (seed) => pool.submit(draw(seed)))
      for (const job of jobs) yield* all(job)
      const { prompts } = yield* (yield* ComfyTest.serverOf("gpu-1")).ledger
      const [first, second] = prompts.slice(3)
      assert.isAtLeast(second?.acceptedAt ?? 0, first?.endedAt ?? Infinity)
    }).pipe(fleet(1, { pool: { prefetch: "off" } })))

  it.effect("is taken back for a server that stands idle, and nobody calls that a second execution", () =>
    Effect.gen(function*() {
      const pool = yield* taught
      yield* pool.servers.pause(idOf(2))
      const first = yield* pool.submit(draw(4))
      const second = yield* pool.submit(draw(5))
      yield* untilNext(pool)
      yield* pool.servers.resume(idOf(2))
      const events = yield* all(second)
      assert.deepStrictEqual(told(events), [
        "Queued",
        "Placed gpu-1",
        "Cancelled → another-server",
        "Placed gpu-2",
        "Completed → done",
        "JobSucceeded"
      ])
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "JobSucceeded" && last.executions, { atLeast: 1, atMost: 1 })
      assert.strictEqual(told(yield* all(first)).at(-1), "JobSucceeded")
    }).pipe(fleet(2, { pool: { prefetch: { endsWithin: 9_000 } } })))

  it.effect("a job that only waited when its server died has lost no attempt by it", () =>
    Effect.gen(function*() {
      const pool = yield* taught
      const first = yield* pool.submit(draw(4))
      const second = yield* pool.submit(draw(5))
      yield* untilNext(pool)
      yield* (yield* ComfyTest.serverOf("gpu-1")).restart
      assert.deepStrictEqual(told(yield* all(first)).slice(2), ["Lost → give-up", "JobFailed"])
      assert.deepStrictEqual(told(yield* all(second)).slice(2), [
        "Lost → another-server",
        "Placed gpu-1",
        "Completed → done",
        "JobSucceeded"
      ])
    }).pipe(fleet(1, { pool: { failover: { serverDeaths: 1 } } })))
})
