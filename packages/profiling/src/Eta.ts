/**
 * When a run is thought to end: what runs like it took, less what it took so far, with an interval. Pure; whether eight of
 * ten really end within it is for `Calibration` to see to.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Schema from "effect/Schema"
import * as Estimates from "./Estimates.ts"

/** Milliseconds from now: as likely more as less, and the ends of the interval that is to hold eight of ten. */
export const Span = Schema.Struct({ lowMs: Schema.Finite, expectedMs: Schema.Finite, highMs: Schema.Finite })
export type Span = typeof Span.Type

/** A run that is to begin, or goes on. */
export interface Running {
  readonly server: BackendId
  readonly key: AffinityKey
  readonly cold: boolean
  /** Milliseconds since its start. */
  readonly elapsedMs: number
  /** How much of its work is done, 0 to 1, without what was cached; 0 where nobody knows. */
  readonly done: number
  /** When it had done so much, milliseconds since its start: between two steps nothing is told. */
  readonly doneAtMs: number
  /** What its nodes are thought to take together, as `Estimates.ofGraph` says; null where nobody knows. */
  readonly expectedMs: number | null
}

/** Fewer samples of a key say less than its average with a wide margin. */
const leastSamples = 5

/** From so many samples on a tenth of them is one at least. */
const fullSamples = 19

/** How many times more or less, where there is an average, and where there is none. */
const [vague, unknown] = [1.6, 2.5]

/** What runs took, in order, in units of `scale` milliseconds. */
interface Seen {
  readonly sorted: Float32Array
  readonly scale: number
}

const ofSeen = ({ scale, sorted }: Seen, elapsedMs: number): Span | undefined => {
  let from = 0
  while (from < sorted.length && (sorted[from] ?? 0) * scale <= elapsedMs) from++
  const left = sorted.length - from
  if (left === 0) return undefined
  const at = (share: number): number => {
    const rank = Math.min(left, Math.max(1, Math.ceil(share * (left + 1))))
    return (sorted[from + rank - 1] ?? 0) * scale
  }
  const margin = left < fullSamples ? 1 / (left + 1) : 0
  return {
    lowMs: Math.max(elapsedMs, at(0.1) * (1 - margin)),
    expectedMs: at(0.5),
    highMs: at(0.9) * (1 + margin)
  }
}

/** A run that takes longer than any before it goes on for some of the time that it took. */
const overdue = (elapsedMs: number): Span => ({
  lowMs: elapsedMs,
  expectedMs: elapsedMs * 1.1,
  highMs: elapsedMs * 1.5
})

const ofAverage = (meanMs: number, factor: number, elapsedMs: number): Span => {
  if (meanMs * factor <= elapsedMs) return overdue(elapsedMs)
  return {
    lowMs: Math.max(elapsedMs, meanMs / factor),
    expectedMs: Math.max(elapsedMs * 1.1, meanMs),
    highMs: Math.max(elapsedMs * 1.5, meanMs * factor)
  }
}

/** How far apart they are. */
const spread = ({ sorted }: Seen): number => {
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0
  return at(0.1) <= 0 ? Number.POSITIVE_INFINITY : at(0.9) / at(0.1)
}

/** Times of the key, or what such runs took beside what was expected of their nodes: whichever says more. */
const seen = (state: Estimates.State, { cold, expectedMs, key, server }: Running): Seen | undefined => {
  const times = Estimates.times(state, server, key, cold, leastSamples)
  const plain = times === undefined
    ? undefined
    : { sorted: times.sorted, scale: times.of === "pair" ? 1 : Estimates.speedOf(state, server) }
  const ratios = expectedMs === null ? undefined : Estimates.ratios(state, key, leastSamples)
  if (ratios === undefined || expectedMs === null) return plain
  const byNodes = { sorted: ratios, scale: expectedMs }
  return plain === undefined || spread(byNodes) < spread(plain) ? byNodes : plain
}

const total = (state: Estimates.State, running: Running): Span => {
  const { cold, elapsedMs, expectedMs, key, server } = running
  const known = seen(state, running)
  if (known !== undefined) return ofSeen(known, elapsedMs) ?? overdue(elapsedMs)
  const { coldMs, samples, warmMs } = Estimates.estimate(state, server, key)
  const meanMs = samples > 0 ? cold ? coldMs : warmMs : expectedMs ?? (cold ? coldMs : warmMs)
  return ofAverage(meanMs, samples > 0 || expectedMs !== null ? vague : unknown, elapsedMs)
}

/** A pace is not to be had from less. */
const leastDone = 0.001

/** Its own pace, give or take. */
const [faster, slower] = [0.75, 1.35]

/**
 * How long the run goes on. What it has done soon counts for more than what others took: at the beginning they say how long
 * it takes, at the end its own pace does.
 */
export const ofRun = (state: Estimates.State, running: Running): Span => {
  const { doneAtMs, elapsedMs } = running
  const done = running.done < leastDone ? 0 : Math.min(running.done, 1)
  const span = total(state, running)
  const others = (1 - done) ** 3
  const own = done === 0 ? 0 : doneAtMs * (1 - done) / done
  const left = (totalMs: number, pace: number): number =>
    others * Math.max(0, totalMs - elapsedMs) + (1 - others) * Math.max(0, own * pace - (elapsedMs - doneAtMs))
  return { lowMs: left(span.lowMs, faster), expectedMs: left(span.expectedMs, 1), highMs: left(span.highMs, slower) }
}

/** One after the other. */
export const plus = (a: Span, b: Span): Span => ({
  lowMs: a.lowMs + b.lowMs,
  expectedMs: a.expectedMs + b.expectedMs,
  highMs: a.highMs + b.highMs
})
