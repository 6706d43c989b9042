// From samples to a verdict; pure, the resampling has its own seeded numbers.
import type { Case, Goal, Sample } from "./contract.ts"

export interface Verdict extends Sample {
  readonly goal: Goal
  readonly ok: boolean
  /** 90 % of the resampled medians of the ratio lie in it. */
  readonly interval: readonly [low: number, high: number]
}

const sorted = (values: ReadonlyArray<number>): ReadonlyArray<number> => values.toSorted((a, b) => a - b)

/** The value below which the share `q` (0 to 1) lies, between neighbours in proportion; NaN of nothing. */
export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const order = sorted(values)
  const place = (order.length - 1) * q
  const low = order[Math.floor(place)] ?? Number.NaN
  const high = order[Math.ceil(place)] ?? Number.NaN
  return low === high ? low : low + (high - low) * (place - Math.floor(place))
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

/** Numbers from 0 to 1, always the same ones (mulberry32). */
const numbers = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
}

/** Where 90 % of the medians lie when the values are drawn again, with replacement, 2,000 times. */
export const bootstrap = (values: ReadonlyArray<number>): readonly [low: number, high: number] => {
  const next = numbers(1)
  const medians = Array.from(
    { length: 2000 },
    () => median(values.map(() => values[Math.floor(next() * values.length)] ?? Number.NaN))
  )
  return [quantile(medians, 0.05), quantile(medians, 0.95)]
}

export const reached = (goal: Goal, ratio: number, ours: number): boolean => {
  if ("max" in goal) return ratio <= goal.max
  if ("min" in goal) return ratio >= goal.min
  return "maxAbsolute" in goal ? ours <= goal.maxAbsolute : ours >= goal.minAbsolute
}

const widest = 0.03

/** Whether the goal can be told from noise this small: a ratio between 0.95 and 1.2. */
export const canBeClose = (goal: Goal): boolean => {
  const bound = "max" in goal ? goal.max : "min" in goal ? goal.min : Number.NaN
  return bound >= 0.95 && bound <= 1.2
}

export const rounds = ({ noise, rounds = 5 }: Pick<Case, "noise" | "rounds">): number =>
  noise === "close" ? 30 : Math.max(5, rounds)

export const judge = ({ goal, noise }: Pick<Case, "goal" | "noise">, samples: ReadonlyArray<Sample>): Verdict => {
  const ratio = median(samples.map((sample) => sample.ratio))
  const ours = median(samples.map((sample) => sample.ours))
  const reference = median(samples.map((sample) => sample.reference))
  const interval = bootstrap(samples.map((sample) => sample.ratio))
  const [low, high] = interval
  const narrow = (high - low) / 2 < widest * ratio
  const ok = noise === "wide"
    ? reached(goal, ratio, ours)
    : narrow && reached(goal, "max" in goal ? low : high, ours)
  return { ours, reference, ratio, goal, ok, interval }
}
