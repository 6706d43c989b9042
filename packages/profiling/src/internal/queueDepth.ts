/** How many jobs waited, over time, of changes in any order and in bounded memory. */

/** Points that are kept; beyond, neighbours become one. */
const maxPoints = 4_096

/** Owned and updated in place. `changes`: by the number of the span of `spanMs` that they fall into. */
export interface QueueDepth {
  spanMs: number
  changes: Map<number, number>
}

/** Nobody waited. */
export const make = (): QueueDepth => ({ spanMs: 1, changes: new Map() })

const put = (changes: Map<number, number>, span: number, change: number): void => {
  changes.set(span, (changes.get(span) ?? 0) + change)
}

/** So many more (or fewer) wait from that epoch millisecond on. */
export const add = (depth: QueueDepth, atMs: number, change: number): void => {
  put(depth.changes, Math.floor(atMs / depth.spanMs), change)
  while (depth.changes.size > maxPoints) {
    const coarser = new Map<number, number>()
    for (const [span, change] of depth.changes) put(coarser, Math.floor(span / 2), change)
    depth.changes = coarser
    depth.spanMs *= 2
  }
}

/** The depth at the end of every span in which it changed, oldest first: exact at these instants. */
export const points = (
  { changes, spanMs }: QueueDepth
): ReadonlyArray<{ readonly atMs: number; readonly depth: number }> => {
  let depth = 0
  return [...changes].toSorted(([a], [b]) => a - b).map(([span, change]) => {
    depth += change
    return { atMs: (span + 1) * spanMs, depth }
  })
}
