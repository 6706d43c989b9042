/**
 * What every layer of {@link JobQueue} promises, as tests: nothing lost, nothing doubled, no late writer. Needs
 * `@effect/vitest`; not in the barrel. Every test builds the layer anew and must find it empty.
 *
 * ```ts
 * JobQueueContract.suite("my queue", layerMine)
 * ```
 */
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  anError,
  apply,
  claimed,
  common,
  failure,
  id,
  isFenced,
  leftBehind,
  offered,
  offerOf,
  putBack,
  readyNow,
  refused,
  runOf,
  setAside,
  setAsideWaiting,
  stateOf,
  succeeded
} from "./internal/queueTrial.ts"

/** How the suite is run. */
export interface SuiteOptions {
  /** On the real clock, for stores that keep their own time: leases of the tests are then short. Default: the test clock. */
  readonly live?: boolean
}

interface Kit {
  /** A lease of the tests, and a pause longer than it. */
  readonly ttl: Duration.Duration
  readonly pass: Effect.Effect<void>
  /** Half of a lease. */
  readonly half: Effect.Effect<void>
}

type Test = (kit: Kit) => Effect.Effect<void, PoolError, JobQueue | Scope.Scope>

const tests: Readonly<Record<string, Test>> = {
  "a job offered twice is one job": () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      assert.strictEqual(yield* queue.offer(offerOf("a")), "queued")
      assert.strictEqual(yield* queue.offer(offerOf("a")), "duplicate")
      assert.deepInclude(yield* queue.stats, { waiting: 1, claimed: 0 })
    }),

  "another job under the same id is a conflict, and changes nothing": () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const { reason } = yield* failure(queue.offer({ ...offerOf("b"), head: offerOf("a").head }))
      assert.strictEqual(reason._tag, "IdempotencyConflict")
      assert.deepStrictEqual((yield* claimed("a", "1 minute")).payload.options, { name: "a" })
    }),

  "an ended job is remembered: the same offer does not run it again": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const claim = yield* claimed("a", ttl)
      yield* queue.settle(claim.head.id, claim.token, succeeded("a"))
      assert.strictEqual(yield* queue.offer(offerOf("a")), "duplicate")
      yield* refused("a")
      const record = Option.getOrThrow(yield* queue.get(id("a")))
      assert.deepInclude(record, { state: "succeeded", attempt: 1, lease: null, ending: succeeded("a") })
    }),

  "a claim gives what was offered": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* queue.offer(offerOf("a", { priority: 3, tenant: "t", cost: 12, placement: "p", affinity: "a1:x" }))
      const { attempt, head, ledger, payload } = yield* claimed("a", ttl)
      const { sequence, ...rest } = head
      assert.deepStrictEqual(rest, {
        ...offerOf("a").head,
        priority: 3,
        tenant: "t",
        cost: 12,
        placement: "p",
        affinity: "a1:x"
      })
      assert.isTrue(Number.isSafeInteger(sequence))
      assert.deepStrictEqual({ attempt, ledger, payload }, { attempt: 1, ledger: null, payload: offerOf("a").payload })
    }),

  "of many who claim a job at once one has it": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const claims = yield* Effect.all(Array.from({ length: 50 }, () => queue.claim(id("a"), ttl)), {
        concurrency: "unbounded"
      })
      assert.strictEqual(claims.filter(Option.isSome).length, 1)
    }),

  "what nobody offered cannot be claimed, cancelled or redriven": () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* refused("a")
      assert.strictEqual(yield* queue.cancel(id("a")), "unknown")
      assert.isFalse(yield* queue.redrive(id("a")))
      assert.isFalse(yield* queue.forget(id("a")))
      assert.isTrue(Option.isNone(yield* queue.get(id("a"))))
    }),

  "a reader is told what is there": ({ ttl }) =>
    Effect.gen(function*() {
      yield* offered("a", "b", "c")
      yield* claimed("b", ttl)
      assert.deepStrictEqual((yield* readyNow(2)).toSorted(), ["a", "c"])
    }),

  "and what changes, each job's latest at least": ({ half, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      const ready = new Set<string>()
      yield* offered("a")
      yield* Effect.forkScoped(
        Stream.runForEach(queue.heads, (changes) => Effect.sync(() => apply(ready, changes))),
        { startImmediately: true }
      )
      yield* half
      assert.deepStrictEqual([...ready], ["a"])
      yield* offered("b", "c")
      const { head, token } = yield* claimed("a", ttl)
      yield* queue.cancel(id("c"))
      yield* half
      assert.deepStrictEqual([...ready], ["b"])
      yield* queue.release(head.id, token)
      yield* Effect.yieldNow
      yield* half
      assert.deepStrictEqual([...ready].toSorted(), ["a", "b"])
    }),

  "a claim that runs out is ready again, and its holder comes too late": ({ pass, ttl }) =>
    Effect.gen(function*() {
      yield* offered("a")
      const first = yield* claimed("a", ttl)
      yield* pass
      assert.deepStrictEqual(yield* readyNow(1), ["a"])
      yield* isFenced(first)
      const second = yield* claimed("a", ttl)
      assert.strictEqual(second.attempt, 2)
      assert.isAbove(second.token, first.token)
      assert.strictEqual(second.head.sequence, first.head.sequence)
      yield* isFenced(first)
      const queue = yield* JobQueue
      yield* queue.settle(id("a"), second.token, succeeded("a"))
      assert.strictEqual(yield* stateOf("a"), "succeeded")
    }),

  "a claim that is extended does not run out": ({ half, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const { token } = yield* claimed("a", ttl)
      for (let i = 0; i < 4; i++) {
        yield* half
        assert.isFalse((yield* queue.extend(id("a"), token, ttl)).cancelRequested)
      }
      yield* refused("a")
      yield* queue.settle(id("a"), token, succeeded("a"))
    }),

  "a token is worth nothing for another job, or once it was used": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b")
      const a = yield* claimed("a", ttl)
      const b = yield* claimed("b", ttl)
      assert.notStrictEqual(a.token, b.token)
      yield* isFenced({ ...a, token: b.token })
      yield* queue.settle(id("a"), a.token, succeeded("a"))
      yield* isFenced(a)
      assert.strictEqual(yield* stateOf("b"), "claimed")
    }),

  "a job given back waits for its delay, keeps its place and its ledger": ({ pass, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const first = yield* claimed("a", ttl)
      yield* queue.release(id("a"), first.token, { delay: ttl, ledger: { deaths: 1 } })
      assert.strictEqual((yield* queue.stats).delayed, 1)
      yield* refused("a")
      yield* isFenced(first)
      yield* pass
      const second = yield* claimed("a", ttl)
      assert.deepStrictEqual(second.ledger, { deaths: 1 })
      assert.strictEqual(second.attempt, 2)
      assert.strictEqual(second.head.sequence, first.head.sequence)
    }),

  "a job that is to wait cannot be claimed early": () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* queue.offer(offerOf("a", { notBefore: 8.64e14 }))
      assert.deepStrictEqual(yield* readyNow(1), ["a"])
      yield* refused("a")
    }),

  "a waiting job that is cancelled has ended": () =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b")
      assert.strictEqual(yield* queue.cancel(id("a")), "removed")
      assert.strictEqual(yield* queue.cancel(id("a")), "ended")
      yield* refused("a")
      assert.deepStrictEqual(yield* readyNow(1), ["b"])
      assert.strictEqual(yield* stateOf("a"), "cancelled")
      const ending: JobEnding = { _tag: "JobFailed", ...common("b"), error: yield* anError }
      assert.strictEqual(yield* queue.cancel(id("b"), ending), "removed")
      assert.deepInclude(Option.getOrUndefined(yield* queue.get(id("b"))), { state: "failed", ending })
      yield* queue.cancel(id("b"))
      assert.deepInclude(Option.getOrUndefined(yield* queue.get(id("b"))), { state: "failed", ending })
    }),

  "the holder of a cancelled job is told, and may still end it as it went": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const { token } = yield* claimed("a", ttl)
      assert.strictEqual(yield* queue.cancel(id("a")), "requested")
      assert.isTrue((yield* queue.extend(id("a"), token, ttl)).cancelRequested)
      yield* queue.settle(id("a"), token, succeeded("a"))
      assert.strictEqual(yield* stateOf("a"), "succeeded")
    }),

  "a cancelled job does not come back, given back or run out": ({ pass, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b")
      const a = yield* claimed("a", ttl)
      yield* claimed("b", ttl)
      yield* queue.cancel(id("a"))
      yield* queue.cancel(id("b"))
      yield* queue.release(id("a"), a.token)
      yield* pass
      assert.strictEqual(yield* stateOf("a"), "cancelled")
      assert.strictEqual(yield* stateOf("b"), "cancelled")
      yield* refused("b")
    }),

  "a dead job waits for a person, who puts it back as new": ({ half, ttl }) =>
    Effect.gen(function*() {
      yield* offered("a")
      const first = yield* claimed("a", ttl)
      yield* setAside(first)
      yield* isFenced(first)
      assert.isAbove((yield* putBack("a", ttl, half)).token, first.token)
    }),

  "so does one that was set aside while it waited": ({ half, ttl }) =>
    Effect.gen(function*() {
      yield* offered("a")
      assert.strictEqual(yield* setAsideWaiting("a"), "removed")
      yield* putBack("a", ttl, half)
    }),

  "jobs are listed in order, by state and tenant, in pages": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b", "c", "d")
      yield* queue.offer(offerOf("e", { tenant: "other" }))
      yield* claimed("b", ttl)
      const names = (records: ReadonlyArray<{ readonly head: { readonly id: string } }>) =>
        records.map((r) => r.head.id)
      assert.deepStrictEqual(names(yield* queue.list()), ["a", "b", "c", "d", "e"])
      assert.deepStrictEqual(names(yield* queue.list({ states: ["claimed"] })), ["b"])
      assert.deepStrictEqual(names(yield* queue.list({ tenant: "other" })), ["e"])
      const page = yield* queue.list({ limit: 2 })
      assert.deepStrictEqual(names(page), ["a", "b"])
      const after = page.at(-1)?.head.sequence ?? Number.NaN
      assert.deepStrictEqual(names(yield* queue.list({ after, limit: 2 })), ["c", "d"])
      assert.deepInclude(yield* queue.stats, { waiting: 4, claimed: 1, dead: 0, ended: 0 })
    }),

  "a run that nobody holds any more stays with its job, and only a claim for it is granted": ({ half, pass, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b")
      const run = runOf("11111111-1111-4111-8111-111111111111")
      yield* queue.claim(id("a"), ttl, run)
      assert.deepStrictEqual(Option.getOrUndefined(yield* queue.get(id("a")))?.run, run)
      yield* pass
      assert.deepStrictEqual(yield* leftBehind(2), [["a", run], ["b", undefined]])
      yield* refused("a")
      const other = runOf("22222222-2222-4222-8222-222222222222")
      assert.isTrue(Option.isNone(yield* queue.claim(id("a"), ttl, other)))
      const again = Option.getOrThrow(yield* queue.claim(id("a"), ttl, run))
      yield* queue.release(id("a"), again.token, { left: true })
      const third = Option.getOrThrow(yield* queue.claim(id("a"), ttl, run))
      yield* queue.release(id("a"), third.token)
      yield* half
      assert.deepStrictEqual(yield* leftBehind(2), [["a", undefined], ["b", undefined]])
      assert.isTrue(Option.isSome(yield* queue.claim(id("a"), ttl, other)))
    }),

  "a cancelled job whose run was left ends with whoever claims that run": ({ pass, ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a", "b")
      const run = runOf("11111111-1111-4111-8111-111111111111")
      for (const name of ["a", "b"]) yield* queue.claim(id(name), ttl, run)
      assert.strictEqual(yield* queue.cancel(id("a")), "requested")
      yield* pass
      assert.strictEqual(yield* stateOf("a"), "waiting")
      assert.strictEqual(yield* queue.cancel(id("b")), "requested")
      assert.strictEqual(yield* stateOf("b"), "waiting")
      for (const name of ["a", "b"]) {
        const claim = Option.getOrThrow(yield* queue.claim(id(name), ttl, run))
        assert.isTrue(claim.cancelRequested)
        yield* queue.release(id(name), claim.token)
        assert.strictEqual(yield* stateOf(name), "cancelled")
      }
    }),

  "who did not take a job in can read all of it": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      const { payload } = offerOf("a")
      assert.deepStrictEqual(Option.getOrUndefined(yield* queue.payload(id("a"))), payload)
      assert.isTrue(Option.isNone(yield* queue.payload(id("b"))))
      const first = yield* claimed("a", ttl)
      yield* queue.release(id("a"), first.token, { ledger: { deaths: 1 } })
      const { token } = yield* claimed("a", ttl)
      const record = Option.getOrUndefined(yield* queue.get(id("a")))
      const known = { options: { name: "a" }, fingerprint: "a", ledger: { deaths: 1 }, run: null }
      assert.deepInclude(record, known)
      yield* queue.settle(id("a"), token, succeeded("a"))
      assert.deepInclude((yield* queue.list()).at(0), known)
      assert.isTrue(Option.isNone(yield* queue.payload(id("a"))))
    }),

  "only what has ended can be forgotten": ({ ttl }) =>
    Effect.gen(function*() {
      const queue = yield* JobQueue
      yield* offered("a")
      assert.isFalse(yield* queue.forget(id("a")))
      const { token } = yield* claimed("a", ttl)
      assert.isFalse(yield* queue.forget(id("a")))
      yield* queue.settle(id("a"), token, succeeded("a"))
      assert.isTrue(yield* queue.forget(id("a")))
      assert.isTrue(Option.isNone(yield* queue.get(id("a"))))
      assert.strictEqual(yield* queue.offer(offerOf("a")), "queued")
    })
}

/** One `describe` with a test per promise. */
export const suite = <E>(name: string, layer: Layer.Layer<JobQueue, E>, { live = false }: SuiteOptions = {}): void => {
  const ttl = live ? Duration.millis(300) : Duration.seconds(30)
  const sleep = (duration: Duration.Duration) => live ? Effect.sleep(duration) : TestClock.adjust(duration)
  const kit: Kit = { ttl, pass: sleep(Duration.times(ttl, 1.5)), half: sleep(Duration.times(ttl, 0.5)) }
  const run = live ? it.live : it.effect
  describe(`${name} keeps the JobQueue contract`, () => {
    for (const [title, test] of Object.entries(tests)) {
      run(title, () => Effect.scoped(Effect.provide(test(kit), layer, { local: true })))
    }
  })
}
