/** One instant on both clocks, as machines without a clock are told it. */
import type { Clock } from "effect/Clock"

/** In milliseconds: `now` monotonic with an arbitrary origin, `at` epoch. */
export interface Time {
  readonly now: number
  readonly at: number
}

/** This instant. */
export const readTime = (clock: Clock): Time => ({
  now: Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
  at: clock.currentTimeMillisUnsafe()
})
