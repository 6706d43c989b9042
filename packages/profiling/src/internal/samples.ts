/** The last samples of something that takes time, and their running average. Milliseconds, or whatever was added. */
import * as Schema from "effect/Schema"

/** Samples that are kept. */
const kept = 64

/** Owned and updated in place. */
export interface Samples {
  count: number
  mean: number
  /** Grows to `kept`, then goes round. */
  ring: Float32Array
  /** Sorted when it was last asked for, and how many there were then. */
  sorted: Float32Array | undefined
  sortedAt: number
}

const first = 4

export const make = (): Samples => ({
  count: 0,
  mean: 0,
  ring: new Float32Array(first),
  sorted: undefined,
  sortedAt: 0
})

/** `weight` of the newest in the average, from 0 to 1; early ones weigh 1/n. */
export const add = (into: Samples, value: number, weight: number): void => {
  if (into.count === into.ring.length && into.count < kept) {
    const larger = new Float32Array(into.count * 2)
    larger.set(into.ring)
    into.ring = larger
  }
  into.ring[into.count % kept] = value
  into.count++
  into.mean += (value - into.mean) * Math.max(weight, 1 / into.count)
}

/** New samples among so many times their number change quantiles too little to sort again. */
const staleShare = 1 / 16

/** The last ones in order, at most a sixteenth behind. Not to be changed. */
export const sorted = (of: Samples): Float32Array => {
  if (of.sorted !== undefined && of.count - of.sortedAt < of.count * staleShare) return of.sorted
  of.sortedAt = of.count
  return of.sorted = of.ring.subarray(0, Math.min(of.count, kept)).toSorted()
}

/** From 0 to 1; 0 without a sample. */
export const quantile = (of: Samples, share: number): number => {
  const all = sorted(of)
  return all[Math.min(all.length - 1, Math.floor(share * all.length))] ?? 0
}

/** As JSON: the oldest first, to three digits. */
export const Stored = Schema.Struct({
  count: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  mean: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)),
  last: Schema.Array(Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))).check(Schema.isMaxLength(kept))
})
export type Stored = typeof Stored.Type

const round = (value: number): number => Math.round(value * 1000) / 1000

export const toStored = ({ count, mean, ring }: Samples): Stored => {
  const from = count > kept ? count % kept : 0
  const last = [...ring.subarray(from, Math.min(count, kept)), ...ring.subarray(0, from)]
  return { count, mean: round(mean), last: last.map(round) }
}

/** What they were; a count that is not that of the samples becomes it. */
export const fromStored = ({ count: said, last, mean }: Stored): Samples => {
  const count = last.length < kept ? last.length : Math.max(said, kept)
  const ring = new Float32Array(last.length <= first ? first : 2 ** Math.ceil(Math.log2(last.length)))
  last.forEach((value, index) => {
    ring[(count - last.length + index) % kept] = value
  })
  return { ...make(), count, mean, ring }
}
