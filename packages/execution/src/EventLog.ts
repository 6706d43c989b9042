/**
 * What was said so far, for those who listen now and those who come later: lifecycle events are kept up to a cap, and
 * each subscriber has a buffer of its own. Saying something never waits for anybody.
 */
import { isArrayNonEmpty } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as EventBuffer from "./EventBuffer.ts"
import { isTransient } from "./ExecutionEvent.ts"

interface Subscriber<E> {
  readonly buffer: EventBuffer.State<E>
  wake: (() => void) | undefined
}

/** Owned by whoever publishes. */
export interface EventLog<E> {
  readonly kind: EventBuffer.Kind<E>
  /** Lifecycle events kept for later subscribers; the oldest go first, and a `Gap` says how many. */
  readonly capacity: number
  /** Made for the first: most logs wait for a long time without one. */
  subscribers: Set<Subscriber<E>> | undefined
  /** Oldest first. */
  kept: Array<E>
  forgotten: number
}

/** Never written to: the first event makes a list of its own, of one. */
const nothing: Array<never> = []

export const make = <E>(kind: EventBuffer.Kind<E>, capacity: number): EventLog<E> => ({
  kind,
  capacity,
  subscribers: undefined,
  kept: nothing,
  forgotten: 0
})

const keep = <E>(log: EventLog<E>, event: E): void => {
  const run = log.kind.ofRun(event)
  if (run !== undefined && isTransient(run)) return
  if (log.kept.length === 0) log.kept = [event]
  else log.kept.push(event)
  if (log.kept.length > log.capacity) {
    log.kept.shift()
    log.forgotten++
  }
}

/** Hands events to everybody who listens. Never waits: a slow subscriber loses, by its own options, and is told. */
export const publish = <E>(log: EventLog<E>, events: ReadonlyArray<NoInfer<E>>): void => {
  for (const event of events) keep(log, event)
  if (log.subscribers === undefined) return
  for (const subscriber of log.subscribers) {
    EventBuffer.offer(subscriber.buffer, events)
    if (EventBuffer.isEmpty(subscriber.buffer)) continue
    const { wake } = subscriber
    subscriber.wake = undefined
    wake?.()
  }
}

/**
 * Keeps no more than so many of the latest, and so many bytes of them by `sizeOf`, for those who come from now on. The last
 * one stays in any case: it may be the ending.
 */
export const trim = <E>(
  log: EventLog<E>,
  most: { readonly events: number; readonly bytes: number },
  sizeOf: (event: NoInfer<E>) => number
): void => {
  let surplus = log.kept.length
  for (let bytes = 0; surplus > 0; surplus--) {
    const event = log.kept[surplus - 1]
    if (event !== undefined) bytes += sizeOf(event)
    const kept = log.kept.length - surplus
    if (kept > 0 && (kept >= most.events || bytes > most.bytes)) break
  }
  if (surplus <= 0) return
  log.kept.splice(0, surplus)
  log.forgotten += surplus
}

const subscribe = <E>(log: EventLog<E>, options: Partial<EventBuffer.Options>): Subscriber<E> => {
  const buffer = EventBuffer.init(log.kind, options)
  EventBuffer.lost(buffer, log.forgotten)
  EventBuffer.offer(buffer, log.kept)
  const subscriber: Subscriber<E> = { buffer, wake: undefined }
  log.subscribers ??= new Set()
  log.subscribers.add(subscriber)
  return subscriber
}

/**
 * The events from the beginning, for as many subscribers as there are. Ends after the ending; to end it earlier changes
 * nothing for the others.
 */
export const events = <E>(log: EventLog<E>, options: Partial<EventBuffer.Options> = {}): Stream.Stream<E> =>
  Stream.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => subscribe(log, options)),
        (subscriber) => Effect.sync(() => log.subscribers?.delete(subscriber))
      ),
      fromSubscriber
    )
  )

const fromSubscriber = <E>(subscriber: Subscriber<E>): Stream.Stream<E> => {
  const { kind } = subscriber.buffer
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
      over = last !== undefined && kind.isEnding(last)
      return isArrayNonEmpty(taken) ? Effect.succeed(taken) : Effect.die("woken without an event")
    })
  })
  return Stream.fromPull(Effect.succeed(pull))
}
