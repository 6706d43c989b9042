/**
 * How long a workflow runs on a server, learnt from finished attempts: warm (its models were there) and cold, per server
 * and affinity key; before the first of them what the fleet shows of the key, of its classes, or of all keys. A fold: no
 * clock, no randomness. It survives its process as JSON.
 */
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as ClassEstimates from "./ClassEstimates.ts"
import * as Document from "./internal/document.ts"
import * as Kept from "./internal/kept.ts"
import * as Samples from "./internal/samples.ts"
import type { ProfilingError } from "./ProfilingError.ts"

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

/** What an estimate rests on: this pair, the key on other servers, its classes, all keys, or nothing but the prior. */
export const Source = Schema.Literals(["pair", "key", "classes", "global", "prior"])
export type Source = typeof Source.Type

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

interface Pair {
  readonly warm: Samples.Samples
  readonly cold: Samples.Samples
}

/** Owned by its driver; `step` updates it in place. */
export interface State {
  readonly options: Options
  readonly pairs: Kept.OfServers<AffinityKey, Pair>
  readonly keys: Map<AffinityKey, Pair>
  readonly all: Pair
  /** How slow a server is beside the fleet at the same keys: 1 is the average, 2 takes twice as long. */
  readonly speeds: Map<BackendId, Samples.Samples>
  /** What runs of a key took beside what their nodes were thought to take: 2 is twice as long. */
  readonly ratios: Map<AffinityKey, Samples.Samples>
  /** What keys are made of that have not run yet, as far as somebody said. */
  readonly graphs: Map<AffinityKey, ClassEstimates.Graph>
  classes: ClassEstimates.State
}

const pair = (): Pair => ({ warm: Samples.make(), cold: Samples.make() })

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  pairs: Kept.make(),
  keys: new Map(),
  all: pair(),
  speeds: new Map(),
  ratios: new Map(),
  graphs: new Map(),
  classes: ClassEstimates.init(options.cap)
})

const pairOf = ({ options: { cap }, pairs }: State, server: BackendId, key: AffinityKey): Pair =>
  Kept.put(pairs, server, key, Kept.get(pairs, server, key) ?? pair(), cap)

const side = (of: Pair, cold: boolean): Samples.Samples => cold ? of.cold : of.warm

/** Those of one side where there are at least so many. */
const enough = (of: Pair | undefined, cold: boolean, least: number): Samples.Samples | undefined =>
  of === undefined || side(of, cold).count < least ? undefined : side(of, cold)

/** Runs that are shorter on the average say more about the network and the clock than about a card. */
const comparableMs = 100

/** Takes a finished attempt. A time that is negative or no number changes nothing. */
export const step = (state: State, { cold, executionMs, key, server }: Finished): State => {
  if (!Number.isFinite(executionMs) || executionMs < 0) return state
  const { cap, weight } = state.options
  const ofKey = Kept.touch(state.keys, key, state.keys.get(key) ?? pair(), cap)
  state.graphs.delete(key)
  const average = side(ofKey, cold)
  if (average.count > 0 && average.mean >= comparableMs) {
    let speed = state.speeds.get(server)
    if (speed === undefined && state.speeds.size < cap) state.speeds.set(server, speed = Samples.make())
    // One odd run says little about a server.
    if (speed !== undefined) Samples.add(speed, Math.min(Math.max(executionMs / average.mean, 0.1), 10), weight / 2)
  }
  Samples.add(average, executionMs, weight)
  Samples.add(side(state.all, cold), executionMs, weight)
  Samples.add(side(pairOf(state, server, key), cold), executionMs, weight)
  return state
}

/** Takes the nodes of a run that succeeded, for workflows that have not run yet. */
export const learnClasses = (state: State, observed: ClassEstimates.Observed): State => {
  ClassEstimates.step(state.classes, observed)
  return state
}

/**
 * Milliseconds that nodes are thought to take by their classes, see `ClassEstimates.expect`: on this server, warm or cold.
 */
export const ofGraph = (
  state: State,
  server: BackendId,
  graph: ClassEstimates.Graph,
  cold: boolean
): number | null => ClassEstimates.expect(state.classes, server, graph, cold, speedOf(state, server))

/** Takes what a run took of which `ofGraph` said something: how right that is for this key. */
export const learnRatio = (state: State, key: AffinityKey, expectedMs: number, executionMs: number): State => {
  const ratio = executionMs / Math.max(expectedMs, 1)
  if (!Number.isFinite(ratio) || ratio < 0) return state
  const { cap, weight } = state.options
  Samples.add(Kept.touch(state.ratios, key, state.ratios.get(key) ?? Samples.make(), cap), ratio, weight)
  return state
}

/** The last of these ratios, in order, where there are at least so many. */
export const ratios = (state: State, key: AffinityKey, least: number): Float32Array | undefined => {
  const known = state.ratios.get(key)
  return known === undefined || known.count < least ? undefined : Samples.sorted(known)
}

/** Says what a key is made of; of use as long as none of its runs has finished, and ignored after. */
export const foresee = (state: State, key: AffinityKey, graph: ClassEstimates.Graph): State => {
  if (state.keys.has(key) || state.graphs.has(key) || state.classes.fleet.size === 0) return state
  Kept.touch(state.graphs, key, graph, state.options.cap)
  return state
}

/** A server that left: what is known of its pairs goes, what its runs say of keys and classes stays. */
export const forget = (state: State, server: BackendId): State => {
  Kept.forget(state.pairs, server)
  state.speeds.delete(server)
  ClassEstimates.forget(state.classes, server)
  return state
}

/**
 * How slow a server is beside the others at the same keys: 2 takes twice as long. 1 until a few of its runs could be
 * compared.
 */
export const speedOf = (state: State, server: BackendId): number => {
  const speed = state.speeds.get(server)
  return speed === undefined || speed.count < 3 ? 1 : speed.mean
}

const surchargeOf = (of: Pair | undefined): number | undefined =>
  of === undefined || of.warm.count === 0 || of.cold.count === 0 ? undefined : Math.max(0, of.cold.mean - of.warm.mean)

const fromClasses = (state: State, server: BackendId, key: AffinityKey): number | undefined => {
  const graph = state.graphs.get(key)
  return graph === undefined ? undefined : ofGraph(state, server, graph, false) ?? undefined
}

const rarer = (of: Pair | undefined): number => of === undefined ? 0 : Math.min(of.warm.count, of.cold.count)

/** As long as nobody has seen a warm run, at most this share of the cold ones is loading. */
const mostLoading = 0.5

/**
 * How long this key runs on this server: from its own samples, else from the same key elsewhere, scaled by how slow this
 * server is beside the others, else from its classes if somebody said what it is made of, else from all keys, else the
 * prior. Constant time but for the classes of a key that never ran, and changes nothing.
 */
export const estimate = (state: State, server: BackendId, key: AffinityKey): Estimate => {
  const own = Kept.get(state.pairs, server, key)
  const ofKey = state.keys.get(key)
  const speed = speedOf(state, server)
  const { priorSurchargeMs, priorWarmMs } = state.options
  const ownSurcharge = surchargeOf(own)
  const surcharge = ownSurcharge ??
    (surchargeOf(ofKey) ?? surchargeOf(state.all) ?? priorSurchargeMs) * speed
  const figures = (warmMs: number, surchargeMs: number, samples: number, source: Source): Estimate => ({
    warmMs,
    coldMs: warmMs + surchargeMs,
    surchargeMs,
    samples,
    surchargeSamples: ownSurcharge === undefined ? rarer(ofKey) : rarer(own),
    source
  })
  const seen = ({ cold, warm }: Pair, scale: number, samples: number, source: Source): Estimate => {
    if (warm.count > 0) return figures(warm.mean * scale, surcharge, samples, source)
    const coldMs = cold.mean * scale
    const loadMs = Math.min(surcharge, coldMs * mostLoading)
    return figures(coldMs - loadMs, loadMs, samples, source)
  }
  const count = (of: Pair): number => of.warm.count + of.cold.count
  if (own !== undefined) return seen(own, 1, count(own), "pair")
  if (ofKey !== undefined) return seen(ofKey, speed, count(ofKey), "key")
  const foreseen = fromClasses(state, server, key)
  if (foreseen !== undefined) return figures(foreseen, surcharge, 0, "classes")
  if (count(state.all) > 0) return seen(state.all, speed, 0, "global")
  return figures(priorWarmMs, surcharge, 0, "prior")
}

/** The share of runs of this key that were cold, of all keys where none of it is known; half where nothing is. */
export const coldShare = (state: State, key: AffinityKey): number => {
  const { cold, warm } = state.keys.get(key) ?? state.all
  return (cold.count + 1) / (cold.count + warm.count + 2)
}

/** Quantiles of this key, cold or warm, on this server; undefined without a sample. At most a sixteenth behind. */
export const quantiles = (
  state: State,
  server: BackendId,
  key: AffinityKey,
  cold: boolean
): Quantiles | undefined => {
  const of = enough(Kept.get(state.pairs, server, key), cold, 1)
  if (of === undefined) return undefined
  return {
    p50: Samples.quantile(of, 0.5),
    p90: Samples.quantile(of, 0.9),
    p99: Samples.quantile(of, 0.99),
    samples: of.sortedAt
  }
}

/** The last times of such runs, in order, and whether they are of this server or of the key on all of them. */
export interface Times {
  readonly sorted: Float32Array
  readonly of: "pair" | "key"
}

/** Times of this key, cold or warm: on this server where there are at least so many, else on all; at most the last 64. */
export const times = (
  state: State,
  server: BackendId,
  key: AffinityKey,
  cold: boolean,
  least: number
): Times | undefined => {
  const own = enough(Kept.get(state.pairs, server, key), cold, least)
  if (own !== undefined) return { sorted: Samples.sorted(own), of: "pair" }
  const ofKey = enough(state.keys.get(key), cold, least)
  return ofKey === undefined ? undefined : { sorted: Samples.sorted(ofKey), of: "key" }
}

/** One row per known pair, for people and dashboards. */
export const snapshot = (
  state: State
): ReadonlyArray<{ readonly server: BackendId; readonly key: AffinityKey; readonly estimate: Estimate }> =>
  [...state.pairs.order.values()].map(([server, key]) => ({ server, key, estimate: estimate(state, server, key) }))

// ── Kept ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The version of documents that this release writes and reads. */
export const version = 1

const StoredPair = { warm: Samples.Stored, cold: Samples.Stored }
const StoredKey = Schema.TemplateLiteral(["a1:", Schema.String])

/** What was learnt as JSON, what was used least lately first; times are milliseconds, to three digits. */
export const Stored = Schema.Struct({
  version: Schema.Literal(version),
  all: Schema.Struct(StoredPair),
  keys: Schema.Array(Schema.Struct({ key: StoredKey, ...StoredPair })),
  pairs: Schema.Array(Schema.Struct({ server: BackendId, key: StoredKey, ...StoredPair })),
  speeds: Schema.Array(Schema.Struct({ server: BackendId, samples: Samples.Stored })),
  ratios: Schema.Array(Schema.Struct({ key: StoredKey, samples: Samples.Stored })),
  classes: ClassEstimates.Stored
})
export type Stored = typeof Stored.Type

const storedPair = ({ cold, warm }: Pair) => ({ warm: Samples.toStored(warm), cold: Samples.toStored(cold) })

/** Everything as plain data. */
export const toStored = (state: State): Stored => ({
  version,
  all: storedPair(state.all),
  keys: Array.from(state.keys, ([key, known]) => ({ key, ...storedPair(known) })),
  pairs: Array.from(state.pairs.order, ([known, [server, key]]) => ({ server, key, ...storedPair(known) })),
  speeds: Array.from(state.speeds, ([server, speed]) => ({ server, samples: Samples.toStored(speed) })),
  ratios: Array.from(state.ratios, ([key, ratio]) => ({ key, samples: Samples.toStored(ratio) })),
  classes: ClassEstimates.toStored(state.classes)
})

const restore = (
  into: Pair,
  { cold, warm }: { readonly cold: Samples.Stored; readonly warm: Samples.Stored }
): void => {
  Object.assign(into.warm, Samples.fromStored(warm))
  Object.assign(into.cold, Samples.fromStored(cold))
}

/** The same again, under these options. */
export const fromStored = (stored: Stored, options: Partial<Options> = {}): State => {
  const state = init(options)
  restore(state.all, stored.all)
  for (const { key, ...times } of stored.keys) restore(Kept.touch(state.keys, key, pair(), state.options.cap), times)
  for (const { key, server, ...times } of stored.pairs) restore(pairOf(state, server, key), times)
  for (const { samples, server } of stored.speeds.slice(-state.options.cap)) {
    state.speeds.set(server, Samples.fromStored(samples))
  }
  for (const { key, samples } of stored.ratios) {
    Kept.touch(state.ratios, key, Samples.fromStored(samples), state.options.cap)
  }
  state.classes = ClassEstimates.fromStored(stored.classes, options.cap)
  return state
}

/** The text of what was learnt, for files and other processes. */
export const toJson = (state: State): string => JSON.stringify(toStored(state))

/** What was learnt, from a text; another version, and what is no such document, is a typed error. */
export const fromJson = (text: string, options: Partial<Options> = {}): Result.Result<State, ProfilingError> =>
  Result.map(Document.read(Stored, version, text), (stored) => fromStored(stored, options))
