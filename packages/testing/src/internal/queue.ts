// The queue: a binary heap in an array on (number, prompt id), moved exactly as Python's heapq moves it, because
// `/queue` shows the array as it lies.
import { equal, isDict, isList, numeric, type Py } from "./py.ts"
import { publishStatus } from "./sockets.ts"
import type { Item, State } from "./state.ts"

const same = (a: Py, b: Py): boolean => {
  if (isDict(a) && isDict(b)) {
    if (a.size !== b.size) return false
    for (const [key, value] of a) {
      const other = b.get(key)
      if (other === undefined || !same(value, other)) return false
    }
    return true
  }
  if (isList(a) && isList(b)) return a.length === b.length && a.every((item, i) => same(item, b[i] ?? null))
  return equal(a, b)
}

/** `a < b` of the tuples; undefined where Python would have to compare two dicts. */
const less = (a: Item, b: Item): boolean | undefined => {
  const x = numeric(a.number) ?? 0
  const y = numeric(b.number) ?? 0
  if (x != y) return x < y
  if (a.id !== b.id) return a.id < b.id
  if (!same(a.prompt, b.prompt) || !same(a.extraData, b.extraData)) return undefined
  return false
}

/** Moves the item at `at` up to its place; false where a comparison failed. */
const rise = (heap: Array<Item>, start: number, from: number): boolean => {
  let at = from
  const item = heap[at]
  if (item === undefined) return true
  while (at > start) {
    const up = (at - 1) >> 1
    const parent = heap[up]
    if (parent === undefined) break
    const before = less(item, parent)
    if (before === undefined) return false
    if (!before) break
    heap[at] = parent
    heap[up] = item
    at = up
  }
  return true
}

/** Moves the item at `start` down along the smaller children and up again. */
const sink = (heap: Array<Item>, start: number): boolean => {
  const item = heap[start]
  if (item === undefined) return true
  let at = start
  let child = 2 * at + 1
  while (child < heap.length) {
    const left = heap[child]
    const right = heap[child + 1]
    if (left !== undefined && right !== undefined) {
      const before = less(left, right)
      if (before === undefined) return false
      if (!before) child++
    }
    const smaller = heap[child]
    if (smaller === undefined) break
    heap[at] = smaller
    at = child
    child = 2 * at + 1
  }
  heap[at] = item
  return rise(heap, start, at)
}

/** Puts an item into the queue and says so; false where Python raises: then it is in the queue and nobody is told. */
export const put = (state: State, item: Item): boolean => {
  state.heap.push(item)
  if (state.heap.length === 1 && state.running.size === 0) {
    state.worker.readyAt = Math.max(state.worker.readyAt, state.now + state.settings.dequeueMs)
  }
  const placed = rise(state.heap, 0, state.heap.length - 1)
  if (placed) publishStatus(state)
  return placed
}

/** Takes the first item; "broken" where Python raises in the worker, which ends it. */
export const take = (state: State): Item | "broken" | undefined => {
  const last = state.heap.pop()
  if (last === undefined) return undefined
  const first = state.heap[0]
  if (first === undefined) return last
  state.heap[0] = last
  return sink(state.heap, 0) ? first : "broken"
}

const removed = (state: State, item: Item): void => {
  item.ledger.endedAt = state.now
  item.ledger.outcome = "removed"
}

/** Drops everything that waits. */
export const wipe = (state: State): void => {
  for (const item of state.heap) removed(state, item)
  state.heap = []
  publishStatus(state)
}

/** Drops the first entry of this id that waits, if there is one; the last entry of all is announced twice. */
export const remove = (state: State, id: string): boolean => {
  const at = state.heap.findIndex((item) => item.id === id)
  const item = state.heap[at]
  if (item === undefined) return false
  if (state.heap.length === 1) wipe(state)
  else {
    removed(state, item)
    state.heap.splice(at, 1)
    for (let i = (state.heap.length >> 1) - 1; i >= 0; i--) sink(state.heap, i)
  }
  publishStatus(state)
  return true
}
