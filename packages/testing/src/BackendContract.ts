/**
 * What every {@link Backend} promises, as tests: a backend of your own is held against the same text as ours. Needs
 * `@effect/vitest`; not in the barrel.
 *
 * ```ts
 * BackendContract.suite("my backend", Layer.effect(BackendContract.Subject, makeSubject))
 * ```
 */
import type { Backend, RunRequest, RunStatus } from "@effect-comfyui/execution/Backend"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import { makeRunId, type RunId } from "@effect-comfyui/execution/Ids"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { expectCancelled, expectCompleted, expectFailed, expectOneEnding } from "./Expect.ts"

/** A backend to be held against the contract, with what the tests need to know of it. */
export class Subject extends Context.Service<Subject, {
  readonly backend: Backend
  /** A second backend of the same server, as another process has it. */
  readonly other: Backend
  readonly workflows: {
    /** Succeeds, with an output. Every value makes another one, so that nothing is cached. */
    readonly quick: (variant: number) => Workflow
    /** Runs until it is cancelled, or for long: at least 1,000 ticks. */
    readonly slow: (variant: number) => Workflow
    /** Fails in a node. */
    readonly failing: Workflow
    /** Is refused before it runs. */
    readonly refused: Workflow
  }
  /** Lets a moment pass in which runs go on: a step of the test clock, or a short sleep. */
  readonly tick: Effect.Effect<void>
}>()("@effect-comfyui/testing/BackendContract/Subject") {}

/** How the suite is run. */
export interface SuiteOptions {
  /** On the real clock, for backends with real sockets. Default: the test clock. */
  readonly live?: boolean
}

/** Ticks that a test waits for something that must come. */
const patience = 600

const requestOf = (runId: RunId, workflow: Workflow, more: Partial<RunRequest> = {}): RunRequest => ({
  runId,
  job: Option.none(),
  workflow,
  attachments: [],
  acceptPartial: false,
  onInterrupt: "cancel",
  ...more
})

interface Watched {
  readonly runId: RunId
  readonly events: ReadonlyArray<ExecutionEvent>
  readonly fiber: Fiber.Fiber<void>
}

const watch = Effect.fnUntraced(function*(runId: RunId, stream: Stream.Stream<ExecutionEvent>) {
  const events: Array<ExecutionEvent> = []
  const fiber = yield* Effect.forkChild(
    Stream.runForEach(stream, (event) => Effect.sync(() => void events.push(event))),
    { startImmediately: true }
  )
  const watched: Watched = { runId, events, fiber }
  return watched
})

const start = Effect.fnUntraced(function*(backend: Backend, workflow: Workflow, more?: Partial<RunRequest>) {
  const runId = yield* makeRunId
  return yield* watch(runId, backend.run(requestOf(runId, workflow, more)))
})

const until = Effect.fnUntraced(function*<E, R>(what: string, condition: Effect.Effect<boolean, E, R>) {
  const { tick } = yield* Subject
  for (let waited = 0; waited < patience; waited++) {
    if (yield* condition) return
    yield* tick
  }
  return assert.fail(`${what}: not within ${patience} ticks`)
})

const ended = ({ events, fiber }: Watched) =>
  Effect.gen(function*() {
    yield* until("an ending", Effect.sync(() => events.some(isEnding)))
    // The stream ends with its ending, and is no failure.
    yield* until("the end of the stream", Effect.sync(() => fiber.pollUnsafe() !== undefined))
    yield* Fiber.join(fiber)
    return events
  })

const submitted = ({ events }: Watched) =>
  until("acceptance", Effect.sync(() => events.some((event) => event._tag === "Submitted")))

const statusIs = (backend: Backend, runId: RunId, tag: RunStatus["_tag"]) =>
  until(`status ${tag}`, Effect.map(Effect.orDie(backend.status(runId)), (status) => status._tag === tag))

const begun = (backend: Backend, { runId }: Watched) => statusIs(backend, runId, "Running")

type Test = Effect.Effect<void, never, Subject | Scope.Scope>

const tests: Readonly<Record<string, Test>> = {
  "a run ends once, with what it gave": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const { outputs } = expectCompleted(yield* ended(yield* start(backend, workflows.quick(1))))
    assert.isAbove(Object.keys(outputs).length, 0)
  }),

  "times do not go back, and events name the backend": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const run = yield* start(backend, workflows.quick(1))
    const events = yield* ended(run)
    const elapsed = events.map((event) => event.elapsed)
    assert.deepStrictEqual(elapsed, elapsed.toSorted((a, b) => a - b))
    for (const event of events) assert.deepInclude(event, { runId: run.runId, backend: backend.id })
  }),

  "a failing node is an ending, not a failure of the stream": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const ending = expectOneEnding(yield* ended(yield* start(backend, workflows.failing)))
    assert.strictEqual(ending._tag, "Failed")
  }),

  "so is a refusal, of a run that was never submitted": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const events = yield* ended(yield* start(backend, workflows.refused))
    assert.strictEqual(expectOneEnding(events)._tag, "Failed")
    assert.isFalse(events.some((event) => event._tag === "Submitted"))
  }),

  "a run id is used once: while the run is open, and afterwards": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const first = yield* start(backend, workflows.quick(1))
    const again = () => watch(first.runId, backend.run(requestOf(first.runId, workflows.quick(2))))
    expectFailed(yield* ended(yield* again()), "DuplicateRun")
    expectCompleted(yield* ended(first))
    expectFailed(yield* ended(yield* again()), "DuplicateRun")
  }),

  "a consumer that leaves cancels its run, and no other": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const mine = yield* start(backend, workflows.slow(1))
    yield* begun(backend, mine)
    const next = yield* start(backend, workflows.quick(1))
    yield* submitted(next)
    const waiting = yield* start(backend, workflows.quick(2))
    yield* submitted(waiting)
    const left = yield* Effect.forkChild(Fiber.interrupt(waiting.fiber), { startImmediately: true })
    yield* until("the end of an interruption", Effect.sync(() => left.pollUnsafe() !== undefined))
    // The run that is running is another one: it went on.
    assert.isFalse(mine.events.some(isEnding))
    yield* statusIs(backend, mine.runId, "Running")
    const stopped = yield* Effect.forkChild(Fiber.interrupt(mine.fiber), { startImmediately: true })
    yield* until("the end of an interruption", Effect.sync(() => stopped.pollUnsafe() !== undefined))
    expectCompleted(yield* ended(next))
    for (const { runId } of [mine, waiting]) {
      const status = yield* Effect.orDie(backend.status(runId))
      assert.isTrue(status._tag === "Unknown" || (status._tag === "Finished" && status.ending._tag === "Cancelled"))
    }
  }),

  "or leaves it, where that was asked": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    const run = yield* start(backend, workflows.quick(1), { onInterrupt: "leave" })
    yield* submitted(run)
    yield* Fiber.interrupt(run.fiber)
    yield* statusIs(backend, run.runId, "Finished")
    const status = yield* Effect.orDie(backend.status(run.runId))
    assert.isTrue(status._tag === "Finished" && status.ending._tag === "Completed")
  }),

  "attaching to a run of somebody else opens with a gap, and tells its ending": Effect.gen(function*() {
    const { backend, other, workflows } = yield* Subject
    const run = yield* start(other, workflows.slow(1))
    yield* begun(other, run)
    const attached = yield* watch(run.runId, backend.attach(run.runId))
    yield* until("an event", Effect.sync(() => attached.events.length > 0))
    assert.deepInclude(attached.events[0], { _tag: "Gap", cause: "attached" })
    yield* Effect.orDie(other.cancel(run.runId))
    expectCancelled(yield* ended(run), "us")
    expectCancelled(yield* ended(attached))
  }),

  "whoever stops watching cancels nothing": Effect.gen(function*() {
    const { backend, other, workflows } = yield* Subject
    const run = yield* start(other, workflows.quick(1))
    yield* submitted(run)
    const attached = yield* watch(run.runId, backend.attach(run.runId))
    yield* Fiber.interrupt(attached.fiber)
    expectCompleted(yield* ended(run))
  }),

  "cancelling says what it did": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    assert.strictEqual(yield* Effect.orDie(backend.cancel(yield* makeRunId)), "unknown-run")
    const running = yield* start(backend, workflows.slow(1))
    yield* begun(backend, running)
    const waiting = yield* start(backend, workflows.quick(1))
    yield* submitted(waiting)
    assert.strictEqual(yield* Effect.orDie(backend.cancel(waiting.runId)), "removed")
    expectCancelled(yield* ended(waiting), "us")
    assert.strictEqual(yield* Effect.orDie(backend.cancel(running.runId)), "interrupted")
    expectCancelled(yield* ended(running), "us")
    const quick = yield* start(backend, workflows.quick(2))
    expectCompleted(yield* ended(quick))
    assert.strictEqual(yield* Effect.orDie(backend.cancel(quick.runId)), "already-finished")
  }),

  "status tells where a run is": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    yield* statusIs(backend, yield* makeRunId, "Unknown")
    const running = yield* start(backend, workflows.slow(1))
    const waiting = yield* start(backend, workflows.quick(1))
    yield* begun(backend, running)
    yield* submitted(waiting)
    yield* statusIs(backend, running.runId, "Running")
    yield* statusIs(backend, waiting.runId, "Waiting")
    yield* Effect.orDie(backend.cancel(running.runId))
    yield* ended(running)
    yield* ended(waiting)
    yield* statusIs(backend, waiting.runId, "Finished")
  }),

  "a probe counts what waits and runs, and capabilities name classes": Effect.gen(function*() {
    const { backend, workflows } = yield* Subject
    assert.strictEqual((yield* Effect.orDie(backend.probe)).queueRemaining, 0)
    const run = yield* start(backend, workflows.slow(1))
    yield* begun(backend, run)
    assert.strictEqual((yield* Effect.orDie(backend.probe)).queueRemaining, 1)
    assert.isAbove((yield* Effect.orDie(backend.capabilities)).classes.size, 0)
    yield* Effect.orDie(backend.cancel(run.runId))
    yield* ended(run)
  })
}

const closes = <E>(layer: Layer.Layer<Subject, E>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const context = yield* Layer.buildWithScope(layer, scope)
    const { backend, tick, workflows } = Context.get(context, Subject)
    const run = yield* Effect.provide(start(backend, workflows.slow(1)), context)
    yield* Effect.provide(begun(backend, run), context)
    const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
    for (let waited = 0; waited < patience && closing.pollUnsafe() === undefined; waited++) yield* tick
    yield* Fiber.join(closing)
    yield* Fiber.join(run.fiber)
    expectFailed(run.events, "Closed")
    const late = yield* Stream.runCollect(backend.run(requestOf(yield* makeRunId, workflows.quick(1))))
    expectFailed(late, "Closed")
  })

/**
 * The contract as a `describe` of its own. The layer is built anew for each test: a backend without runs. `tick` must
 * still work when the layer's scope is closed.
 */
export const suite = <E>(name: string, layer: Layer.Layer<Subject, E>, options: SuiteOptions = {}): void => {
  const test = options.live === true ? it.live : it.effect
  describe(`${name}, a Backend`, () => {
    for (const [title, run] of Object.entries(tests)) test(title, () => Effect.provide(run, layer))
    test("closing ends every run, and every later one", () => closes(layer))
  })
}
