import type { JobHead } from "../JobHead.ts"

/**
 * Jobs of one bucket by `sequence`. New jobs come at the end; those that come back stand in `early`, sorted, and are
 * few. What is taken out of the middle stays as a hole until half of it is waste.
 */
export interface Fifo {
  heads: Array<JobHead>
  /** The greatest sequence that ever stood in `heads`: to look at its head would miss every cache. */
  last: number
  /** When each began to wait here, monotonic milliseconds. */
  since: Array<number>
  start: number
  /** Those of `heads` from `start` on that are not there any more; never the first. */
  holes: number
  early: Array<JobHead> | undefined
  earlySince: Array<number>
  /** Jobs in it, without holes. */
  size: number
}

const noTimes: Array<number> = []

export const make = (): Fifo => ({
  heads: [],
  last: -1,
  since: [],
  start: 0,
  holes: 0,
  early: undefined,
  earlySince: noTimes,
  size: 0
})

const compactAt = 32

/** Index of the first with a sequence of at least this. */
const lowerBound = (heads: ReadonlyArray<JobHead>, sequence: number): number => {
  let low = 0
  let high = heads.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((heads[middle]?.sequence ?? 0) < sequence) low = middle + 1
    else high = middle
  }
  return low
}

export const push = (fifo: Fifo, head: JobHead, now: number): void => {
  fifo.size++
  if (fifo.last < head.sequence) {
    fifo.last = head.sequence
    fifo.heads.push(head)
    fifo.since.push(now)
    return
  }
  const hole = lowerBound(fifo.heads, head.sequence)
  if (hole > fifo.start && fifo.heads[hole]?.sequence === head.sequence) {
    // It was taken out of the middle: left beside its hole, it would stand here twice.
    fifo.heads[hole] = head
    fifo.since[hole] = now
    fifo.holes--
    return
  }
  if (fifo.early === undefined) {
    fifo.early = [head]
    fifo.earlySince = [now]
    return
  }
  const at = lowerBound(fifo.early, head.sequence)
  fifo.early.splice(at, 0, head)
  fifo.earlySince.splice(at, 0, now)
}

const compact = (fifo: Fifo, lives: (head: JobHead) => boolean): void => {
  const heads: Array<JobHead> = []
  const since: Array<number> = []
  for (let i = fifo.start; i < fifo.heads.length; i++) {
    const head = fifo.heads[i]
    if (head === undefined || (fifo.holes > 0 && !lives(head))) continue
    heads.push(head)
    since.push(fifo.since[i] ?? 0)
  }
  Object.assign(fifo, { heads, since, start: 0, holes: 0 })
}

const removeEarly = (fifo: Fifo, head: JobHead): boolean => {
  const at = fifo.early?.indexOf(head) ?? -1
  if (at < 0) return false
  fifo.early?.splice(at, 1)
  fifo.earlySince.splice(at, 1)
  if (fifo.early?.length === 0) fifo.early = undefined
  return true
}

/** Takes a job out, which `lives` calls dead by now. */
export const remove = (fifo: Fifo, head: JobHead, lives: (head: JobHead) => boolean): void => {
  fifo.size--
  if (fifo.early !== undefined && removeEarly(fifo, head)) return
  if (fifo.heads[fifo.start] === head) {
    fifo.start++
    while (fifo.holes > 0) {
      const next = fifo.heads[fifo.start]
      if (next === undefined || lives(next)) break
      fifo.start++
      fifo.holes--
    }
  } else fifo.holes++
  const wasted = fifo.start + fifo.holes
  if (wasted > compactAt && wasted * 2 > fifo.heads.length) compact(fifo, lives)
}

/** Whether the first one is among those that came back. */
const earlyFirst = (fifo: Fifo): boolean => {
  if (fifo.early === undefined) return false
  const early = fifo.early[0]
  const late = fifo.heads[fifo.start]
  return early !== undefined && (late === undefined || early.sequence < late.sequence)
}

/** The one that comes first. */
export const first = (fifo: Fifo): JobHead | undefined => earlyFirst(fifo) ? fifo.early?.[0] : fifo.heads[fifo.start]

/** Since when the first one waits here. */
export const waitingSince = (fifo: Fifo): number =>
  (earlyFirst(fifo) ? fifo.earlySince[0] : fifo.since[fifo.start]) ?? 0

/** Puts up to `most` jobs after the first into `out`, in order; skips holes. */
export const rest = (fifo: Fifo, out: Array<JobHead>, most: number, lives: (head: JobHead) => boolean): void => {
  const until = out.length + most
  let early = 0
  let late = fifo.start
  if (earlyFirst(fifo)) early++
  else late++
  while (out.length < until) {
    const back = fifo.early?.[early]
    const next = fifo.heads[late]
    if (back !== undefined && (next === undefined || back.sequence < next.sequence)) {
      out.push(back)
      early++
    } else if (next !== undefined) {
      if (fifo.holes === 0 || lives(next)) out.push(next)
      late++
    } else return
  }
}

/** About how many come before this place in the order of arrival: where some were taken out, their share of them too. */
export const countBefore = (fifo: Fifo, sequence: number): number => {
  const early = fifo.early === undefined ? 0 : lowerBound(fifo.early, sequence)
  const late = Math.max(0, lowerBound(fifo.heads, sequence) - fifo.start)
  const held = fifo.heads.length - fifo.start
  return early + (held === 0 ? 0 : late * (1 - fifo.holes / held))
}
