/** Which intervals may stand on one track of a trace: there slices either nest or do not touch. */

/** Owned and updated in place: from the first start to the last end of what stands on each slot. */
export type Slots = Array<{ from: number; to: number }>

/**
 * The lowest slot that is free from `from` to `to`, and now taken. Exact for intervals in the order of their ends or starts;
 * of others none overlap either, but there may be more slots than needed.
 */
export const take = (slots: Slots, from: number, to: number): number => {
  const free = slots.findIndex((slot) => from >= slot.to || to <= slot.from)
  const slot = slots[free]
  if (slot === undefined) return slots.push({ from, to }) - 1
  slot.from = Math.min(slot.from, from)
  slot.to = Math.max(slot.to, to)
  return free
}

/** A slice to be laid out; `parent` is the one that it may stand upon. */
export interface Slice {
  readonly id: string
  readonly parent: string | null
  readonly from: number
  readonly to: number
}

/** The sub track of each slice, from 0: on one of them a slice stands alone or upon its parent, whose time holds its own. */
export const layOut = <S extends Slice>(
  slices: ReadonlyArray<S>
): ReadonlyArray<readonly [slice: S, track: number]> => {
  const tracks: Array<Array<Slice>> = []
  return slices.toSorted((a, b) => a.from - b.from || b.to - a.to).map((slice) => {
    const fits = (track: Array<Slice>): boolean => {
      while (track.length > 0 && (track.at(-1)?.to ?? 0) <= slice.from) track.pop()
      const top = track.at(-1)
      return top === undefined || (top.id === slice.parent && slice.to <= top.to)
    }
    const found = tracks.findIndex(fits)
    const track = found < 0 ? tracks.push([]) - 1 : found
    tracks[track]?.push(slice)
    return [slice, track] as const
  })
}
