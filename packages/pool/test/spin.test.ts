// What made the scheduler look again and again, or a job wait where it need not.
import * as CostAware from "@effect-comfyui/pool/CostAware"
import { Router } from "@effect-comfyui/pool/Router"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { ready as known } from "./support/ask.ts"
import { all, idOf, layerFleet, type Setup, told } from "./support/fleet.ts"

/** The default policy, and how often it was asked. */
const counted = () => {
  const policy = CostAware.make()
  const looks = { count: 0 }
  const router = Layer.succeed(Router, {
    ...policy,
    decide: (view) => {
      looks.count++
      return policy.decide(view)
    }
  })
  return { looks, router }
}

const models = [
  { name: "a.safetensors", bytes: 20_000_000_000 },
  { name: "b.safetensors", bytes: 20_000_000_000 }
]
const slowDisk: Setup["servers"] = () => ({
  models: { checkpoints: models },
  hardware: { diskBytesPerSecond: 1_000_000_000, stepMsPerMegapixel: 1_000 }
})

/** One card does the work until what it takes is known, warm and cold; then a run of it that takes a hundred times as long. */
const overdue = Effect.gen(function*() {
  const pool = yield* known
  yield* pool.servers.pause(idOf(2))
  let seed = 0
  const draw = (model: string, steps = 10) =>
    pool.submit(Workflows.textToImage({ checkpoint: `${model}.safetensors`, steps, seed: ++seed }))
  for (let round = 0; round < 6; round++) {
    for (const model of ["b", "b", "a", "a"]) yield* all(yield* draw(model))
  }
  const long = yield* draw("a", 4_000)
  yield* TestClock.adjust("20 seconds")
  return { pool, draw, long }
})

describe("the scheduler", () => {
  it.effect("does not look a thousand times a second while a warm card is overdue", () => {
    const { looks, router } = counted()
    return Effect.gen(function*() {
      const { draw, pool } = yield* overdue
      yield* pool.servers.resume(idOf(2))
      const before = looks.count
      const short = yield* draw("a")
      yield* all(short)
      assert.isBelow(looks.count - before, 200)
    }).pipe(Effect.provide(layerFleet(2, { servers: slowDisk, router, pool: { prefetch: "off" } })))
  })

  it.effect("takes back what waits behind an overdue run, once", () =>
    Effect.gen(function*() {
      const { draw, pool } = yield* overdue
      const short = yield* draw("a")
      yield* TestClock.adjust("5 seconds")
      yield* pool.servers.resume(idOf(2))
      const words = told(yield* all(short))
      assert.strictEqual(words.at(-1), "JobSucceeded")
      assert.include(words, "Placed gpu-2")
      assert.isBelow(words.filter((word) => word.startsWith("Cancelled")).length, 3)
    }).pipe(Effect.provide(layerFleet(2, { servers: slowDisk }))))

  it.effect("waits for the end of a run, not for a retry that nobody could take", () => {
    const { looks, router } = counted()
    return Effect.gen(function*() {
      const pool = yield* known
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.badGateway), { times: 1 }))
      const delayed = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("300 millis")
      yield* pool.submit(Workflows.slow({ seconds: 600 }))
      yield* TestClock.adjust("10 seconds")
      const before = looks.count
      yield* TestClock.adjust("10 seconds")
      assert.isBelow(looks.count - before, 10)
      assert.strictEqual(told(yield* all(delayed)).at(-1), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(1, { router })))
  })
})

describe("a job", () => {
  it.effect("that prefers a server on which it failed goes elsewhere", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.dropRequest))
      const job = yield* pool.submit(Workflows.picture(), { prefer: [idOf(1)] })
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("does not wait for a server that asks to be left alone while another is idle", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.tooManyRequests(30))))
      const jobs = yield* Effect.forEach([1, 2, 3, 4], (color) => pool.submit(Workflows.picture({ color })))
      yield* TestClock.adjust("10 seconds")
      for (const { status } of jobs) assert.strictEqual((yield* status)._tag, "Ended")
      const asked = (yield* server.requests).filter(({ method, target }) => method === "POST" && target === "/prompt")
      assert.strictEqual(asked.length, 1)
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("runs on while its socket is deaf", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const job = yield* pool.submit(Workflows.counting({ steps: 60, stepMs: 16_000 }))
      yield* TestClock.adjust("5 minutes")
      yield* (yield* ComfyTest.serverOf("gpu-1")).deafenSockets()
      const events = yield* all(job)
      const last = events.at(-1)
      assert.deepStrictEqual(last?._tag === "JobSucceeded" && last.executions, { atLeast: 1, atMost: 1 })
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("comes back to a server that asked for a year, after minutes or its restart", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const server = yield* ComfyTest.serverOf("gpu-1")
      const year = Fault.respond(Fault.tooManyRequests(31_536_000))
      const asked = yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), year))
      const job = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* job.status)._tag, "Queued")
      yield* asked.heal
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(1))))
})
