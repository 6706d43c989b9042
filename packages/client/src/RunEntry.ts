/** One run with those who listen to it: the machine, what it said so far, and a buffer for each subscriber. */
import * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import { type Ending, type ExecutionEvent, isEnding, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { isArrayNonEmpty } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import type { State } from "./RunState.ts"
import * as RunWatch from "./RunWatch.ts"

interface Subscriber {
  readonly buffer: EventBuffer.State
  wake: (() => void) | undefined
}

/** A run of this client. */
export interface RunEntry {
  readonly state: State
  /** What happens on the server if the client closes first. */
  readonly onClose: "cancel" | "leave"
  readonly subscribers: Set<Subscriber>
  /** Lifecycle events for those who come later, oldest first. */
  readonly log: Array<ExecutionEvent>
  forgotten: number
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
  subscribers: new Set(),
  log: [],
  forgotten: 0,
  accepted: Deferred.makeUnsafe(),
  ended: Deferred.makeUnsafe(),
  posted: Deferred.makeUnsafe(),
  wake: Latch.makeUnsafe(false),
  plannedAt: Number.POSITIVE_INFINITY
})

const remember = (entry: RunEntry, event: ExecutionEvent): void => {
  entry.log.push(event)
  if (entry.log.length > Defaults.limits.replay) {
    entry.log.shift()
    entry.forgotten++
  }
}

/** Hands events to everybody who listens. Never waits: a slow subscriber loses, by its own options, and is told. */
export const publish = (entry: RunEntry, events: ReadonlyArray<ExecutionEvent>): void => {
  if (events.length === 0) return
  for (const event of events) {
    if (isTransient(event)) continue
    remember(entry, event)
    if (event._tag === "Submitted") Deferred.doneUnsafe(entry.accepted, Effect.void)
    else if (isEnding(event)) {
      Deferred.doneUnsafe(entry.accepted, Effect.void)
      Deferred.doneUnsafe(entry.ended, Effect.succeed(event))
    }
  }
  for (const subscriber of entry.subscribers) {
    EventBuffer.offer(subscriber.buffer, events)
    if (EventBuffer.isEmpty(subscriber.buffer)) continue
    const { wake } = subscriber
    subscriber.wake = undefined
    wake?.()
  }
  if (entry.state.phase === "ended" || RunWatch.agenda(entry.state.watch).at < entry.plannedAt) entry.wake.openUnsafe()
}

const forgottenGap = (entry: RunEntry, first: ExecutionEvent): ExecutionEvent => ({
  _tag: "Gap",
  runId: first.runId,
  backend: first.backend,
  sequence: first.sequence - 1,
  at: first.at,
  elapsed: first.elapsed,
  cause: "consumer",
  lifecycle: entry.forgotten,
  progress: 0,
  previews: 0
})

const subscribe = (entry: RunEntry, options: Partial<EventBuffer.Options>): Subscriber => {
  const subscriber: Subscriber = { buffer: EventBuffer.init(options), wake: undefined }
  const first = entry.log[0]
  if (first !== undefined && entry.forgotten > 0) EventBuffer.offer(subscriber.buffer, [forgottenGap(entry, first)])
  EventBuffer.offer(subscriber.buffer, entry.log)
  entry.subscribers.add(subscriber)
  return subscriber
}

/**
 * The events of a run from its beginning, for as many subscribers as there are. Ends after the ending; ending it earlier
 * changes nothing for the run.
 */
export const events = (
  entry: RunEntry,
  options: Partial<EventBuffer.Options> = {}
): Stream.Stream<ExecutionEvent> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => subscribe(entry, options)),
        (subscriber) => Effect.sync(() => entry.subscribers.delete(subscriber))
      ),
      fromSubscriber
    )
  )

const fromSubscriber = (subscriber: Subscriber): Stream.Stream<ExecutionEvent> => {
  let over = false
  const waitForEvent = Effect.callback<void>((resume) => {
    if (!EventBuffer.isEmpty(subscriber.buffer)) return resume(Effect.void)
    subscriber.wake = () => resume(Effect.void)
    return Effect.sync(() => {
      subscriber.wake = undefined
    })
  })
  const pull = Effect.suspend(() => {
    if (over) return Cause.done()
    return Effect.flatMap(waitForEvent, () => {
      const taken = EventBuffer.take(subscriber.buffer)
      const last = taken.at(-1)
      over = last !== undefined && isEnding(last)
      return isArrayNonEmpty(taken) ? Effect.succeed(taken) : Effect.die("woken without an event")
    })
  })
  return Stream.fromPull(Effect.succeed(pull))
}
