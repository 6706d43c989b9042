// A Chrome trace, read as a viewer reads it.
import { assert } from "@effect/vitest"

export interface TraceEvent {
  readonly ph: string
  readonly pid: number
  readonly tid: number
  readonly ts: number
  readonly dur: number
  readonly name: string
  readonly cat?: string
  readonly id?: number
  readonly args: Readonly<Record<string, unknown>>
}

/** The events of a file. */
export const read = (text: string): ReadonlyArray<TraceEvent> => {
  const { traceEvents }: { readonly traceEvents: ReadonlyArray<TraceEvent> } = JSON.parse(text)
  return traceEvents
}

/** On every track slices nest or do not touch; every track and process has a name; arrows begin and end in slices. */
export const opens = (events: ReadonlyArray<TraceEvent>): boolean => {
  const slices = events.filter(({ ph }) => ph === "X")
  const trackOf = ({ pid, tid }: TraceEvent) => `${pid}/${tid}`
  const names = new Set(events.filter(({ name, ph }) => ph === "M" && name === "thread_name").map(trackOf))
  const processes = new Set(
    events.filter(({ name, ph }) => ph === "M" && name === "process_name").map(({ pid }) => pid)
  )
  const tracks = new Map<string, Array<TraceEvent>>()
  for (const slice of slices) {
    assert.isTrue(Number.isInteger(slice.ts) && Number.isInteger(slice.dur) && slice.dur >= 0)
    assert.isTrue(names.has(trackOf(slice)) && processes.has(slice.pid))
    const track = tracks.get(trackOf(slice)) ?? []
    track.push(slice)
    tracks.set(trackOf(slice), track)
  }
  for (const track of tracks.values()) {
    const open: Array<number> = []
    for (const { dur, ts } of track.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)) {
      while ((open.at(-1) ?? Infinity) <= ts) open.pop()
      assert.isAtMost(ts + dur, open.at(-1) ?? Infinity, "slices overlap without nesting")
      open.push(ts + dur)
    }
  }
  for (const arrow of events.filter(({ ph }) => ph === "s" || ph === "f")) {
    assert.isTrue(
      slices.some((slice) =>
        trackOf(slice) === trackOf(arrow) && slice.ts <= arrow.ts && arrow.ts <= slice.ts + slice.dur
      )
    )
  }
  for (const ph of ["s", "f"]) {
    const ids = events.filter((event) => event.ph === ph).map(({ id }) => id)
    assert.strictEqual(new Set(ids).size, ids.length)
  }
  return events.every(({ args, ph }) => ph !== "C" || Number(args["jobs"]) >= 0)
}
