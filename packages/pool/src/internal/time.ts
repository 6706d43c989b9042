import type { Clock } from "effect/Clock"

/** One instant on both clocks, in milliseconds: `now` monotonic with an arbitrary origin, `at` epoch. */
export interface Time {
  readonly now: number
  readonly at: number
}

export const readTime = (clock: Clock): Time => ({
  now: Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000,
  at: clock.currentTimeMillisUnsafe()
})
