/**
 * What one subscriber has not read yet: a pure, bounded buffer between a producer that never waits and a consumer that
 * may be slow. Progress is conflated per node, previews to the latest few, lifecycle events are kept up to a cap; what
 * falls out is announced by one `Gap` before the next event. The ending is never dropped.
 */
import { type ExecutionEvent, type Gap, isTransient } from "./ExecutionEvent.ts"

/** How a subscriber wants its events. */
export interface Options {
  /** `latest`: the newest four; `all`: every one within `maxBytes`; `none`: not at all. Default `latest`. */
  readonly previews: "latest" | "all" | "none"
  /** `latest`: the newest of each node; `all`: every one within `maxBytes`. Default `latest`. */
  readonly progress: "latest" | "all"
  /** How many lifecycle events may wait. Default 4,096, at least 1. */
  readonly capacity: number
  /** Bound of what waits under `all`, in bytes of images and about 128 for each other event. Default 64 MiB. */
  readonly maxBytes: number
}

export const defaults: Options = { previews: "latest", progress: "latest", capacity: 4_096, maxBytes: 64 * 1024 * 1024 }

const latestPreviews = 4
const eventBytes = 128

/** Counts of what fell out since the last `take`. */
interface Lost {
  lifecycle: number
  progress: number
  previews: number
}

/** Owned and updated in place by its one driver. */
export interface State {
  readonly options: Options
  /** In order of arrival; a slot that was conflated or dropped is undefined. */
  slots: Array<ExecutionEvent | undefined>
  live: number
  bytes: number
  lifecycle: number
  /** Slots before this hold no lifecycle event. */
  oldestLifecycle: number
  /** Slots before this hold no transient event. */
  oldestTransient: number
  /** The slot of the waiting progress of each node: as many as nodes are waiting. */
  readonly progress: Map<string, number>
  /** The slots of waiting previews under `latest`, oldest first. */
  previews: Array<number>
  lost: Lost
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options, capacity: Math.max(1, options.capacity ?? defaults.capacity) },
  slots: [],
  live: 0,
  bytes: 0,
  lifecycle: 0,
  oldestLifecycle: 0,
  oldestTransient: 0,
  progress: new Map(),
  previews: [],
  lost: { lifecycle: 0, progress: 0, previews: 0 }
})

/** Figures of a buffer, for tests and dashboards. */
export const snapshot = (state: State) => ({
  waiting: state.live,
  lifecycle: state.lifecycle,
  bytes: state.bytes,
  lost: { ...state.lost }
})

export const isEmpty = (state: State): boolean => state.live === 0

const sizeOf = (event: ExecutionEvent): number =>
  event._tag === "Preview" ? eventBytes + event.image.byteLength : eventBytes

const clear = (state: State, slot: number): void => {
  const event = state.slots[slot]
  if (event === undefined) return
  state.slots[slot] = undefined
  state.live--
  state.bytes -= sizeOf(event)
}

const push = (state: State, event: ExecutionEvent): number => {
  state.live++
  state.bytes += sizeOf(event)
  return state.slots.push(event) - 1
}

/** Gives up the oldest event for which `drop` is true, from `from` on; returns where to look next time. */
const dropOldest = (state: State, from: number, drop: (event: ExecutionEvent) => boolean): number => {
  for (let slot = from; slot < state.slots.length; slot++) {
    const event = state.slots[slot]
    if (event !== undefined && drop(event)) {
      if (event._tag === "Preview") state.lost.previews++
      else if (isTransient(event)) state.lost.progress++
      else state.lost.lifecycle++
      clear(state, slot)
      return slot + 1
    }
  }
  return state.slots.length
}

const isLifecycle = (event: ExecutionEvent): boolean => !isTransient(event)

const transientKey = (event: ExecutionEvent): string | undefined =>
  event._tag === "NodeProgress" ? `p${event.nodeId}` : event._tag === "NodeText" ? `t${event.nodeId}` : undefined

const offerTransient = (state: State, event: ExecutionEvent): void => {
  const { previews, progress } = state.options
  if (event._tag === "Preview") {
    if (previews === "none") return
    const slot = push(state, event)
    if (previews === "latest") {
      state.previews.push(slot)
      const oldest = state.previews.length > latestPreviews ? state.previews.shift() : undefined
      if (oldest !== undefined) clear(state, oldest)
    }
  } else {
    const key = progress === "latest" ? transientKey(event) : undefined
    const before = key === undefined ? undefined : state.progress.get(key)
    if (before !== undefined) clear(state, before)
    const slot = push(state, event)
    if (key !== undefined) state.progress.set(key, slot)
  }
  while (state.bytes > state.options.maxBytes && state.oldestTransient < state.slots.length) {
    state.oldestTransient = dropOldest(state, state.oldestTransient, isTransient)
  }
}

/** Closes the holes of `slots`, so that their number stays within twice that of the waiting events. */
const compact = (state: State): void => {
  const waiting: Array<ExecutionEvent> = []
  state.progress.clear()
  state.previews = []
  for (const event of state.slots) {
    if (event === undefined) continue
    const slot = waiting.push(event) - 1
    const key = state.options.progress === "latest" ? transientKey(event) : undefined
    if (key !== undefined) state.progress.set(key, slot)
    if (event._tag === "Preview" && state.options.previews === "latest") state.previews.push(slot)
  }
  state.slots = waiting
  state.oldestLifecycle = 0
  state.oldestTransient = 0
}

/** Adds what happened; never waits, never grows beyond the stated bounds. */
export const offer = (state: State, events: ReadonlyArray<ExecutionEvent>): State => {
  for (const event of events) {
    if (isTransient(event)) {
      offerTransient(state, event)
    } else {
      push(state, event)
      state.lifecycle++
      if (state.lifecycle > state.options.capacity) {
        state.oldestLifecycle = dropOldest(state, state.oldestLifecycle, isLifecycle)
        state.lifecycle--
      }
    }
    if (state.slots.length > 64 && state.slots.length > 2 * state.live) compact(state)
  }
  return state
}

const gap = (first: ExecutionEvent, lost: Lost): Gap => ({
  _tag: "Gap",
  runId: first.runId,
  backend: first.backend,
  sequence: isTransient(first) ? first.sequence : first.sequence - 1,
  at: first.at,
  elapsed: first.elapsed,
  cause: "consumer",
  lifecycle: lost.lifecycle,
  progress: lost.progress,
  previews: lost.previews
})

/** Takes everything that waits, oldest first, behind a `Gap` if something fell out; empties the buffer. */
export const take = (state: State): Array<ExecutionEvent> => {
  const events = state.slots.filter((event) => event !== undefined)
  const first = events[0]
  const { lost } = state
  if (first !== undefined && lost.lifecycle + lost.progress + lost.previews > 0) {
    events.unshift(gap(first, lost))
    state.lost = { lifecycle: 0, progress: 0, previews: 0 }
  }
  state.slots = []
  state.live = 0
  state.bytes = 0
  state.lifecycle = 0
  state.oldestLifecycle = 0
  state.oldestTransient = 0
  state.progress.clear()
  state.previews = []
  return events
}
