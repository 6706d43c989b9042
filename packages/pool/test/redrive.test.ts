// What a person puts back that was set aside: a new life of the job, for whoever asks for it.
import { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Pool from "@effect-comfyui/pool/Pool"
import { Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { running, server } from "./support/ask.ts"
import { all, idOf, layerFleet, told } from "./support/fleet.ts"
import * as Process from "./support/process.ts"

const id = JobId.make("film")

/** Runs the job until its server dies under it: whether it has cost money nobody knows. */
const dies = Effect.fnUntraced(function*(pool: Pool.Shape, options: Parameters<Pool.Shape["submit"]>[1] = {}) {
  const job = yield* pool.submit(Workflows.slow({ seconds: 60 }), { id, paid: true, ...options })
  yield* running(job)
  yield* TestClock.adjust("5 seconds")
  yield* (yield* server(1)).restart
  const events = yield* all(job)
  assert.deepStrictEqual(told(events).slice(-2), ["Lost → dead-letter", "DeadLettered"])
  return job
})

const endings = Effect.fnUntraced(function*(job: Pool.PoolJob) {
  return (yield* all(job)).filter(isJobEnding).map(({ _tag }) => _tag)
})

const file = Layer.unwrap(Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-redrive-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  ),
  (path) => JobQueueSqliteNode.layerFile(join(path, "queue.db"))
))

const worlds = [
  ["in memory", () => Process.layerWorld(1, 1)],
  ["in a database", () => Layer.merge(Process.layerWorld(1, 1), Layer.orDie(file))]
] as const

for (const [where, world] of worlds) {
  describe(`a job that is redriven, ${where},`, () => {
    it.effect("has a new ending, and keeps the old one for those who hold it", () =>
      Effect.gen(function*() {
        const { close, pool } = yield* Process.start(1)
        const old = yield* dies(pool)
        assert.isTrue(yield* pool.redrive(id))
        assert.isFalse(yield* pool.redrive(id))
        assert.isFalse(yield* pool.redrive(JobId.make("nobody")))
        // At once, whatever the queue has told by now.
        const job = yield* pool.get(id)
        assert.strictEqual((yield* job.status)._tag, "Queued")
        assert.deepStrictEqual(told(yield* all(job)), [
          "Queued",
          "Placed gpu-1",
          "Completed → done",
          "JobSucceeded"
        ])
        assert.deepStrictEqual((yield* job.result).executions, { atLeast: 1, atMost: 1 })
        assert.strictEqual((yield* Effect.flip(old.result))._tag, "PoolError")
        assert.deepStrictEqual(yield* endings(old), ["DeadLettered"])
        assert.deepStrictEqual(yield* endings(yield* pool.get(id)), ["JobSucceeded"])
        assert.deepStrictEqual((yield* pool.list).map((one) => [one.id, one.status, one.attempts.length]), [
          [id, "Ended", 1]
        ])
        assert.isFalse(yield* pool.redrive(id))
        yield* close
      }).pipe(Effect.provide(world())))

    it.effect("is the same job for the pool that set it aside, though another process redrove and ran it", () =>
      Effect.gen(function*() {
        const first = yield* Process.start(1)
        yield* dies(first.pool)
        yield* first.pool.servers.pause(idOf(1))
        const second = yield* Process.start(1)
        yield* TestClock.adjust("1 second")
        assert.isTrue(yield* second.pool.redrive(id))
        assert.deepStrictEqual(yield* endings(yield* second.pool.get(id)), ["JobSucceeded"])
        assert.deepStrictEqual(yield* endings(yield* first.pool.get(id)), ["JobSucceeded"])
        yield* first.close
        yield* second.close
      }).pipe(Effect.provide(world())))

    it.effect("is taken up by whoever hears of it, also where the queue was asked to", () =>
      Effect.gen(function*() {
        const { close, pool } = yield* Process.start(1)
        yield* dies(pool)
        assert.isTrue(yield* (yield* JobQueue).redrive(id))
        yield* TestClock.adjust("1 second")
        const [only, ...more] = yield* pool.list
        assert.deepStrictEqual([only?.status, more], ["Running", []])
        assert.deepStrictEqual(yield* endings(yield* pool.get(id)), ["JobSucceeded"])
        yield* close
      }).pipe(Effect.provide(world())))

    it.effect("may be set aside again, and redriven again", () =>
      Effect.gen(function*() {
        const { close, pool } = yield* Process.start(1)
        const first = yield* dies(pool)
        assert.isTrue(yield* pool.redrive(id))
        const second = yield* dies(pool)
        assert.isTrue(yield* pool.redrive(id))
        const third = yield* pool.get(id)
        const all = yield* Effect.forEach([first, second, third], endings)
        assert.deepStrictEqual(all, [["DeadLettered"], ["DeadLettered"], ["JobSucceeded"]])
        yield* close
      }).pipe(Effect.provide(world())))
  })
}

describe("a redrive", () => {
  it.effect("begins the time of the job anew: its deadline passed while nobody looked", () =>
    Effect.gen(function*() {
      const { close, pool } = yield* Process.start(1)
      yield* dies(pool, { deadline: "10 minutes" })
      yield* TestClock.adjust("1 hour")
      assert.isTrue(yield* pool.redrive(id))
      assert.deepStrictEqual(yield* endings(yield* pool.get(id)), ["JobSucceeded"])
      const record = Option.getOrThrow(yield* (yield* JobQueue).get(id))
      assert.strictEqual(record.state, "succeeded")
      yield* close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("of a content that ended two processes costs one more process at most", () =>
    Effect.gen(function*() {
      const { close, pool } = yield* Process.start(4)
      yield* TestClock.adjust("1 second")
      const deadly = Workflow.fromNodes({ "1": { class_type: "FakeExit", inputs: { seconds: 1 } } })
      const killed = Effect.map(
        Effect.forEach([1, 2, 3, 4], (n) => Effect.flatMap(server(n), ({ ledger }) => ledger)),
        (all) => all.flatMap(({ prompts }) => prompts).filter(({ outcome }) => outcome === "lost").length
      )
      const first = yield* pool.submit(deadly, { id })
      assert.deepStrictEqual(yield* endings(first), ["DeadLettered"])
      assert.strictEqual(yield* killed, 2)
      const beside = yield* pool.submit(deadly, { id: JobId.make("the same again") })
      assert.deepStrictEqual(yield* endings(beside), ["DeadLettered"])
      assert.isTrue(yield* pool.redrive(beside.id))
      const again = yield* pool.get(beside.id)
      assert.deepStrictEqual(yield* endings(again), ["DeadLettered"])
      assert.strictEqual((yield* again.why).length, 1)
      assert.strictEqual(yield* killed, 3)
      yield* close
    }).pipe(Effect.provide(Process.layerWorld(4, 1))))

  it.effect("that nobody made changes nothing: the job is the one that was set aside", () =>
    Effect.gen(function*() {
      const { close, pool } = yield* Process.start(1)
      const old = yield* dies(pool)
      const again = yield* pool.get(id)
      assert.deepStrictEqual(yield* endings(again), ["DeadLettered"])
      assert.deepStrictEqual((yield* again.explain).steps, (yield* old.explain).steps)
      yield* close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("works on a queue that keeps nothing, too", () =>
    Effect.gen(function*() {
      const pool = yield* Pool.Pool
      yield* dies(pool)
      assert.isTrue(yield* pool.redrive(id))
      assert.deepStrictEqual(yield* endings(yield* pool.get(id)), ["JobSucceeded"])
    }).pipe(Effect.provide(layerFleet(1))))
})
