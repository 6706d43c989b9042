/** Folds as sinks and streams. */
import * as Sink from "effect/Sink"
import * as Stream from "effect/Stream"

/** A fold whose `step` updates the state it was given. */
interface Fold<S, Event, A> {
  readonly init: () => S
  readonly step: (state: S, event: Event) => S
  readonly snapshot: (state: S) => A
}

/** What the fold of all events says in the end. */
export const sink = <S, Event, A>({ init, snapshot, step }: Fold<S, Event, A>): Sink.Sink<A, Event> =>
  Sink.map(
    Sink.reduceArray(init, (state, events: ReadonlyArray<Event>) =>
      events.reduce((state, event) => step(state, event), state)),
    snapshot
  )

/** What the fold says by now. Read when it is asked for: nothing waits for a slow reader, nor is kept for one. */
export const live = <S, Event, A, E, R>(
  events: Stream.Stream<Event, E, R>,
  { init, snapshot, step }: Fold<S, Event, A>
): Stream.Stream<A, E, R> =>
  Stream.suspend(() => {
    const state = init()
    return events.pipe(
      Stream.mapArray((batch) => [batch.reduce((state, event) => step(state, event), state)] as const),
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.map(snapshot)
    )
  })
