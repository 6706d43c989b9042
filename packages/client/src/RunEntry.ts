/** One run with those who listen to it: the machine, what it said so far, and a buffer for each subscriber. */
import * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import * as EventLog from "@effect-comfyui/execution/EventLog"
import { type Ending, type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import type { State } from "./RunState.ts"
import * as RunWatch from "./RunWatch.ts"

/** A run of this client. */
export interface RunEntry {
  readonly state: State
  /** What happens on the server if the client closes first. */
  readonly onClose: "cancel" | "leave"
  readonly log: EventLog.EventLog<ExecutionEvent>
  /** Set when the server has accepted the run, or the run has ended. */
  readonly accepted: Deferred.Deferred<void>
  readonly ended: Deferred.Deferred<Ending>
  /** Set when the POST is over, whatever came of it. */
  readonly posted: Deferred.Deferred<void>
  /** Opened when the driver should look again before the time it planned. */
  readonly wake: Latch.Latch
  plannedAt: number
}

export const make = (state: State, onClose: RunEntry["onClose"]): RunEntry => ({
  state,
  onClose,
  log: EventLog.make(EventBuffer.ofRun, Defaults.limits.replay),
  accepted: Deferred.makeUnsafe(),
  ended: Deferred.makeUnsafe(),
  posted: Deferred.makeUnsafe(),
  wake: Latch.makeUnsafe(false),
  plannedAt: Number.POSITIVE_INFINITY
})

/** Hands events to everybody who listens. Never waits: a slow subscriber loses, by its own options, and is told. */
export const publish = (entry: RunEntry, events: ReadonlyArray<ExecutionEvent>): void => {
  if (events.length === 0) return
  for (const event of events) {
    if (event._tag === "Submitted") Deferred.doneUnsafe(entry.accepted, Effect.void)
    else if (isEnding(event)) {
      Deferred.doneUnsafe(entry.accepted, Effect.void)
      Deferred.doneUnsafe(entry.ended, Effect.succeed(event))
    }
  }
  EventLog.publish(entry.log, events)
  if (entry.state.phase === "ended" || RunWatch.agenda(entry.state.watch).at < entry.plannedAt) entry.wake.openUnsafe()
}

/**
 * The events of a run from its beginning, for as many subscribers as there are. Ends after the ending; ending it earlier
 * changes nothing for the run.
 */
export const events = (
  entry: RunEntry,
  options: Partial<EventBuffer.Options> = {}
): Stream.Stream<ExecutionEvent> => EventLog.events(entry.log, options)
