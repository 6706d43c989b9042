/** The two ways out of a run's stream into the error channel. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ExecutionError } from "./ExecutionError.ts"
import {
  type Cancelled,
  type Completed,
  type Ending,
  type ExecutionEvent,
  type Failed,
  isEnding
} from "./ExecutionEvent.ts"

/** What an ending means to somebody who wants the result: the success, or the error. */
export const fromEnding = (ending: Ending): Effect.Effect<Completed, ExecutionError> => {
  switch (ending._tag) {
    case "Completed":
      return Effect.succeed(ending)
    case "Failed":
      return Effect.fail(ending.error)
    case "Cancelled":
      return Effect.fail(cancelled(ending))
  }
}

const cancelled = (ending: Cancelled): ExecutionError =>
  new ExecutionError({
    reason: { _tag: "Cancelled", by: ending.by },
    runId: ending.runId,
    backend: ending.backend
  })

/** A stream that ended without an ending was cut by an operator such as `take`: nothing is known of the run. */
const cut = new ExecutionError({
  reason: { _tag: "ProtocolViolation", kind: "stream without an ending", excerpt: "" },
  runId: null,
  backend: null
})

/**
 * Runs the stream to its ending. This is the effect to retry: each try subscribes anew, which is one submission with a
 * fresh id. (`Stream.retry` is not: its schedule starts afresh with every first element, so it resubmits without end.)
 */
export const result = <E, R>(
  events: Stream.Stream<ExecutionEvent, E, R>
): Effect.Effect<Completed, ExecutionError | E, R> =>
  Effect.flatMap(
    Stream.runFold(events, (): Ending | undefined => undefined, (ending, event) => isEnding(event) ? event : ending),
    (ending) => ending === undefined ? Effect.fail(cut) : fromEnding(ending)
  )

/** The same events, where a bad ending leaves by the error channel instead of being the last element. */
export const orFail = <E, R>(
  events: Stream.Stream<ExecutionEvent, E, R>
): Stream.Stream<Exclude<ExecutionEvent, Failed | Cancelled>, ExecutionError | E, R> =>
  // Whole batches pass: the bad ending can only be the last of its batch.
  Stream.flatMap(Stream.chunks(events), (batch) => {
    const good = batch.filter((event) => event._tag !== "Failed" && event._tag !== "Cancelled")
    const last = batch.at(-1)
    const failure = last?._tag === "Failed" ? last.error : last?._tag === "Cancelled" ? cancelled(last) : undefined
    const passed = Stream.fromArray(good)
    return failure === undefined ? passed : Stream.concat(passed, Stream.fail(failure))
  })
