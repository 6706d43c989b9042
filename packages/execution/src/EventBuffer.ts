/**
 * What one subscriber has not read yet: a pure, bounded buffer between a producer that never waits and a consumer that
 * may be slow. Progress is conflated per node, previews to the latest few, lifecycle events are kept up to a cap; what
 * falls out is announced by one `Gap` before the next event. The ending is never dropped.
 */
import { type ExecutionEvent, type Gap, isEnding, isTransient } from "./ExecutionEvent.ts"

/** Events that a buffer can hold: those of a run, or such as carry them. */
export interface Kind<E> {
  /** The event of a run that this one is or carries; undefined: a lifecycle event of its own. */
  readonly ofRun: (event: E) => ExecutionEvent | undefined
  /** The gap as one of these events; `next` is what comes behind it. */
  readonly gap: (gap: Gap, next: E) => E
  /** Whether nothing comes after it. */
  readonly isEnding: (event: E) => boolean
}

/** The events of one run. */
export const ofRun: Kind<ExecutionEvent> = { ofRun: (event) => event, gap: (gap) => gap, isEnding }

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

type Passing = Extract<ExecutionEvent, { readonly _tag: "NodeProgress" | "NodeText" | "Preview" }>

const latestPreviews = 4
const eventBytes = 128

/** Counts of what fell out since the last `take`, and the run's event that fell out last. */
interface Lost {
  lifecycle: number
  progress: number
  previews: number
  last: ExecutionEvent | undefined
}

const nothingLost = (): Lost => ({ lifecycle: 0, progress: 0, previews: 0, last: undefined })

/** Owned and updated in place by its one driver. */
export interface State<E> {
  readonly kind: Kind<E>
  readonly options: Options
  /** In order of arrival; a slot that was conflated or dropped is undefined. */
  slots: Array<E | undefined>
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

export const init = <E>(kind: Kind<E>, options: Partial<Options> = {}): State<E> => ({
  kind,
  options: { ...defaults, ...options, capacity: Math.max(1, options.capacity ?? defaults.capacity) },
  slots: [],
  live: 0,
  bytes: 0,
  lifecycle: 0,
  oldestLifecycle: 0,
  oldestTransient: 0,
  progress: new Map(),
  previews: [],
  lost: nothingLost()
})

/** Figures of a buffer, for tests and dashboards. */
export const snapshot = <E>({ bytes, lifecycle, live, lost }: State<E>) => ({
  waiting: live,
  lifecycle,
  bytes,
  lost: { lifecycle: lost.lifecycle, progress: lost.progress, previews: lost.previews }
})

export const isEmpty = <E>(state: State<E>): boolean => state.live === 0

const sizeOf = (event: ExecutionEvent | undefined): number =>
  event?._tag === "Preview" ? eventBytes + event.image.byteLength : eventBytes

const clear = <E>(state: State<E>, slot: number): void => {
  const event = state.slots[slot]
  if (event === undefined) return
  state.slots[slot] = undefined
  state.live--
  state.bytes -= sizeOf(state.kind.ofRun(event))
}

const push = <E>(state: State<E>, event: E, run: ExecutionEvent | undefined): number => {
  state.live++
  state.bytes += sizeOf(run)
  return state.slots.push(event) - 1
}

const isPassing = (run: ExecutionEvent | undefined): run is Passing => run !== undefined && isTransient(run)

/** Gives up the oldest event that passes, or that does not, from `from` on; returns where to look next time. */
const dropOldest = <E>(state: State<E>, from: number, passing: boolean): number => {
  for (let slot = from; slot < state.slots.length; slot++) {
    const event = state.slots[slot]
    if (event === undefined) continue
    const run = state.kind.ofRun(event)
    if (isPassing(run) !== passing) continue
    if (run?._tag === "Preview") state.lost.previews++
    else if (passing) state.lost.progress++
    else state.lost.lifecycle++
    state.lost.last = run ?? state.lost.last
    clear(state, slot)
    return slot + 1
  }
  return state.slots.length
}

const transientKey = (event: ExecutionEvent): string | undefined =>
  event._tag === "NodeProgress" ? `p${event.nodeId}` : event._tag === "NodeText" ? `t${event.nodeId}` : undefined

const offerTransient = <E>(state: State<E>, event: E, run: Passing): void => {
  const { previews, progress } = state.options
  if (run._tag === "Preview") {
    if (previews === "none") return
    const slot = push(state, event, run)
    if (previews === "latest") {
      state.previews.push(slot)
      const oldest = state.previews.length > latestPreviews ? state.previews.shift() : undefined
      if (oldest !== undefined) clear(state, oldest)
    }
  } else {
    const key = progress === "latest" ? transientKey(run) : undefined
    const before = key === undefined ? undefined : state.progress.get(key)
    if (before !== undefined) clear(state, before)
    const slot = push(state, event, run)
    if (key !== undefined) state.progress.set(key, slot)
  }
  while (state.bytes > state.options.maxBytes && state.oldestTransient < state.slots.length) {
    state.oldestTransient = dropOldest(state, state.oldestTransient, true)
  }
}

/** Closes the holes of `slots`, so that their number stays within twice that of the waiting events. */
const compact = <E>(state: State<E>): void => {
  const waiting: Array<E> = []
  state.progress.clear()
  state.previews = []
  for (const event of state.slots) {
    if (event === undefined) continue
    const slot = waiting.push(event) - 1
    const run = state.kind.ofRun(event)
    const key = run !== undefined && state.options.progress === "latest" ? transientKey(run) : undefined
    if (key !== undefined) state.progress.set(key, slot)
    if (run?._tag === "Preview" && state.options.previews === "latest") state.previews.push(slot)
  }
  state.slots = waiting
  state.oldestLifecycle = 0
  state.oldestTransient = 0
}

/** Adds what happened; never waits, never grows beyond the stated bounds. */
export const offer = <E>(state: State<E>, events: ReadonlyArray<NoInfer<E>>): State<E> => {
  for (const event of events) {
    const run = state.kind.ofRun(event)
    if (isPassing(run)) {
      offerTransient(state, event, run)
    } else {
      push(state, event, run)
      state.lifecycle++
      if (state.lifecycle > state.options.capacity) {
        state.oldestLifecycle = dropOldest(state, state.oldestLifecycle, false)
        state.lifecycle--
      }
    }
    if (state.slots.length > 64 && state.slots.length > 2 * state.live) compact(state)
  }
  return state
}

/** So many lifecycle events were given up before the first that this subscriber gets. */
export const lost = <E>(state: State<E>, lifecycle: number): void => {
  state.lost.lifecycle += lifecycle
}

const gapBefore = (near: ExecutionEvent, lost: Lost): Gap => ({
  _tag: "Gap",
  runId: near.runId,
  backend: near.backend,
  sequence: isTransient(near) ? near.sequence : near.sequence - 1,
  at: near.at,
  elapsed: near.elapsed,
  cause: "consumer",
  lifecycle: lost.lifecycle,
  progress: lost.progress,
  previews: lost.previews
})

/** Takes everything that waits, oldest first, behind a `Gap` if something fell out; empties the buffer. */
export const take = <E>(state: State<E>): Array<E> => {
  const events = state.slots.filter((event): event is E => event !== undefined)
  const first = events[0]
  const { lost } = state
  if (first !== undefined && lost.lifecycle + lost.progress + lost.previews > 0) {
    const near = state.kind.ofRun(first) ?? lost.last
    if (near !== undefined) events.unshift(state.kind.gap(gapBefore(near, lost), first))
    state.lost = nothingLost()
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
