import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import type { JobHead } from "../JobHead.ts"
import * as Fifo from "./fifo.ts"
import * as Heap from "./heap.ts"

/** The waiting jobs of one tenant and priority that want the same models and ask the same of servers. */
export interface Bucket extends Heap.Item {
  readonly lane: Lane
  readonly affinity: AffinityKey
  readonly placement: string
  readonly demand: Demand
  readonly fifo: Fifo.Fifo
  /** The first of `fifo`, and its sequence: comparing buckets must not touch the heads, which are in no cache. */
  first: JobHead
  order: number
  /** The offer that this bucket stands in. */
  stamp: number
  /** Its neighbours in the chain of its key; the bucket without a placement stands in none. */
  next: Bucket | undefined
  previous: Bucket | undefined
}

/** The ready jobs of all lanes that want the same models. */
export interface Demand {
  jobs: number
}

/** What a tenant may still use in this round, milliseconds on a GPU; in debt below zero. */
export interface Account {
  readonly tenant: string
  balance: number
  /** The last round that granted it a quantum. */
  granted: number
  /** Lanes with jobs of this tenant. */
  lanes: number
}

/** The jobs of one tenant in one priority class. */
export interface Lane {
  readonly of: PriorityClass
  readonly account: Account
  /** Without a placement: one per key, and the common case. */
  readonly plain: Map<AffinityKey, Bucket>
  /** With one, by key and placement; and per key the first of a chain. */
  readonly placed: Map<string, Bucket>
  readonly chains: Map<AffinityKey, Bucket>
  /** The same buckets, the one with the oldest job first. */
  readonly heap: Array<Bucket>
  size: number
}

/** All lanes of one priority. */
export interface PriorityClass {
  readonly priority: number
  readonly lanes: Map<string, Lane>
  /** Those that may still be served in this round, from `turn` on. */
  open: Array<Lane>
  turn: number
  round: number
}

export const makeLane = (of: PriorityClass, account: Account): Lane => ({
  of,
  account,
  plain: new Map(),
  placed: new Map(),
  chains: new Map(),
  heap: [],
  size: 0
})

const before = (a: Bucket, b: Bucket): boolean => a.order < b.order

const nameOf = ({ affinity, placement }: Pick<Bucket, "affinity" | "placement">): string => `${affinity}\n${placement}`

/** Where such a job stands, if there is one. */
export const bucketOf = (lane: Lane, head: JobHead): Bucket | undefined =>
  head.placement === "" ? lane.plain.get(head.affinity) : lane.placed.get(nameOf(head))

const link = (lane: Lane, bucket: Bucket): void => {
  if (bucket.placement === "") {
    lane.plain.set(bucket.affinity, bucket)
    return
  }
  lane.placed.set(nameOf(bucket), bucket)
  bucket.next = lane.chains.get(bucket.affinity)
  if (bucket.next !== undefined) bucket.next.previous = bucket
  lane.chains.set(bucket.affinity, bucket)
}

const unlink = (lane: Lane, bucket: Bucket): void => {
  if (bucket.placement === "") {
    lane.plain.delete(bucket.affinity)
    return
  }
  const { affinity, next, previous } = bucket
  lane.placed.delete(nameOf(bucket))
  if (next !== undefined) next.previous = previous
  if (previous !== undefined) previous.next = next
  else if (next !== undefined) lane.chains.set(affinity, next)
  else lane.chains.delete(affinity)
}

const makeBucket = (lane: Lane, head: JobHead, demand: Demand): Bucket => ({
  lane,
  affinity: head.affinity,
  placement: head.placement,
  demand,
  fifo: Fifo.make(),
  first: head,
  order: head.sequence,
  stamp: 0,
  next: undefined,
  previous: undefined,
  index: 0
})

/** Puts a job into its bucket; `demands` are those of all lanes. */
export const insert = (lane: Lane, head: JobHead, now: number, demands: Map<AffinityKey, Demand>): void => {
  lane.size++
  const known = bucketOf(lane, head)
  if (known === undefined) {
    let demand = demands.get(head.affinity)
    if (demand === undefined) demands.set(head.affinity, demand = { jobs: 0 })
    demand.jobs++
    const bucket = makeBucket(lane, head, demand)
    link(lane, bucket)
    Fifo.push(bucket.fifo, head, now)
    Heap.push(lane.heap, bucket, before)
    return
  }
  known.demand.jobs++
  Fifo.push(known.fifo, head, now)
  if (head.sequence > known.order) return
  known.first = head
  known.order = head.sequence
  Heap.up(lane.heap, known, before)
}

/** Takes out a job that `lives` calls dead by now. */
export const remove = (
  bucket: Bucket,
  head: JobHead,
  demands: Map<AffinityKey, Demand>,
  lives: (head: JobHead) => boolean
): void => {
  const { demand, fifo, lane } = bucket
  lane.size--
  if (--demand.jobs === 0) demands.delete(bucket.affinity)
  Fifo.remove(fifo, head, lives)
  const first = Fifo.first(fifo)
  if (fifo.size > 0 && first !== undefined) {
    if (first === bucket.first) return
    bucket.first = first
    bucket.order = first.sequence
    return Heap.down(lane.heap, bucket, before)
  }
  Heap.remove(lane.heap, bucket, before)
  unlink(lane, bucket)
}
