/**
 * One attempt of a job on one server: the run's stream, raced by the policy clocks. The attempt is decided when the run
 * ends or a clock runs out; in the second case the run goes on being cancelled, and its server stays taken, until it ends.
 */
import type { Backend } from "@effect-comfyui/execution/Backend"
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import { type Ending, type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import type { RunId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AttemptClock from "./AttemptClock.ts"
import * as Defaults from "./Defaults.ts"

/** How an attempt was decided. */
export type Decided =
  | { readonly _tag: "Ended"; readonly ending: Ending }
  /** A clock ran out. `rest` is done when the run has ended on its server: until then the server is taken. */
  | { readonly _tag: "GivenUp"; readonly reason: Reason; readonly rest: Effect.Effect<Ending | undefined> }

/** What an attempt needs, and whom it tells. Listeners are synchronous and never wait. */
export interface Options {
  readonly backend: Backend
  readonly runId: RunId
  /** The run: it is submitted when it is listened to, and ends with its ending. */
  readonly events: Stream.Stream<ExecutionEvent>
  readonly clock: AttemptClock.Options
  /** Its events and our warnings, in order, a batch at a time; none after the decision. */
  readonly onEvents: (events: ReadonlyArray<ExecutionEvent>) => void
  /** A run that was given up a minute ago is still there. */
  readonly onCancelStuck: () => void
}

/** A timer that fires this late says that the event loop stood still, not that the server did. */
const stallMs = 1_000

/** A new event may bring a limit nearer than the one that was planned for: no sleep is longer. */
const askAgainMs = 5_000

const outOfTime = (verdict: AttemptClock.Verdict): Reason | undefined => {
  switch (verdict._tag) {
    case "TimedOut":
      return verdict.reason
    case "TotalTimeout":
      return verdict
    case "Warn":
      return undefined
  }
}

/** Cancels a run until it has ended, and tells when that takes a minute. */
const cancelUntilOver = Effect.fnUntraced(function*({ backend, onCancelStuck, runId }: Options) {
  const every = Duration.toMillis(Defaults.timeouts.cancelRepeat)
  const stuckAfter = Duration.toMillis(Defaults.timeouts.cancelStuck)
  for (let waited = 0;; waited += every) {
    yield* Effect.ignore(backend.cancel(runId))
    yield* Effect.sleep(every)
    if (waited < stuckAfter && waited + every >= stuckAfter) onCancelStuck()
  }
})

/**
 * Runs it. The run's own fiber lives in the scope given here, which is to outlive the decision: the pool's. Interrupting
 * this effect does to the run what the request says.
 */
export const run = Effect.fnUntraced(function*(
  options: Options,
  scope: Scope.Scope
): Effect.fn.Return<Decided> {
  const { backend, onEvents, runId } = options
  const clock = yield* Clock.Clock
  const now = () => readTime(clock).now
  /** Warnings of ours among the run's events: those that come later move up by so many. */
  let warnings = 0
  let last: ExecutionEvent | undefined
  const state = AttemptClock.init(options.clock, now())
  const ended = yield* Deferred.make<Ending | undefined>()
  let decided = false
  let ending: Ending | undefined

  const take = (came: ReadonlyArray<ExecutionEvent>) => {
    const at = now()
    const events = warnings === 0 ? came : came.map((event) => ({ ...event, sequence: event.sequence + warnings }))
    for (const event of events) {
      AttemptClock.step(state, event, at)
      if (isEnding(event)) ending = event
    }
    last = events.at(-1) ?? last
    if (!decided) onEvents(events)
  }
  const warn = (nodeId: string | null, silentMs: number) => {
    if (last === undefined || decided) return
    const { at } = readTime(clock)
    warnings++
    last = {
      _tag: "Warning",
      runId,
      backend: last.backend,
      sequence: last.sequence + 1,
      at,
      elapsed: last.elapsed + Math.max(0, at - last.at),
      code: "silent",
      message: `${nodeId === null ? "the run" : `node ${nodeId}`} has said nothing for ${silentMs} ms`,
      nodeIds: nodeId === null ? [] : [nodeId]
    }
    onEvents([last])
  }
  const stream = yield* Effect.forkIn(
    Effect.onExit(
      Stream.runForEachArray(options.events, (events) => Effect.sync(() => take(events))),
      () => Effect.sync(() => Deferred.doneUnsafe(ended, Effect.succeed(ending)))
    ),
    scope,
    { startImmediately: true }
  )

  /**
   * Whether the run waits behind others on its server, which is nobody's fault. Where the server cannot be asked nobody
   * knows, and how long to wait for an answer is the client's to say.
   */
  const isBehind = Effect.map(
    Effect.result(backend.status(runId)),
    (answer) =>
      answer._tag === "Failure" || answer.success._tag === "Running" ||
      (answer.success._tag === "Waiting" && answer.success.ahead !== null && answer.success.ahead > 0)
  )

  const watch = Effect.gen(function*() {
    for (;;) {
      const wait = AttemptClock.next(state)
      if (wait === undefined) {
        yield* Effect.sleep(askAgainMs)
        continue
      }
      const pause = Math.max(1, Math.ceil(Math.min(wait.at - now(), askAgainMs)))
      const planned = now() + pause
      yield* Effect.sleep(pause)
      if (now() - planned > stallMs) AttemptClock.rearm(state, now())
      const verdict = AttemptClock.due(state, now())
      if (verdict === undefined) continue
      if (verdict._tag === "Warn") {
        warn(verdict.nodeId, verdict.silentMs)
        continue
      }
      const reason = outOfTime(verdict)
      if (reason?._tag === "StartTimeout" && (yield* isBehind)) {
        AttemptClock.rearm(state, now())
        continue
      }
      if (reason !== undefined) return reason
    }
  })

  const first = yield* Effect.raceFirst(
    Effect.as(Deferred.await(ended), undefined),
    watch
  ).pipe(Effect.onInterrupt(() => Fiber.interrupt(stream)))
  decided = true
  if (ending !== undefined) return { _tag: "Ended", ending }
  const reason: Reason = first ?? { _tag: "Closed" }
  const rest = Effect.raceFirst(Deferred.await(ended), cancelUntilOver(options))
  return { _tag: "GivenUp", reason, rest }
})
