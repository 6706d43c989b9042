// The clocks of an attempt as the pool sets them, but for what it has learnt.
import type * as AttemptClock from "@effect-comfyui/pool/AttemptClock"

export const minute = 60_000

export const patient: AttemptClock.Options = {
  startMs: minute,
  firstProgressMs: 30 * minute,
  betweenStepsMs: 5 * minute,
  stepFactor: 20,
  warnMs: 5 * minute,
  totalMs: Number.POSITIVE_INFINITY,
  known: undefined,
  nodeIdleMs: undefined
}
