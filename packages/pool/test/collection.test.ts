// A pool with a sink: what has to be there before a job has succeeded, and what follows where it is not.
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { Pool } from "@effect-comfyui/pool/Pool"
import type * as PoolModule from "@effect-comfyui/pool/Pool"
import { type Sink, SinkError } from "@effect-comfyui/pool/Sink"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet, told } from "./support/fleet.ts"
import * as Process from "./support/process.ts"
import { bucket, failing } from "./support/sinks.ts"

const server = ComfyTest.serverOf(ComfyTest.nameOf(1))

const endingOf = (events: ReadonlyArray<JobEvent>) => events.at(-1)

const reasonOf = (events: ReadonlyArray<JobEvent>) => {
  const last = endingOf(events)
  return last?._tag === "JobFailed" || last?._tag === "DeadLettered" ? last.error.reason : undefined
}

/** A sink that takes what it gets when it is told to. */
const slow = (objects: Map<string, Uint8Array>) => {
  const open = Deferred.makeUnsafe<void>()
  const inner = bucket(objects)
  const sink: Sink = {
    name: "slow",
    put: (item, bytes) => Effect.andThen(Deferred.await(open), inner.put(item, bytes))
  }
  return { sink, open: Deferred.succeed(open, undefined) }
}

const isCollecting = (job: PoolModule.PoolJob) =>
  ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Collecting"))

const poolWith = (collect: Sink, servers = 1) => layerFleet(servers, { pool: { collect } })

describe("a pool with a sink", () => {
  const objects = new Map<string, Uint8Array>()
  it.effect("has succeeded with a job when every file of it is there, with a receipt for each", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      const events = yield* all(job)
      assert.deepStrictEqual(told(events), ["Queued", "Placed gpu-1", "Completed → done", "Collected", "JobSucceeded"])
      const last = endingOf(events)
      if (last?._tag !== "JobSucceeded") return assert.fail("did not succeed")
      const [receipt] = last.receipts
      assert.strictEqual(last.receipts.length, 1)
      const [key, bytes] = [...objects][0] ?? ["", new Uint8Array()]
      assert.deepInclude(receipt, { nodeId: "2", location: `s3://bucket/${key}`, sizeBytes: bytes.byteLength })
      const collected = events.find(({ _tag }) => _tag === "Collected")
      assert.deepInclude(collected, { sink: "s3://bucket", files: 1, bytes: bytes.byteLength })
    }).pipe(Effect.provide(poolWith(bucket(objects)))))

  const left = new Map<string, Uint8Array>()
  it.effect("leaves files where a job wants that, and takes no sink that it does not have", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const last = endingOf(yield* all(yield* pool.submit(Workflows.picture(), { collect: "reference" })))
      assert.deepStrictEqual(last?._tag === "JobSucceeded" ? last.receipts : undefined, [])
      assert.strictEqual(left.size, 0)
      const error = yield* Effect.flip(pool.submit(Workflows.picture(), { collect: slow(left).sink }))
      assert.strictEqual(error.reason._tag, "InvalidOptions")
    }).pipe(Effect.provide(poolWith(bucket(left)))))

  const late = slow(new Map())
  it.effect("has the server free for others meanwhile; to drain it is to wait for the files", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const first = yield* pool.submit(Workflows.picture())
      yield* isCollecting(first)
      const second = yield* pool.submit(Workflows.picture({ color: 1 }))
      yield* isCollecting(second)
      const drained = yield* Effect.forkChild(pool.servers.drain(idOf(1)), { startImmediately: true })
      yield* TestClock.adjust("5 minutes")
      assert.isUndefined(drained.pollUnsafe())
      yield* late.open
      assert.strictEqual(endingOf(yield* all(first))?._tag, "JobSucceeded")
      assert.strictEqual(endingOf(yield* all(second))?._tag, "JobSucceeded")
      yield* ComfyTest.advanceWhile(Fiber.join(drained))
    }).pipe(Effect.provide(poolWith(late.sink))))

  const kept = slow(new Map())
  it.effect("keeps a server that is removed until its files are home", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* isCollecting(job)
      const removed = yield* Effect.forkChild(pool.servers.remove(idOf(1)), { startImmediately: true })
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(removed.pollUnsafe())
      yield* kept.open
      assert.strictEqual(endingOf(yield* all(job))?._tag, "JobSucceeded")
      assert.isTrue(yield* ComfyTest.advanceWhile(Fiber.join(removed)))
    }).pipe(Effect.provide(poolWith(kept.sink))))
})

describe("files that are not there", () => {
  const objects = new Map<string, Uint8Array>()
  it.effect("because the server's cache replays a run whose files were deleted: one cheap run more, under another name", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* all(yield* pool.submit(Workflows.picture()))
      yield* (yield* server).wipe("output")
      objects.clear()
      const last = endingOf(yield* all(yield* pool.submit(Workflows.picture())))
      assert.deepInclude(last, { _tag: "JobSucceeded", executions: { atLeast: 2, atMost: 2 } })
      assert.strictEqual(objects.size, 1)
      assert.match([...objects.keys()][0] ?? "", /picture-[0-9a-f]{8}/)
    }).pipe(Effect.provide(poolWith(bucket(objects)))))

  it.effect("because somebody deleted them: the job says so", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* isCollecting(job)
      yield* (yield* server).wipe("output")
      const events = yield* all(job)
      assert.deepInclude(reasonOf(events), { _tag: "OutputsGone", cached: false })
      assert.strictEqual(endingOf(events)?._tag, "JobFailed")
    }).pipe(Effect.provide(poolWith(failing(1, { _tag: "Unavailable", cause: "not yet" }, bucket(new Map()))))))

  it.effect("because the sink has no room: set aside for a person, who makes some", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const events = yield* all(yield* pool.submit(Workflows.picture()))
      assert.strictEqual(endingOf(events)?._tag, "DeadLettered")
      assert.deepInclude(reasonOf(events), { _tag: "CollectFailed", sink: "full" })
    }).pipe(Effect.provide(poolWith({
      name: "full",
      put: () => Effect.fail(new SinkError({ reason: { _tag: "Full", cause: "no room" } }))
    }))))

  const away = new Map<string, Uint8Array>()
  it.effect("because the server is away for a while: it is waited for, and nothing runs twice", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* isCollecting(job)
      yield* (yield* server).kill
      yield* TestClock.adjust("90 seconds")
      yield* (yield* server).restart
      const last = endingOf(yield* all(job))
      assert.deepInclude(last, { _tag: "JobSucceeded", executions: { atLeast: 1, atMost: 1 } })
    }).pipe(Effect.provide(poolWith(failing(1, { _tag: "Unavailable", cause: "not yet" }, bucket(away))))))

  const gone = new Map<string, Uint8Array>()
  it.effect("because the server never comes back: another one makes them", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* isCollecting(job)
      const [attempt] = yield* job.why
      yield* (yield* ComfyTest.serverOf(attempt?.server ?? "")).kill
      const last = endingOf(yield* all(job))
      assert.deepInclude(last, { _tag: "JobSucceeded", executions: { atLeast: 2, atMost: 2 } })
      assert.strictEqual(gone.size, 1)
    }).pipe(Effect.provide(poolWith(failing(1, { _tag: "Unavailable", cause: "not yet" }, bucket(gone)), 2))))
})

describe("a pool that ends between the success and the download", () => {
  it.effect("leaves the files for the next one, which collects them", () =>
    Effect.gen(function*() {
      const objects = new Map<string, Uint8Array>()
      const never: Sink = { name: "s3://bucket", put: () => Effect.never }
      const first = yield* Process.start(1, { collect: never })
      const job = yield* first.pool.submit(Workflows.picture())
      yield* isCollecting(job)
      yield* first.kill
      const second = yield* Process.start(1, { collect: bucket(objects) })
      yield* TestClock.adjust("31 seconds")
      const last = endingOf(yield* all(yield* second.pool.get(job.id)))
      assert.deepInclude(last, { _tag: "JobSucceeded", executions: { atLeast: 1, atMost: 1 } })
      assert.strictEqual(objects.size, 1)
      yield* second.close
      const { prompts } = yield* (yield* server).ledger
      assert.strictEqual(prompts.length, 1)
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})
