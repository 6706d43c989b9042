/**
 * Quantiles of durations in bounded memory: counts in buckets that grow by a constant factor, the same ones for everybody,
 * so that merging is adding and loses nothing.
 */
import * as Schema from "effect/Schema"

/** A quantile is off by at most this share of itself, between 1 µs and 30 days; beyond, it is one of these bounds. */
export const relativeError = 0.02

const smallestMs = 0.001
const largestMs = 30 * 24 * 3_600_000
const factor = (1 + relativeError) / (1 - relativeError)
const width = Math.log(factor)

/** Of a duration: bucket 0 ends at 1 µs, the last one holds what is longer than 30 days. */
const bucketOf = (ms: number): number =>
  ms <= smallestMs ? 0 : Math.ceil(Math.log(Math.min(ms, largestMs) / smallestMs) / width)

/** The value that is off by the same share from both ends of its bucket. */
const valueOf = (bucket: number): number => bucket === 0 ? 0 : smallestMs * factor ** bucket * 2 / (1 + factor)

/** At most so many buckets: 716. */
export const maxBuckets = bucketOf(largestMs) + 1

/**
 * How many durations, their sum in whole microseconds, and how many are in each bucket. Whole numbers, so that the order of
 * additions changes nothing: exact up to 285 years in all. Owned and updated in place by whoever adds.
 */
export interface Sketch {
  count: number
  sumUs: number
  readonly buckets: Map<number, number>
}

/** A sketch as JSON: buckets as pairs of number and count, in order. */
export const Stored = Schema.Struct({
  count: Schema.Int,
  sumUs: Schema.Int,
  buckets: Schema.Array(Schema.Tuple([Schema.Int, Schema.Int]))
})
export type Stored = typeof Stored.Type

/** A sketch of nothing. */
export const init = (): Sketch => ({ count: 0, sumUs: 0, buckets: new Map() })

/** Adds a duration in milliseconds; what is negative or no number changes nothing. */
export const add = (sketch: Sketch, ms: number): void => {
  if (!(ms >= 0 && ms < Infinity)) return
  const bucket = bucketOf(ms)
  sketch.count++
  sketch.sumUs += Math.round(Math.min(ms, largestMs) * 1_000)
  sketch.buckets.set(bucket, (sketch.buckets.get(bucket) ?? 0) + 1)
}

/** Adds all of `other`, which stays as it is. */
export const merge = (into: Sketch, other: Sketch): void => {
  into.count += other.count
  into.sumUs += other.sumUs
  for (const [bucket, count] of other.buckets) into.buckets.set(bucket, (into.buckets.get(bucket) ?? 0) + count)
}

/** The mean in milliseconds; null of nothing. */
export const meanMs = ({ count, sumUs }: Sketch): number | null => count === 0 ? null : sumUs / count / 1_000

/** The duration that the share `q` (0 to 1) of all does not exceed, in milliseconds; null of nothing. */
export const quantileMs = (sketch: Sketch, q: number): number | null => {
  const enough = Math.max(1, q * sketch.count)
  let below = 0
  for (const bucket of [...sketch.buckets.keys()].toSorted((a, b) => a - b)) {
    below += sketch.buckets.get(bucket) ?? 0
    if (below >= enough) return valueOf(bucket)
  }
  return null
}

/** The sketch as plain data: equal for equal sketches, whatever was added when. */
export const toStored = ({ buckets, count, sumUs }: Sketch): Stored => ({
  count,
  sumUs,
  buckets: [...buckets].toSorted(([a], [b]) => a - b)
})

/** Undefined where the counts do not add up, or a bucket is none of these. */
export const fromStored = ({ buckets, count, sumUs }: Stored): Sketch | undefined => {
  const sound = buckets.every(([bucket, n]) => bucket >= 0 && bucket < maxBuckets && n > 0) && sumUs >= 0 &&
    buckets.reduce((sum, [, n]) => sum + n, 0) === count
  return sound ? { count, sumUs, buckets: new Map(buckets) } : undefined
}
