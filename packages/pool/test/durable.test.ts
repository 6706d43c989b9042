// A pool on a queue that outlives it: what it leaves behind, and what it takes over.
import { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEnding } from "@effect-comfyui/execution/JobEvent"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import type * as Pool from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "./support/process.ts"

const serverOf = (n: number) => ComfyTest.serverOf(ComfyTest.nameOf(n))

const startsOn = (n: number) =>
  Effect.map(
    Effect.flatMap(serverOf(n), ({ ledger }) => ledger),
    ({ prompts }) => prompts.filter(({ startedAt }) => startedAt !== undefined).length
  )

const starts = (servers: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: servers }, (_, i) => i + 1), startsOn),
    (all) => all.reduce((sum, one) => sum + one, 0)
  )

const stateOf = Effect.fnUntraced(function*(id: JobId) {
  return Option.getOrUndefined(yield* (yield* JobQueue).get(id))?.state
})

/** Its prompt has begun. */
const runs = (job: Pool.PoolJob) =>
  Effect.andThen(
    ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running")),
    TestClock.adjust("1 second")
  )

/** Its events so far, when it has ended. */
const ended = (job: Pool.PoolJob) => ComfyTest.advanceWhile(Stream.runCollect(job.events()))

const endingOf = (job: Pool.PoolJob): Effect.Effect<JobEnding, ComfyTest.StillWaiting> =>
  Effect.flatMap(ended(job), (events) => {
    const endings = events.filter(isJobEnding)
    const [ending] = endings
    return ending !== undefined && endings.length === 1
      ? Effect.succeed(ending)
      : Effect.die(new Error("not one ending"))
  })

const id = JobId.make("poster")

describe("a pool that closes", () => {
  it.effect("leaves its runs where they are, and the next one watches them to their end at once", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      const before = yield* first.pool.submit(Workflows.slow({ seconds: 20 }), { id, metadata: { order: 7 } })
      const waiting = yield* first.pool.submit(Workflows.picture(), { priority: -1, deadline: "1 hour" })
      yield* runs(before)
      yield* first.close
      assert.strictEqual((yield* endingOf(before))._tag, "JobFailed")
      assert.strictEqual(yield* stateOf(id), "waiting")
      const second = yield* Process.start(1)
      yield* TestClock.adjust("3 seconds")
      const after = yield* second.pool.get(id)
      assert.deepStrictEqual(after.metadata, { order: 7 })
      assert.deepInclude(yield* after.status, { _tag: "Running", attempt: 1 })
      const events = yield* ended(after)
      const told = events.filter(({ _tag }) => _tag !== "Attempt").map(({ _tag }) => _tag)
      assert.deepStrictEqual(told, ["Queued", "Placed", "AttemptEnded", "JobSucceeded"])
      assert.deepStrictEqual(events.map(({ sequence }) => sequence).at(-1), events.length - 1)
      assert.strictEqual((yield* endingOf(yield* second.pool.get(waiting.id)))._tag, "JobSucceeded")
      assert.strictEqual(yield* startsOn(1), 2)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("cancels them where that is wanted, and the next one runs them again", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1, { onClose: "cancel" })
      yield* runs(yield* first.pool.submit(Workflows.slow({ seconds: 20 }), { id }))
      yield* ComfyTest.advanceWhile(first.close)
      const second = yield* Process.start(1)
      yield* TestClock.adjust("1 second")
      const { executions, _tag } = yield* endingOf(yield* second.pool.get(id))
      assert.deepStrictEqual({ _tag, executions }, { _tag: "JobSucceeded", executions: { atLeast: 1, atMost: 2 } })
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

describe("a pool that takes over", () => {
  it.effect("finds the ending of what went on while nobody watched", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      yield* runs(yield* first.pool.submit(Workflows.slow({ seconds: 5 }), { id }))
      yield* first.kill
      yield* TestClock.adjust("1 minute")
      const second = yield* Process.start(1)
      const ending = yield* endingOf(yield* second.pool.get(id))
      assert.strictEqual(ending._tag, "JobSucceeded")
      if (ending._tag === "JobSucceeded") assert.strictEqual(ending.outputs["3"]?.files.length, 1)
      assert.strictEqual(yield* startsOn(1), 1)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("runs again what no server knows; what may have cost money waits for a person", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(2)
      const free = yield* first.pool.submit(Workflows.slow({ seconds: 50 }))
      const paid = yield* first.pool.submit(Workflows.slow({ seconds: 51 }), { paid: true })
      yield* runs(free)
      yield* runs(paid)
      yield* first.kill
      for (const n of [1, 2]) {
        yield* (yield* serverOf(n)).kill
        yield* (yield* serverOf(n)).restart
      }
      const second = yield* Process.start(2)
      yield* TestClock.adjust("31 seconds")
      const again = yield* endingOf(yield* second.pool.get(free.id))
      assert.deepInclude(again, { _tag: "JobSucceeded", executions: { atLeast: 1, atMost: 2 } })
      const dead = yield* endingOf(yield* second.pool.get(paid.id))
      assert.strictEqual(dead._tag, "DeadLettered")
      if (dead._tag === "DeadLettered") assert.strictEqual(dead.error.reason._tag, "MaybeExecuted")
      assert.strictEqual(yield* starts(2), 3)
      const snapshot = yield* second.pool.snapshot
      assert.deepStrictEqual(snapshot.blocked, [])
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(2, 1))))

  it.effect("goes elsewhere when the server of a run does not come back, not before", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(2)
      const job = yield* first.pool.submit(Workflows.slow({ seconds: 40 }), { id })
      yield* runs(job)
      const [attempt] = yield* job.why
      const on = attempt?.server === "gpu-1" ? 1 : 2
      yield* first.kill
      yield* (yield* serverOf(on)).kill
      const second = yield* Process.start(2)
      yield* TestClock.adjust("2 minutes")
      const after = yield* second.pool.get(id)
      assert.strictEqual((yield* after.status)._tag, "Queued")
      assert.strictEqual(yield* starts(2), 1)
      assert.deepInclude(yield* endingOf(after), { _tag: "JobSucceeded", executions: { atLeast: 1, atMost: 2 } })
      assert.strictEqual(yield* starts(2), 2)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(2, 1))))

  it.effect("ends what was to be cancelled, on its server too", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      const job = yield* first.pool.submit(Workflows.slow({ seconds: 600 }), { id })
      yield* runs(job)
      const queue = yield* JobQueue
      yield* first.kill
      assert.strictEqual(yield* queue.cancel(id), "requested")
      const second = yield* Process.start(1)
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual((yield* endingOf(yield* second.pool.get(id)))._tag, "JobCancelled")
      const { running } = yield* (yield* serverOf(1)).snapshot
      assert.deepStrictEqual(running, [])
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("keeps deadlines, which go on while nobody looks", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      yield* runs(yield* first.pool.submit(Workflows.slow({ seconds: 600 })))
      yield* first.pool.submit(Workflows.picture(), { id, deadline: "1 minute" })
      yield* first.kill
      yield* TestClock.adjust("50 seconds")
      const second = yield* Process.start(1)
      yield* TestClock.adjust("5 seconds")
      const job = yield* second.pool.get(id)
      assert.strictEqual((yield* job.status)._tag, "Queued")
      yield* TestClock.adjust("6 seconds")
      const ending = yield* endingOf(job)
      assert.strictEqual(ending._tag === "JobFailed" ? ending.error.reason._tag : "", "DeadlineExceeded")
      assert.strictEqual(yield* stateOf(id), "failed")
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("gives whoever submits a job again that job, though its run was left and is taken over meanwhile", () =>
    Effect.gen(function*() {
      const ids = Array.from({ length: 20 }, (_, i) => JobId.make(`order-${i}`))
      const order = (pool: Pool.Shape) =>
        ComfyTest.advanceWhile(
          Effect.forEach(
            ids,
            (id, i) => pool.submit(Workflows.slow({ seconds: 10 + i }), { id }),
            { concurrency: "unbounded" }
          ),
          { step: "10 millis" }
        )
      const first = yield* Process.start(4)
      yield* order(first.pool)
      yield* TestClock.adjust("15 seconds")
      yield* first.close
      const second = yield* Process.start(4, { answersAfterMs: 50 })
      const jobs = [...yield* order(second.pool), ...yield* order(second.pool)]
      for (const job of jobs) assert.strictEqual((yield* endingOf(job))._tag, "JobSucceeded")
      assert.strictEqual(yield* starts(4), 20)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(4, 1))))

  it.effect("knows the same submission for the same job", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      yield* endingOf(yield* first.pool.submit(Workflows.picture(), { idempotencyKey: "order-7" }))
      yield* first.kill
      const second = yield* Process.start(1)
      const again = yield* second.pool.submit(Workflows.picture(), { idempotencyKey: "order-7" })
      assert.strictEqual((yield* endingOf(again))._tag, "JobSucceeded")
      const other = yield* Effect.flip(
        second.pool.submit(Workflows.picture({ color: 1 }), { idempotencyKey: "order-7" })
      )
      assert.strictEqual(other.reason._tag, "IdempotencyConflict")
      assert.strictEqual(yield* startsOn(1), 1)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

describe("two pools on one queue", () => {
  it.effect("share its jobs: each runs once, and both tell its end", () =>
    Effect.gen(function*() {
      const one = yield* Process.start(4)
      const other = yield* Process.start(4)
      const jobs = yield* Effect.forEach(Array.from({ length: 60 }, (_, i) => i), (i) =>
        (i % 2 === 0 ? one : other).pool.submit(Workflows.slow({ seconds: 1 + i / 100 })))
      for (const job of jobs) {
        assert.strictEqual((yield* endingOf(job))._tag, "JobSucceeded")
      }
      assert.strictEqual(yield* starts(4), 60)
      yield* TestClock.adjust("1 minute")
      for (const { endings } of [one, other]) {
        assert.strictEqual(
          new Set(endings.map(({ jobId }) =>
            jobId
          )).size,
          60
        )
        assert.strictEqual(endings.length, 60)
      }
      yield* one.close
      yield* other.close
    }).pipe(Effect.provide(Process.layerWorld(4, 1))))

  it.effect("one that was stopped for longer than its lease changes nothing, and tells what became of its jobs", () =>
    Effect.gen(function*() {
      const zombie = yield* Process.start(1)
      const job = yield* zombie.pool.submit(Workflows.slow({ seconds: 120 }), { id })
      yield* runs(job)
      yield* zombie.stop
      const other = yield* Process.start(1)
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(yield* stateOf(id), "succeeded")
      assert.deepStrictEqual(zombie.endings, [])
      yield* zombie.goOn
      assert.strictEqual((yield* endingOf(job))._tag, "JobSucceeded")
      assert.strictEqual(yield* startsOn(1), 1)
      assert.strictEqual(zombie.endings.length + other.endings.length, 2)
      yield* zombie.close
      yield* other.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("one that was stopped while nobody else was there goes on where it was", () =>
    Effect.gen(function*() {
      const only = yield* Process.start(1)
      const job = yield* only.pool.submit(Workflows.slow({ seconds: 120 }), { id })
      yield* runs(job)
      yield* only.stop
      yield* TestClock.adjust("1 minute")
      yield* only.goOn
      assert.strictEqual((yield* endingOf(job))._tag, "JobSucceeded")
      assert.strictEqual(yield* startsOn(1), 1)
      assert.strictEqual(yield* stateOf(id), "succeeded")
      yield* only.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

describe("a queue whose disk is full", () => {
  it.effect("refuses jobs; what runs ends and is told of; the rest goes on when there is room", () =>
    Effect.gen(function*() {
      const only = yield* Process.start(1)
      const running = yield* only.pool.submit(Workflows.slow({ seconds: 10 }), { id })
      const waiting = yield* only.pool.submit(Workflows.picture())
      yield* runs(running)
      yield* only.fill(true)
      const refused = yield* Effect.flip(only.pool.submit(Workflows.picture({ color: 9 })))
      assert.strictEqual(refused.reason._tag, "QueueUnavailable")
      assert.strictEqual((yield* endingOf(running))._tag, "JobSucceeded")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* waiting.status)._tag, "Queued")
      yield* only.fill(false)
      assert.strictEqual((yield* endingOf(waiting))._tag, "JobSucceeded")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* stateOf(id), "succeeded")
      assert.strictEqual(yield* startsOn(1), 2)
      assert.strictEqual(only.endings.filter(({ jobId }) => jobId === id).length, 1)
      yield* only.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})
