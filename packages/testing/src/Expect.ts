/**
 * Assertions on the events of a run that read well with vitest: each gives back what it looked for, typed, and shows the
 * run's trace when it fails. Needs `@effect/vitest`; not in the barrel.
 *
 * ```ts
 * const events = yield* ComfyTest.advanceWhile(Stream.runCollect(client.run(workflow)))
 * const { outputs } = expectCompleted(events)
 * ```
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import {
  type Cancelled,
  type Completed,
  type Ending,
  type ExecutionEvent,
  isEnding,
  isTransient
} from "@effect-comfyui/execution/ExecutionEvent"
import { assert } from "@effect/vitest"
import * as Trace from "./Trace.ts"

/** The lines of a run, the same at every run: for `assert.deepStrictEqual` and snapshots. See `Trace.trace`. */
export const trace = Trace.trace

const fail = (expected: string, events: ReadonlyArray<ExecutionEvent>): never =>
  assert.fail(`expected ${expected}; the run:\n${trace(events).join("\n")}`)

/**
 * Checks what holds for every run: one ending, which is the last event; lifecycle events numbered from 0 without holes,
 * transient ones by the one before; one run id and one backend throughout. Gives back the ending.
 */
export const expectOneEnding = (events: ReadonlyArray<ExecutionEvent>): Ending => {
  const endings = events.filter(isEnding)
  const [ending] = endings
  if (ending === undefined || endings.length !== 1) return fail(`one ending, found ${endings.length}`, events)
  if (events.at(-1) !== ending) return fail("the ending as the last event", events)
  let sequence = -1
  for (const event of events) {
    if (!isTransient(event)) sequence++
    if (event.sequence !== sequence) {
      return fail(`${event._tag} with sequence ${sequence}, found ${event.sequence}`, events)
    }
    if (event.runId !== ending.runId || event.backend !== ending.backend) {
      return fail(`events of one run on one backend, found ${event._tag} of ${event.runId}`, events)
    }
  }
  return ending
}

/** The run succeeded: its ending, with outputs. Checks {@link expectOneEnding} too. */
export const expectCompleted = (events: ReadonlyArray<ExecutionEvent>): Completed => {
  const ending = expectOneEnding(events)
  return ending._tag === "Completed" ? ending : fail("Completed", events)
}

/** The run failed for a reason of this tag: the reason. Checks {@link expectOneEnding} too. */
export const expectFailed = <Tag extends Reason["_tag"]>(
  events: ReadonlyArray<ExecutionEvent>,
  tag: Tag
): Extract<Reason, { readonly _tag: Tag }> => {
  const ending = expectOneEnding(events)
  if (ending._tag !== "Failed") return fail(`Failed(${tag})`, events)
  const { reason } = ending.error
  return isReason(reason, tag) ? reason : fail(`Failed(${tag})`, events)
}

const isReason = <Tag extends Reason["_tag"]>(
  reason: Reason,
  tag: Tag
): reason is Extract<Reason, { readonly _tag: Tag }> => reason._tag === tag

/** The run was cancelled, by us or, where that is asked, by somebody else: its ending. */
export const expectCancelled = (
  events: ReadonlyArray<ExecutionEvent>,
  by?: "us" | "elsewhere"
): Cancelled => {
  const ending = expectOneEnding(events)
  if (ending._tag !== "Cancelled") return fail("Cancelled", events)
  return by === undefined || ending.by === by ? ending : fail(`Cancelled by ${by}`, events)
}
