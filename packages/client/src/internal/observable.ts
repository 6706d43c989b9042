import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Observable } from "../Observable.ts"

/** A value that only its owner changes. */
interface Writable<A> extends Observable<A> {
  readonly set: (value: A) => void
}

/** Latest wins: a reader that sleeps through changes finds the last one. Without readers it is the value alone. */
export const make = <A>(initial: A): Writable<A> => {
  let value = initial
  let version = 0
  let waiting: Array<() => void> = []
  const changedSince = (seen: number) =>
    Effect.callback<void>((resume) => {
      if (version !== seen) return resume(Effect.void)
      const wake = () => resume(Effect.void)
      waiting.push(wake)
      return Effect.sync(() => {
        waiting = waiting.filter((other) => other !== wake)
      })
    })
  const next = (seen: number): Effect.Effect<readonly [A, number]> =>
    Effect.map(changedSince(seen), () => [value, version])
  return {
    get: Effect.sync(() => value),
    changes: Stream.suspend(() =>
      Stream.paginate(
        -1,
        (seen: number) => Effect.map(next(seen), ([latest, at]) => [[latest], Option.some(at)] as const)
      )
    ),
    set: (next) => {
      if (next === value) return
      value = next
      version++
      const woken = waiting
      waiting = []
      for (const wake of woken) wake()
    }
  }
}
