/** One timer for many waits: a fiber that sleeps until the earliest of them, however many there are. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import { readTime } from "./internal/time.ts"

/** Waits by the latch that ends them; at most one each. */
export interface Alarm {
  /** Opens the latch at this monotonic millisecond; a later call moves it. */
  readonly set: (latch: Latch.Latch, at: number) => void
  readonly clear: (latch: Latch.Latch) => void
}

/** An alarm whose fiber is forked by its owner, and ends with it. Until the first wait there is no fiber, and without waits no timer. */
export const make = Effect.fnUntraced(function*(
  fork: (effect: Effect.Effect<never>) => unknown
): Effect.fn.Return<Alarm> {
  const clock = yield* Clock.Clock
  let running = false
  const waits = new Map<Latch.Latch, number>()
  const earlier = Latch.makeUnsafe(false)
  let target = Number.POSITIVE_INFINITY

  const ring = () => {
    const { now } = readTime(clock)
    for (const [latch, at] of waits) {
      if (at > now) continue
      waits.delete(latch)
      latch.openUnsafe()
    }
  }
  const sleep = Effect.suspend(() => {
    target = Math.min(...waits.values())
    earlier.closeUnsafe()
    return target === Number.POSITIVE_INFINITY
      ? Latch.await(earlier)
      : Effect.timeoutOption(Latch.await(earlier), Math.max(1, Math.ceil(target - readTime(clock).now)))
  })
  return {
    set: (latch, at) => {
      waits.set(latch, at)
      if (at < target) earlier.openUnsafe()
      if (running) return
      running = true
      fork(Effect.forever(Effect.andThen(sleep, Effect.sync(ring))))
    },
    clear: (latch) => {
      waits.delete(latch)
    }
  }
})
