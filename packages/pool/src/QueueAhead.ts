/**
 * How much work goes before a job that waits, and when its turn comes: tenants share by weight as in `ReadySet`, reckoned as
 * if time on a card could be divided at will. A guess, and cheap. Pure.
 */
import * as Fifo from "./internal/fifo.ts"
import type { Bucket, Lane } from "./internal/lanes.ts"
import type { JobHead } from "./JobHead.ts"
import * as ReadySet from "./ReadySet.ts"

/** Jobs, and milliseconds that they take on a server of average speed. Parts of jobs count. */
export interface Work {
  readonly jobs: number
  readonly ms: number
}

/** A place in the queue; one that is not in it yet stands behind all. */
export type Place = Pick<JobHead, "priority" | "tenant" | "sequence">

/** Milliseconds that one job of such a bucket takes from the servers that matter, 0 for one that runs on others. */
export type Cost = (affinity: Bucket["affinity"], placement: string) => number

/** Buckets that are looked at; what stands in more counts like the average of these. */
const maxBuckets = 2_000

interface Reading {
  readonly cost: Cost
  left: number
}

const sumOf = (lane: Lane, reading: Reading, countOf: (bucket: Bucket) => number): Work => {
  let [jobs, ms, seen] = [0, 0, 0]
  for (const bucket of lane.heap) {
    if (reading.left <= 0) break
    reading.left--
    seen++
    const [count, each] = [countOf(bucket), reading.cost(bucket.affinity, bucket.placement)]
    if (each === 0) continue
    jobs += count
    ms += count * each
  }
  const scale = seen === 0 ? 0 : lane.heap.length / seen
  return { jobs: jobs * scale, ms: ms * scale }
}

const all = ({ fifo }: Bucket): number => fifo.size

/** What goes before: all that is more urgent, what is older of its own tenant, and of others as much as is their share. */
export const of = (state: ReadySet.State, place: Place, cost: Cost): Work => {
  const reading: Reading = { cost, left: maxBuckets }
  let [jobs, ms] = [0, 0]
  for (const { lanes, priority } of state.classes) {
    if (priority < place.priority) break
    if (priority > place.priority) {
      for (const lane of lanes.values()) {
        const work = sumOf(lane, reading, all)
        jobs += work.jobs
        ms += work.ms
      }
      continue
    }
    const own = lanes.get(place.tenant)
    const mine = own === undefined
      ? { jobs: 0, ms: 0 }
      : sumOf(own, reading, ({ fifo }) => Math.min(fifo.size, Fifo.countBefore(fifo, place.sequence)))
    jobs += mine.jobs
    ms += mine.ms
    for (const [tenant, lane] of lanes) {
      if (lane === own) continue
      const theirs = sumOf(lane, reading, all)
      const share = ReadySet.weightOf(state, tenant) / ReadySet.weightOf(state, place.tenant)
      const served = theirs.ms === 0 ? 0 : Math.min(1, mine.ms * share / theirs.ms)
      jobs += theirs.jobs * served
      ms += theirs.ms * served
    }
  }
  return { jobs, ms }
}

/** A server that the job may go to. `freeInMs`: from now; `speed`: 2 takes twice as long as the average. */
export interface Server {
  readonly freeInMs: number
  readonly speed: number
}

/** So many jobs are placed one by one; what goes before them flows. */
const maxPlaced = 64

/** When servers that work through so much at once are done with it, each by itself. */
const flow = (servers: ReadonlyArray<Server>, ms: number): ReadonlyArray<Server> => {
  const sorted = servers.toSorted((a, b) => a.freeInMs - b.freeInMs)
  let [left, at, rate] = [ms, 0, 0]
  for (const { freeInMs, speed } of sorted) {
    const done = rate * (freeInMs - at)
    if (rate > 0 && done >= left) break
    left -= done
    at = freeInMs
    rate += 1 / speed
  }
  const until = rate === 0 ? at : at + left / rate
  return servers.map(({ freeInMs, speed }) => ({ freeInMs: Math.max(freeInMs, until), speed }))
}

const soonest = (servers: ReadonlyArray<{ freeInMs: number }>): number => {
  let found = 0
  servers.forEach(({ freeInMs }, index) => {
    if (freeInMs < (servers[found]?.freeInMs ?? 0)) found = index
  })
  return found
}

/** Milliseconds until the first of these servers is free for whoever comes after so much work; infinity without any. */
export const turnInMs = (servers: ReadonlyArray<Server>, { jobs, ms }: Work): number => {
  if (servers.length === 0) return Number.POSITIVE_INFINITY
  const each = jobs > 0 ? ms / jobs : 0
  const placed = Math.min(maxPlaced, Math.round(jobs))
  const busy = flow(servers, Math.max(0, ms - placed * each)).map((server) => ({ ...server }))
  for (let i = 0; i < placed; i++) {
    const next = busy[soonest(busy)]
    if (next !== undefined) next.freeInMs += each * next.speed
  }
  return busy[soonest(busy)]?.freeInMs ?? 0
}
