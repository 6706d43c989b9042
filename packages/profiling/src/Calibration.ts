/**
 * Makes intervals true: how the last predictions compare with what came decides how wide the next ones are, and whether
 * they are to be moved; and where more end beyond one end than should, that end goes out further. Whatever the model behind
 * them gets wrong, eight of ten end within in the long run. A fold: no clock, no randomness.
 */
import type { Span } from "./Eta.ts"

/**
 * The share of what is predicted that is to end before an interval, and after it. A little less than the tenth of which eight
 * of ten are left: whoever asks about a job that has waited for long asks about one that goes worse than most.
 */
const beyond = 0.08

/** Comparisons that are kept. */
const kept = 256

/** Owned by its driver; updated in place. Predictions that go wrong in different ways want one each. */
export interface State {
  /** Where within their intervals endings were: -1 at the low end, 0 where it was expected, 1 at the high end. */
  readonly places: Array<number>
  next: number
  /** The same in order, as it was so many comparisons ago; made when it is asked for. */
  sorted: ReadonlyArray<number>
  stale: number
  /** Which share of the places is left out at each end. */
  below: number
  above: number
}

/** What a right interval would show: a tenth of these is beyond each end. With each ending one goes, from all over. */
const ideal = Array.from({ length: 20 }, (_, index) => (index * 7 % 20 - 9.5) / 7.5)

export const init = (): State => ({
  places: [...ideal],
  next: 0,
  sorted: [],
  stale: kept,
  below: beyond,
  above: beyond
})

/** No interval is so narrow that what is beyond it could not be measured. */
const leastMs = 20

const down = ({ expectedMs, lowMs }: Span): number => Math.max(leastMs, expectedMs - lowMs)

const up = ({ expectedMs, highMs }: Span): number => Math.max(leastMs, highMs - expectedMs)

/** What is beyond this is as good as endless. */
const farthest = 1e6

/** How fast an end follows what ends beyond it. */
const pace = 0.02

const follow = (share: number, missed: boolean): number =>
  Math.min(Math.max(share + pace * (beyond - (missed ? 1 : 0)), 0), 2 * beyond)

/**
 * Takes what came of a prediction: `span` as it was before `adjust`, `said` as it was after. Milliseconds from when it was
 * made.
 */
export const step = (state: State, span: Span, said: Span, actualMs: number): State => {
  if (!Number.isFinite(actualMs) || actualMs < 0) return state
  const off = actualMs - span.expectedMs
  const place = off < 0 ? off / down(span) : off / up(span)
  // The first ones go into the places of the ideal ones; what is kept grows from then on.
  state.places[state.next] = Math.min(Math.max(place, -farthest), farthest)
  state.next = (state.next + 1) % kept
  state.stale++
  state.below = follow(state.below, actualMs < said.lowMs)
  state.above = follow(state.above, actualMs > said.highMs)
  return state
}

/** New ones among so many times their number change little: to sort is what costs most. */
const staleShare = 1 / 16

const inOrder = (state: State): ReadonlyArray<number> => {
  if (state.stale >= state.places.length * staleShare) {
    state.sorted = state.places.toSorted((a, b) => a - b)
    state.stale = 0
  }
  return state.sorted
}

/** The prediction as it would have been right for eight of ten of the last. */
export const adjust = (state: State, span: Span): Span => {
  const sorted = inOrder(state)
  const at = (share: number): number => {
    const rank = Math.min(sorted.length, Math.max(1, Math.ceil(share * (sorted.length + 1))))
    const place = sorted[rank - 1] ?? 0
    return Math.max(0, span.expectedMs + place * (place < 0 ? down(span) : up(span)))
  }
  const [lowMs, expectedMs, highMs] = [at(state.below), at(0.5), at(1 - state.above)]
  return { lowMs, expectedMs: Math.max(lowMs, expectedMs), highMs: Math.max(expectedMs, highMs) }
}
