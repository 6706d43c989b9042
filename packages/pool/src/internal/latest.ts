/** Something now, and whenever it has changed. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

/**
 * `get` now, and again after every batch of `news`: of what piled up meanwhile the latest is enough. It listens before it
 * looks, so that nothing falls between.
 */
export const latest = <A, N>(get: Effect.Effect<A>, news: PubSub.PubSub<N>): Stream.Stream<A> =>
  Stream.unwrap(
    Effect.map(PubSub.subscribe(news), (later) =>
      Stream.concat(
        Stream.fromEffect(get),
        Stream.mapArrayEffect(Stream.fromSubscription(later), () => Effect.map(get, (now) => [now] as const))
      ))
  )

/** `get` now, and each time it is asked again and is another: nothing is asked while nobody listens. Of plain data. */
export const polled = <A>(get: Effect.Effect<A>, every: Duration.Input): Stream.Stream<A> =>
  Stream.fromEffectSchedule(get, Schedule.spaced(every)).pipe(
    Stream.changesWith((a, b) => JSON.stringify(a) === JSON.stringify(b))
  )
