import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { HeadChange } from "@effect-comfyui/pool/JobHead"
import { JobQueue, type Offer } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { headOf, seeded } from "./support/heads.ts"

const payload = {
  workflow: Workflow.fromNodes({ "1": { class_type: "A", inputs: {} } }),
  options: null,
  attachments: []
}

const offerOf = (n: number): Offer => ({ head: headOf(n), payload, fingerprint: `${n}` })

const succeeded = (jobId: JobId): JobEnding => ({
  _tag: "JobSucceeded",
  jobId,
  sequence: 1,
  at: 1,
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: [],
  executions: { atLeast: 1, atMost: 1 }
})

/** What the queue should say of a job; leases end at `until`. */
interface Model {
  state: "waiting" | "claimed" | "succeeded" | "cancelled"
  token: number
  until: number
  notBefore: number
  cancel: boolean
}

const expire = (model: ReadonlyMap<number, Model>, now: number) => {
  for (const job of model.values()) {
    if (job.state === "claimed" && job.until <= now) job.state = job.cancel ? "cancelled" : "waiting"
  }
}

/** One sequence of commands of several schedulers against the model; checked after each. */
const play = (seed: number) =>
  Effect.gen(function*() {
    const queue = yield* JobQueue
    const random = seeded(seed)
    const pick = (n: number) => Math.floor(random() * n)
    const model = new Map<number, Model>()
    const tokens: Array<readonly [number, number]> = []
    const ready = new Set<string>()
    yield* Effect.forkScoped(
      Stream.runForEach(queue.heads, (changes) =>
        Effect.sync(() => {
          for (const change of changes) {
            if (change._tag === "Ready") ready.add(change.head.id)
            else ready.delete(change.id)
          }
        })),
      { startImmediately: true }
    )
    let now = 0
    const holds = (n: number, token: number) => {
      const job = model.get(n)
      return job?.state === "claimed" && job.token === token ? job : undefined
    }
    for (let i = 0; i < 120; i++) {
      const n = pick(12)
      const id = JobId.make(`job-${n}`)
      const job = model.get(n)
      const [m, token] = tokens[pick(tokens.length)] ?? [n, -1]
      const mine = JobId.make(`job-${m}`)
      const held = holds(m, token)
      switch (pick(8)) {
        case 0: {
          const outcome = yield* queue.offer(offerOf(n))
          assert.strictEqual(outcome, job === undefined ? "queued" : "duplicate")
          if (job === undefined) model.set(n, { state: "waiting", token: -1, until: 0, notBefore: 0, cancel: false })
          break
        }
        case 1:
        case 2: {
          const claim = yield* queue.claim(id, "10 seconds")
          const may = job?.state === "waiting" && job.notBefore <= now
          assert.strictEqual(Option.isSome(claim), may)
          if (job === undefined || Option.isNone(claim)) break
          assert.isAbove(claim.value.token, Math.max(0, ...tokens.map(([, token]) => token)))
          Object.assign(job, { state: "claimed", token: claim.value.token, until: now + 10_000, cancel: false })
          tokens.push([n, claim.value.token])
          break
        }
        case 3: {
          const exit = yield* Effect.exit(queue.extend(mine, token, "10 seconds"))
          assert.strictEqual(Exit.isSuccess(exit), held !== undefined)
          if (held !== undefined) held.until = now + 10_000
          break
        }
        case 4: {
          const exit = yield* Effect.exit(queue.settle(mine, token, succeeded(mine)))
          assert.strictEqual(Exit.isSuccess(exit), held !== undefined)
          if (held !== undefined) held.state = "succeeded"
          break
        }
        case 5: {
          const delay = pick(2) * 3_000
          const exit = yield* Effect.exit(queue.release(mine, token, { delay }))
          assert.strictEqual(Exit.isSuccess(exit), held !== undefined)
          if (held !== undefined) {
            Object.assign(held, {
              state: held.cancel ? "cancelled" : "waiting",
              notBefore: delay > 0 ? now + delay : 0
            })
          }
          break
        }
        case 6: {
          if (pick(3) > 0) break
          const outcome = yield* queue.cancel(id)
          const expected = job === undefined
            ? "unknown"
            : job.state === "waiting"
            ? "removed"
            : job.state === "claimed"
            ? "requested"
            : "ended"
          assert.strictEqual(outcome, expected)
          if (job?.state === "waiting") job.state = "cancelled"
          if (job?.state === "claimed") job.cancel = true
          break
        }
        case 7: {
          const ms = pick(6_000)
          now += ms
          yield* TestClock.adjust(ms)
          expire(model, now)
        }
      }
      for (const [n, { state }] of model) {
        assert.strictEqual(Option.getOrThrow(yield* queue.get(JobId.make(`job-${n}`))).state, state)
      }
    }
    yield* TestClock.adjust(0)
    const waiting = [...model].filter(([, job]) => job.state === "waiting").map(([n]) => `job-${n}`)
    assert.deepStrictEqual([...ready].toSorted(), waiting.toSorted())
    assert.deepInclude(yield* queue.stats, { waiting: waiting.length, dead: 0 })
  }).pipe(Effect.scoped, Effect.provide(JobQueueMemory.layerMemory, { local: true }))

describe("JobQueueMemory", () => {
  for (let seed = 1; seed <= 30; seed++) it.effect(`does what a small model does, seed ${seed}`, () => play(seed))

  it.effect("refuses more than its cap, and takes more when there is room", () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      for (let i = 0; i < 3; i++) yield* queue.offer(offerOf(i))
      const { reason } = yield* Effect.flip(queue.offer(offerOf(3)))
      assert.strictEqual(reason._tag, "QueueFull")
      yield* queue.cancel(headOf(0).id)
      assert.strictEqual(yield* queue.offer(offerOf(3)), "queued")
    }).pipe(Effect.provide(JobQueueMemory.layerMemoryWith({ maxQueued: 3 }))))

  it.effect("forgets ended jobs beyond its cap, and old ones", () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      for (let i = 0; i < 10; i++) {
        yield* queue.offer(offerOf(i))
        yield* queue.cancel(headOf(i).id)
      }
      assert.deepStrictEqual((yield* queue.list()).map(({ head }) => head.id), [7, 8, 9].map((n) => headOf(n).id))
      yield* TestClock.adjust("25 hours")
      yield* queue.offer(offerOf(10))
      yield* queue.cancel(headOf(10).id)
      assert.deepStrictEqual((yield* queue.list()).map(({ head }) => head.id), [headOf(10).id])
    }).pipe(Effect.provide(JobQueueMemory.layerMemoryWith({ history: 3 }))))

  it.effect("tells a slow reader the latest of each job, and ends its stream with the queue", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(JobQueueMemory.layerMemory, scope)
      const batches: Array<ReadonlyArray<HeadChange>> = []
      const fiber = yield* Effect.gen(function*() {
        const queue = yield* JobQueue
        const reader = yield* Effect.forkChild(
          Stream.runForEach(queue.heads, (batch) => Effect.as(Effect.sleep("1 minute"), void batches.push(batch))),
          { startImmediately: true }
        )
        yield* queue.offer(offerOf(0))
        yield* TestClock.adjust("1 second")
        for (let i = 0; i < 50; i++) {
          const claim = Option.getOrThrow(yield* queue.claim(headOf(0).id, "1 hour"))
          yield* queue.release(headOf(0).id, claim.token)
        }
        return reader
      }).pipe(Effect.provide(context))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual(batches.map((batch) => batch.map(({ _tag }) => _tag)), [["Ready"], ["Ready"]])
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("5 minutes")
      assert.isDefined(fiber.pollUnsafe())
      yield* Fiber.join(fiber)
    }))

  it.effect("tells a reader that waits in one batch what changes together", () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      const reader = yield* Effect.forkChild(
        Stream.runCollect(Stream.take(Stream.map(queue.heads, ({ length }) => length), 2)),
        { startImmediately: true }
      )
      for (let i = 0; i < 3; i++) yield* queue.offer(offerOf(i))
      yield* TestClock.adjust("1 second")
      for (let i = 3; i < 5; i++) yield* queue.offer(offerOf(i))
      assert.deepStrictEqual(yield* Fiber.join(reader), [3, 2])
    }).pipe(Effect.provide(JobQueueMemory.layerMemory)))

  it.effect("gives every claim that runs out back, and no other", () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      const claims = []
      for (let i = 0; i < 9; i++) {
        yield* queue.offer(offerOf(i))
        claims.push(Option.getOrThrow(yield* queue.claim(headOf(i).id, i % 3 === 0 ? "1 second" : "1 hour")))
      }
      for (const { head, token } of claims.slice(4, 6)) yield* queue.settle(head.id, token, succeeded(head.id))
      yield* TestClock.adjust("2 seconds")
      const waiting = yield* queue.list({ states: ["waiting"] })
      assert.deepStrictEqual(waiting.map(({ head }) => head.sequence), [0, 3, 6])
      assert.deepInclude(yield* queue.stats, { waiting: 3, claimed: 4, ended: 2 })
    }).pipe(Effect.provide(JobQueueMemory.layerMemory)))

  it.effect("gives the first 10,000 jobs to a new reader in batches", () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      for (let i = 0; i < 10_000; i++) yield* queue.offer(offerOf(i))
      const sizes = yield* Stream.runCollect(Stream.take(Stream.map(queue.heads, ({ length }) => length), 3))
      assert.deepStrictEqual(sizes, [4_096, 4_096, 1_808])
    }).pipe(Effect.provide(JobQueueMemory.layerMemory)))
})
