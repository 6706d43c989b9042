// What is done to a pool that nobody should do.
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, layerFleet, told } from "./support/fleet.ts"
import { withSteps } from "./support/wall.ts"

const lastOf = (events: ReadonlyArray<JobEvent>) => told(events).at(-1)

describe("a pool survives", () => {
  it.effect("subscribers that throw, and those that never read (M07)", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const throwing = yield* Effect.forkChild(
        Effect.exit(Stream.runForEach(pool.events, () => Effect.die(new Error("a subscriber's own fault")))),
        { startImmediately: true }
      )
      yield* Effect.forkChild(Stream.runForEach(pool.events, () => Effect.never), { startImmediately: true })
      const job = yield* pool.submit(Workflows.counting({ steps: 2_000, stepMs: 10 }))
      yield* Effect.forkChild(Stream.runForEach(job.events(), () => Effect.never), { startImmediately: true })
      yield* Effect.forkChild(Stream.runForEach(job.events(), () => Effect.die("no")), { startImmediately: true })
      assert.strictEqual(lastOf(yield* all(job)), "JobSucceeded")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(throwing)))
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.picture()))), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("steps of the wall clock in the middle of a run, of a lease and of a delay", () =>
    withSteps((step) =>
      Effect.gen(function*() {
        const pool = yield* Pool
        const server = yield* ComfyTest.serverOf("gpu-1")
        const job = yield* pool.submit(Workflows.slow({ seconds: 600 }), { deadline: "1 hour" })
        yield* TestClock.adjust("10 seconds")
        for (const hours of [5, -9, 3]) {
          step(hours * 3_600_000)
          yield* TestClock.adjust("1 minute")
        }
        assert.strictEqual((yield* job.status)._tag, "Running")
        const events = yield* all(job)
        const last = events.at(-1)
        assert.deepStrictEqual(last?._tag === "JobSucceeded" && last.executions, { atLeast: 1, atMost: 1 })
        assert.strictEqual((yield* server.ledger).prompts.length, 1)
        // A retry waits as long as it would have without a step.
        yield* server.inject(
          Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.badGateway), { forMs: 20_000 })
        )
        const delayed = yield* pool.submit(Workflows.picture())
        yield* TestClock.adjust("5 seconds")
        step(-5 * 3_600_000)
        assert.strictEqual(
          lastOf(yield* ComfyTest.advanceWhile(Stream.runCollect(delayed.events()), { limit: "5 minutes" })),
          "JobSucceeded"
        )
      }).pipe(Effect.provide(layerFleet(1)))
    ))

  it.effect("a server that is another one behind the same address", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.textToImage()))), "JobSucceeded")
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.kill
      yield* server.inject(Fault.on(Fault.path("/object_info"), Fault.editAnswer(onlyPictures)))
      yield* server.restart
      yield* TestClock.adjust("1 minute")
      const last = (yield* all(yield* pool.submit(Workflows.textToImage({ seed: 2 })))).at(-1)
      assert.strictEqual(last?._tag === "JobFailed" && last.error.reason._tag, "NoEligibleServer")
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.picture()))), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(1))))

  const onlyPictures = (response: Required<Fault.RawResponse>): Fault.RawResponse => {
    const info: Record<string, unknown> = JSON.parse(Buffer.from(response.body).toString())
    const { EmptyImage, SaveImage } = info
    return { ...response, body: new TextEncoder().encode(JSON.stringify({ EmptyImage, SaveImage })) }
  }

  it.effect("ids that are used twice: the same content is the same job, other content is a conflict (W16)", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const first = yield* pool.submit(Workflows.picture(), { idempotencyKey: "a" })
      const options = { id: first.id }
      assert.strictEqual((yield* pool.submit(Workflows.picture(), options)).id, first.id)
      assert.strictEqual(
        (yield* Effect.flip(pool.submit(Workflows.failing, options))).reason._tag,
        "IdempotencyConflict"
      )
      yield* all(first)
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.picture(), options))), "JobSucceeded")
      assert.strictEqual((yield* (yield* ComfyTest.serverOf("gpu-1")).ledger).prompts.length, 1)
      assert.isTrue(yield* pool.forget(first.id))
      assert.isFalse(yield* pool.forget(first.id))
      assert.strictEqual((yield* Effect.flip(pool.get(first.id))).reason._tag, "InvalidOptions")
    }).pipe(Effect.provide(layerFleet(1))))
})
