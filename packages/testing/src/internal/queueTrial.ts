// A queue put to the test: jobs to offer, claims that must be there, writes that must be refused.
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { HeadChange, OpenRun } from "@effect-comfyui/pool/JobHead"
import { type Claim, JobQueue, type Offer } from "@effect-comfyui/pool/JobQueue"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"

export const id = (name: string) => JobId.make(name)

/** A job to offer; the same name is the same job. */
export const offerOf = (name: string, more: Partial<Offer["head"]> = {}): Offer => ({
  head: {
    id: id(name),
    priority: 0,
    tenant: "tenant",
    affinity: "a1:key",
    placement: "",
    cost: 1_000,
    notBefore: 0,
    ...more
  },
  payload: {
    workflow: Workflow.fromNodes({ "1": { class_type: "EmptyImage", inputs: { color: name.length } } }),
    options: { name },
    attachments: []
  },
  fingerprint: name
})

export const common = (name: string) => ({ jobId: id(name), sequence: 9, at: 1, executions: { atLeast: 1, atMost: 1 } })
export const succeeded = (name: string): JobEnding => ({
  _tag: "JobSucceeded",
  ...common(name),
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: []
})

export const failure = <A, R>(effect: Effect.Effect<A, PoolError, R>): Effect.Effect<PoolError, never, R> =>
  Effect.match(effect, { onFailure: (error) => error, onSuccess: () => assert.fail("was not refused") })

/** An error to end a job with. */
export const anError = Effect.flatMap(
  JobQueue,
  (queue) => failure(queue.settle(id("nobody"), 0, succeeded("nobody")))
)

/** Sets a job aside that waits. */
export const setAsideWaiting = Effect.fnUntraced(function*(name: string) {
  const queue = yield* JobQueue
  const error = yield* anError
  return yield* queue.cancel(id(name), { _tag: "DeadLettered", ...common(name), error })
})

export const setAside = Effect.fnUntraced(function*(claim: Claim) {
  const queue = yield* JobQueue
  const error = yield* anError
  yield* queue.deadLetter(claim.head.id, claim.token, { _tag: "DeadLettered", ...common(claim.head.id), error })
})

export const claimed = Effect.fnUntraced(function*(name: string, ttl: Duration.Input) {
  const queue = yield* JobQueue
  const claim = yield* queue.claim(id(name), ttl)
  return Option.isSome(claim) ? claim.value : assert.fail(`${name} was not there to be claimed`)
})

export const refused = Effect.fnUntraced(function*(name: string) {
  const queue = yield* JobQueue
  assert.isTrue(Option.isNone(yield* queue.claim(id(name), "1 minute")), `${name} was claimed`)
})

export const stateOf = Effect.fnUntraced(function*(name: string) {
  const queue = yield* JobQueue
  return Option.getOrUndefined(yield* queue.get(id(name)))?.state
})

/** Puts a job back that was set aside; it is as new, and its time begins now. `half`: a pause. */
export const putBack = Effect.fnUntraced(function*(name: string, ttl: Duration.Input, half: Effect.Effect<void>) {
  const queue = yield* JobQueue
  const get = Effect.map(queue.get(id(name)), Option.getOrThrow)
  assert.strictEqual((yield* queue.stats).dead, 1)
  yield* refused(name)
  const { fingerprint, queuedAt } = yield* get
  yield* half
  assert.isTrue(yield* queue.redrive(id(name)))
  assert.isFalse(yield* queue.redrive(id(name)))
  const after = yield* get
  assert.isAbove(after.queuedAt, queuedAt)
  assert.deepInclude(after, { state: "waiting", ending: null, endedAt: null, fingerprint })
  const claim = yield* claimed(name, ttl)
  assert.deepInclude(claim, { attempt: 1, ledger: null })
  return claim
})

/** Fails unless every write of this claim is refused as late. */
export const isFenced = Effect.fnUntraced(function*(claim: Claim) {
  const queue = yield* JobQueue
  const { id } = claim.head
  const writes: ReadonlyArray<Effect.Effect<unknown, PoolError, JobQueue>> = [
    queue.extend(id, claim.token, "1 minute"),
    queue.settle(id, claim.token, succeeded(id)),
    queue.release(id, claim.token),
    setAside(claim)
  ]
  for (const write of writes) {
    const { reason } = yield* failure(write)
    assert.deepStrictEqual(reason, { _tag: "LeaseLost", jobId: id, token: claim.token })
  }
})

/** What a new reader of the heads believes once it has seen `expected` jobs ready. */
export const readyNow = Effect.fnUntraced(function*(expected: number) {
  const queue = yield* JobQueue
  if (expected === 0) return []
  const ready = new Set<string>()
  yield* Stream.runForEachWhile(queue.heads, (changes) => {
    apply(ready, changes)
    return Effect.succeed(ready.size < expected)
  })
  return [...ready]
})

/** The jobs that a new reader is told of first, each with the run that was left. */
export const leftBehind = Effect.fnUntraced(function*(expected: number) {
  const queue = yield* JobQueue
  const left = new Map<string, OpenRun | undefined>()
  yield* Stream.runForEachWhile(queue.heads, (changes) =>
    Effect.sync(() => {
      for (const change of changes) if (change._tag === "Ready") left.set(change.head.id, change.left)
      return left.size < expected
    }))
  return [...left].toSorted(([a], [b]) => a.localeCompare(b))
})

export const runOf = (runId: string): OpenRun => ({
  runId: RunId.make(runId),
  server: BackendId.make("server"),
  number: 1,
  startedAt: 1
})

export const apply = (ready: Set<string>, changes: ReadonlyArray<HeadChange>): void => {
  assert.isAbove(changes.length, 0)
  for (const change of changes) {
    if (change._tag === "Ready") ready.add(change.head.id)
    else ready.delete(change.id)
  }
}

export const offered = Effect.fnUntraced(function*(...names: ReadonlyArray<string>) {
  const queue = yield* JobQueue
  for (const name of names) yield* queue.offer(offerOf(name))
})
