import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet, ready, told } from "./support/fleet.ts"

const prompts = (n: number) =>
  Effect.flatMap(
    ComfyTest.serverOf(ComfyTest.nameOf(n)),
    (server) => Effect.map(server.ledger, (ledger) => ledger.prompts.map(({ outcome }) => outcome))
  )

describe("a pool", () => {
  it.effect("runs a job on an idle server, and tells all of it", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture(), { metadata: { order: 7 } })
      const events = yield* all(job)
      const words = told(events)
      assert.deepStrictEqual([words[0], words.at(-1)], ["Queued", "JobSucceeded"])
      assert.match(words[1] ?? "", /^Placed gpu-/)
      // Typed as it was given.
      const order: number | undefined = job.metadata?.order
      assert.strictEqual(order, 7)
      assert.deepStrictEqual((yield* pool.get(job.id)).metadata, { order: 7 })
      assert.strictEqual((yield* job.result)._tag, "JobSucceeded")
      // A late subscriber gets the same lifecycle events.
      assert.deepStrictEqual(told(yield* all(job)), words)
      const [attempt] = yield* job.why
      assert.strictEqual(attempt?.endedAs, "Completed")
      assert.strictEqual(attempt?.why["policy"], "cost-aware")
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("keeps every server busy with one prompt at a time, and loses nothing", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const jobs = yield* Effect.forEach(
        Array.from({ length: 30 }, (_, i) => i),
        (i) => pool.submit(Workflows.counting({ steps: 5 + (i % 3), stepMs: 1_000 }))
      )
      const busiest = yield* Effect.forkChild(
        Effect.gen(function*() {
          let most = 0
          for (;;) {
            for (const { jobs } of yield* pool.servers.get) most = Math.max(most, jobs.length)
            if (most > 1) return most
            yield* Effect.sleep("500 millis")
          }
        })
      )
      for (const job of jobs) assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      assert.isUndefined(busiest.pollUnsafe())
      yield* Fiber.interrupt(busiest)
      const counts = yield* Effect.forEach([1, 2, 3], prompts)
      assert.strictEqual(counts.flat().length, 30)
      for (const count of counts) assert.isAtLeast(count.length, 8)
    }).pipe(Effect.provide(layerFleet(3))))

  it.effect("a server that dies under a job: the job runs on another one, and says so (P05)", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.slow({ seconds: 60 }))
      yield* ComfyTest.advanceUntil(
        Effect.map(job.status, (status) => status._tag === "Running")
      )
      yield* TestClock.adjust("5 seconds")
      const [attempt] = yield* job.why
      const first = attempt?.server ?? ""
      yield* (yield* ComfyTest.serverOf(first)).restart
      const events = yield* all(job)
      const other = first === "gpu-1" ? "gpu-2" : "gpu-1"
      assert.deepStrictEqual(told(events), [
        "Queued",
        `Placed ${first}`,
        "Lost → another-server",
        `Placed ${other}`,
        "Completed → done",
        "JobSucceeded"
      ])
      const last = events.at(-1)
      assert.isTrue(last?._tag === "JobSucceeded" && last.executions.atMost === 2)
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("a workflow that fails by itself is not tried again, and blocks nobody", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.failing)
      assert.deepStrictEqual(told(yield* all(job)).slice(2), ["NodeFailed → give-up", "JobFailed"])
      const other = yield* pool.submit(Workflows.picture())
      assert.strictEqual(told(yield* all(other)).at(-1), "JobSucceeded")
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], prompts)).flat().toSorted(), ["error", "success"])
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("a poisoned card gets nothing more; its jobs go elsewhere", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const bad = yield* ComfyTest.serverOf("gpu-1")
      yield* bad.inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
      const jobs = yield* Effect.forEach(
        Array.from({ length: 12 }, (_, i) => i),
        (i) => pool.submit(Workflows.counting({ steps: 3 + i, stepMs: 100 }))
      )
      for (const job of jobs) assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      assert.deepStrictEqual((yield* prompts(1)).filter((outcome) => outcome === "error").length, 1)
      const { blocked } = yield* pool.snapshot
      assert.deepStrictEqual(blocked.map(({ server }) => server), [idOf(1)])
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("a job that waits is cancelled at once; one that runs ends with its run, and nobody else's (M04)", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const running = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      yield* ComfyTest.advanceUntil(Effect.map(running.status, (status) => status._tag === "Running"))
      const waiting = yield* pool.submit(Workflows.slow({ seconds: 601 }))
      yield* TestClock.adjust("2 seconds")
      yield* waiting.cancel
      assert.deepStrictEqual(told(yield* all(waiting)), ["Queued", "JobCancelled"])
      yield* running.cancel
      assert.deepStrictEqual(told(yield* all(running)).slice(2), ["Cancelled → give-up", "JobCancelled"])
      assert.deepStrictEqual(yield* prompts(1), ["interrupted"])
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("an empty fleet holds its jobs until a server comes, or their deadline (M05)", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const patient = yield* pool.submit(Workflows.picture())
      const hasty = yield* pool.submit(Workflows.picture({ color: 2 }), { deadline: "1 minute" })
      const ended = yield* all(hasty)
      assert.deepStrictEqual(told(ended), ["Queued", "JobFailed"])
      assert.strictEqual((yield* patient.status)._tag, "Queued")
      assert.isTrue(yield* pool.servers.add(yield* ready(1)))
      assert.strictEqual(told(yield* all(patient)).at(-1), "JobSucceeded")
    }).pipe(Effect.provide(layerFleet(1, { members: 0 }))))

  it.effect("a job that no server can run says so, server by server", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("5 seconds")
      const job = yield* pool.submit(Workflows.rejected)
      const last = (yield* all(job)).at(-1)
      if (last?._tag !== "JobFailed") return assert.fail(`ended as ${last?._tag}`)
      assert.strictEqual(last.error.reason._tag, "NoEligibleServer")
      assert.deepStrictEqual(yield* Effect.forEach([1, 2], prompts), [[], []])
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("tags and exclusions are kept", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      for (let i = 0; i < 4; i++) {
        yield* all(yield* pool.submit(Workflows.picture({ color: i }), { requires: { tags: ["big"] } }))
        yield* all(yield* pool.submit(Workflows.picture({ color: 10 + i }), { exclude: [idOf(2)] }))
      }
      assert.strictEqual((yield* prompts(1)).length, 4)
      assert.strictEqual((yield* prompts(2)).length, 4)
    }).pipe(Effect.provide(layerFleet(2, { specs: (n) => n === 2 ? { tags: ["big"] } : {} }))))

  it.effect("the same idempotency key with the same content is the same job, with other content a conflict", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const first = yield* pool.submit(Workflows.picture(), { idempotencyKey: "order 7" })
      const again = yield* pool.submit(Workflows.picture(), { idempotencyKey: "order 7" })
      assert.strictEqual(again.id, first.id)
      const other = yield* Effect.flip(pool.submit(Workflows.picture({ color: 9 }), { idempotencyKey: "order 7" }))
      assert.strictEqual(other.reason._tag, "IdempotencyConflict")
      yield* all(first)
      assert.strictEqual((yield* prompts(1)).length, 1)
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("a paused server gets nothing, a removed one's job goes elsewhere", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* pool.servers.pause(idOf(1))
      const job = yield* pool.submit(Workflows.slow({ seconds: 30 }))
      yield* ComfyTest.advanceUntil(Effect.map(job.status, (status) => status._tag === "Running"))
      assert.strictEqual((yield* job.why)[0]?.server, idOf(2))
      yield* pool.servers.resume(idOf(1))
      assert.isTrue(yield* ComfyTest.advanceWhile(pool.servers.remove(idOf(2))))
      const words = told(yield* all(job))
      assert.strictEqual(words.at(-1), "JobSucceeded")
      assert.include(words, "Placed gpu-1")
    }).pipe(Effect.provide(layerFleet(2))))

  it.effect("priorities go first, whatever their size", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const blocker = yield* pool.submit(Workflows.slow({ seconds: 10 }))
      yield* ComfyTest.advanceUntil(Effect.map(blocker.status, (status) => status._tag === "Running"))
      const order: Array<number> = []
      const jobs = yield* Effect.forEach([-1e300, 0, 5, 1e300], (priority) =>
        pool.submit(Workflows.counting({ steps: 2 + Math.sign(priority) + Math.min(3, Math.abs(priority)) }), {
          priority
        }))
      yield* Effect.forEach(jobs, (job, index) =>
        Effect.forkChild(Effect.map(Effect.exit(job.result), () =>
          void order.push(index))))
      for (const job of jobs) {
        yield* all(job)
      }
      assert.deepStrictEqual(order, [3, 2, 1, 0])
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("shows its state now, and the latest to whoever looks again", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const seen: Array<number> = []
      yield* Effect.forkChild(
        Stream.runForEach(pool.state.changes, ({ running }) => Effect.sync(() => void seen.push(running))),
        { startImmediately: true }
      )
      for (let n = 0; n < 3; n++) yield* all(yield* pool.submit(Workflows.counting({ steps: 50 + n, stepMs: 10 })))
      assert.strictEqual(seen[0], 0)
      assert.include(seen, 1)
      assert.strictEqual((yield* pool.state.get).running, 0)
      // A hundred and fifty steps, and many of them in one look.
      assert.isBelow(seen.length, 150)
    }).pipe(Effect.provide(layerFleet(1))))
})
