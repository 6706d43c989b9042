/**
 * How long a workflow runs on a server, learnt from finished attempts: warm (its models were there) and cold, per server
 * and affinity key, with what the rest of the fleet shows as a prior. A fold: no clock, no randomness.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"

/** A finished attempt. `executionMs`: from the server's start to its end, without queue and transfers. */
export interface Finished {
  readonly server: BackendId
  readonly key: AffinityKey
  /** The models had to be loaded: cold, else warm. */
  readonly cold: boolean
  readonly executionMs: number
}

/** Bounds of what is kept, and what is said while nothing is known. */
export interface Options {
  /** (Server, key) pairs, and keys over the fleet, that are kept; the one unused for longest goes. */
  readonly cap: number
  /** Weight of the newest sample in an average, from 0 to 1. Early samples weigh 1/n. */
  readonly weight: number
  /** Milliseconds that a run is thought to take before anything has finished. */
  readonly priorWarmMs: number
  /** Milliseconds that a cold run is thought to take on top. */
  readonly priorSurchargeMs: number
}

export const defaults: Options = { cap: 10_000, weight: 0.2, priorWarmMs: 10_000, priorSurchargeMs: 5_000 }

/** What an estimate rests on: this pair, the key on other servers, all keys, or nothing but the prior. */
export type Source = "pair" | "key" | "global" | "prior"

/** All times in milliseconds. */
export interface Estimate {
  readonly warmMs: number
  readonly coldMs: number
  /** Cold minus warm, never negative. Not a measured load time: what loading costs hides in several nodes. */
  readonly surchargeMs: number
  /** Finished attempts of this key that the figures rest on: of the pair if `source` says so, else of the fleet. */
  readonly samples: number
  /** Samples of the rarer kind behind the surcharge, cold or warm: with 0 it is a guess from other keys. */
  readonly surchargeSamples: number
  readonly source: Source
}

/** Quantiles of the last 64 samples, in milliseconds; those above the number of samples are the largest seen. */
export interface Quantiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly samples: number
}

const ringSize = 64

/** An average and the last samples of one kind. */
interface Cell {
  count: number
  mean: number
  readonly ring: Float32Array
  /** Asked for at every attempt, and sorted anew after a few samples only. */
  quantiles: Quantiles | undefined
}

interface Pair {
  readonly warm: Cell
  readonly cold: Cell
}

/** Owned by its driver; `step` updates it in place. */
export interface State {
  readonly options: Options
  /** Server → key → pair; all pairs also stand in `order`, least recently used first. */
  readonly pairs: Map<BackendId, Map<AffinityKey, Pair>>
  readonly order: Map<Pair, readonly [BackendId, AffinityKey]>
  readonly keys: Map<AffinityKey, Pair>
  readonly all: Pair
  /** How slow a server is beside the fleet at the same keys: 1 is the average, 2 takes twice as long. */
  readonly speeds: Map<BackendId, Cell>
}

const cell = (): Cell => ({ count: 0, mean: 0, ring: new Float32Array(ringSize), quantiles: undefined })
const pair = (): Pair => ({ warm: cell(), cold: cell() })

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  pairs: new Map(),
  order: new Map(),
  keys: new Map(),
  all: pair(),
  speeds: new Map()
})

const add = (into: Cell, value: number, weight: number): void => {
  into.ring[into.count % ringSize] = value
  into.count++
  into.mean += (value - into.mean) * Math.max(weight, 1 / into.count)
}

const touchKey = (state: State, key: AffinityKey): Pair => {
  const known = state.keys.get(key) ?? pair()
  state.keys.delete(key)
  state.keys.set(key, known)
  if (state.keys.size > state.options.cap) {
    for (const oldest of state.keys.keys()) {
      state.keys.delete(oldest)
      break
    }
  }
  return known
}

const removePair = (state: State, known: Pair, server: BackendId, key: AffinityKey): void => {
  state.order.delete(known)
  const ofServer = state.pairs.get(server)
  ofServer?.delete(key)
  if (ofServer?.size === 0) state.pairs.delete(server)
}

const touchPair = (state: State, server: BackendId, key: AffinityKey): Pair => {
  let ofServer = state.pairs.get(server)
  if (ofServer === undefined) state.pairs.set(server, ofServer = new Map())
  let known = ofServer.get(key)
  if (known === undefined) ofServer.set(key, known = pair())
  state.order.delete(known)
  state.order.set(known, [server, key])
  if (state.order.size > state.options.cap) {
    for (const [oldest, [oldServer, oldKey]] of state.order) {
      removePair(state, oldest, oldServer, oldKey)
      break
    }
  }
  return known
}

const side = (of: Pair, cold: boolean): Cell => cold ? of.cold : of.warm

/** Runs that are shorter on the average say more about the network and the clock than about a card. */
const comparableMs = 100

/** Takes a finished attempt. A time that is negative or no number changes nothing. */
export const step = (state: State, { cold, executionMs, key, server }: Finished): State => {
  if (!Number.isFinite(executionMs) || executionMs < 0) return state
  const { cap, weight } = state.options
  const ofKey = touchKey(state, key)
  const average = side(ofKey, cold)
  if (average.count > 0 && average.mean >= comparableMs) {
    let speed = state.speeds.get(server)
    if (speed === undefined && state.speeds.size < cap) state.speeds.set(server, speed = cell())
    // One odd run says little about a server.
    if (speed !== undefined) add(speed, Math.min(Math.max(executionMs / average.mean, 0.1), 10), weight / 2)
  }
  add(average, executionMs, weight)
  add(side(state.all, cold), executionMs, weight)
  add(side(touchPair(state, server, key), cold), executionMs, weight)
  return state
}

/** A server that left: what is known of its pairs goes, what its runs say of keys stays. */
export const forget = (state: State, server: BackendId): State => {
  for (const [key, known] of [...state.pairs.get(server) ?? []]) removePair(state, known, server, key)
  state.speeds.delete(server)
  return state
}

/** Servers are compared once a few of their runs can be compared. */
const speedOf = (state: State, server: BackendId): number => {
  const speed = state.speeds.get(server)
  return speed === undefined || speed.count < 3 ? 1 : speed.mean
}

const surchargeOf = (of: Pair | undefined): number | undefined =>
  of === undefined || of.warm.count === 0 || of.cold.count === 0 ? undefined : Math.max(0, of.cold.mean - of.warm.mean)

const rarer = (of: Pair | undefined): number => of === undefined ? 0 : Math.min(of.warm.count, of.cold.count)

/**
 * How long this key runs on this server: from its own samples, else from the same key elsewhere, scaled by how slow this
 * server is beside the others, else from all keys, else the prior. Constant time, and changes nothing.
 */
export const estimate = (state: State, server: BackendId, key: AffinityKey): Estimate => {
  const own = state.pairs.get(server)?.get(key)
  const ofKey = state.keys.get(key)
  const speed = speedOf(state, server)
  const { priorSurchargeMs, priorWarmMs } = state.options
  const ownSurcharge = surchargeOf(own)
  const surcharge = ownSurcharge ??
    (surchargeOf(ofKey) ?? surchargeOf(state.all) ?? priorSurchargeMs) * speed
  const figures = (warmMs: number, samples: number, source: Source): Estimate => ({
    warmMs,
    coldMs: warmMs + surcharge,
    surchargeMs: surcharge,
    samples,
    surchargeSamples: ownSurcharge === undefined ? rarer(ofKey) : rarer(own),
    source
  })
  const count = (of: Pair): number => of.warm.count + of.cold.count
  if (own !== undefined) {
    const warm = own.warm.count > 0 ? own.warm.mean : Math.max(0, own.cold.mean - surcharge)
    return figures(warm, count(own), "pair")
  }
  if (ofKey !== undefined) {
    const warm = ofKey.warm.count > 0 ? ofKey.warm.mean * speed : Math.max(0, ofKey.cold.mean * speed - surcharge)
    return figures(warm, count(ofKey), "key")
  }
  if (state.all.warm.count > 0) return figures(state.all.warm.mean * speed, 0, "global")
  if (state.all.cold.count > 0) return figures(Math.max(0, state.all.cold.mean * speed - surcharge), 0, "global")
  return figures(priorWarmMs, 0, "prior")
}

/** New samples among so many times their number change quantiles too little to sort again. */
const staleShare = 1 / 16

/** Quantiles of this key, cold or warm, on this server; undefined without a sample. At most a sixteenth behind. */
export const quantiles = (
  state: State,
  server: BackendId,
  key: AffinityKey,
  cold: boolean
): Quantiles | undefined => {
  const own = state.pairs.get(server)?.get(key)
  const of = own === undefined ? undefined : side(own, cold)
  if (of === undefined || of.count === 0) return undefined
  const known = of.quantiles
  if (known !== undefined && of.count - known.samples < of.count * staleShare) return known
  const sorted = of.ring.slice(0, Math.min(of.count, ringSize)).toSorted()
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  of.quantiles = { p50: at(0.5), p90: at(0.9), p99: at(0.99), samples: of.count }
  return of.quantiles
}

/** One row per known pair, for people and dashboards. */
export const snapshot = (
  state: State
): ReadonlyArray<{ readonly server: BackendId; readonly key: AffinityKey; readonly estimate: Estimate }> =>
  [...state.order.values()].map(([server, key]) => ({ server, key, estimate: estimate(state, server, key) }))
