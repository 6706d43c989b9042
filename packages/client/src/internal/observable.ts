import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Observable } from "../Observable.ts"

/** A value that only its owner changes. */
export interface Writable<A> extends Observable<A> {
  readonly set: (value: A) => Effect.Effect<void>
}

/** Latest wins: a reader that sleeps through changes finds the last one. */
export const make = Effect.fnUntraced(function*<A>(initial: A) {
  let value = initial
  const hub = yield* PubSub.sliding<A>({ capacity: 1, replay: 1 })
  const writable: Writable<A> = {
    get: Effect.sync(() => value),
    changes: Stream.unwrap(Effect.sync(() => {
      let last: A | undefined
      return Stream.concat(Stream.sync(() => value), Stream.fromPubSub(hub)).pipe(
        Stream.filter((next) => {
          const isNew = next !== last
          last = next
          return isNew
        })
      )
    })),
    set: (next) =>
      Effect.suspend(() => {
        value = next
        return PubSub.publish(hub, next)
      }).pipe(Effect.asVoid)
  }
  return writable
})
