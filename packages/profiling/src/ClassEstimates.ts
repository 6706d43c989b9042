/**
 * How long nodes of a class take, learnt from profiles of runs that succeeded: what a workflow that nobody has run yet is
 * thought to take. A fold: no clock, no randomness.
 */
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Schema from "effect/Schema"
import * as Kept from "./internal/kept.ts"
import * as Samples from "./internal/samples.ts"
import type { NodeProfile } from "./NodeProfile.ts"

/** The nodes of a run that succeeded. `cold`: its models had to be loaded. */
export interface Observed {
  readonly server: BackendId
  readonly cold: boolean
  readonly nodes: ReadonlyArray<NodeProfile>
}

/** Of one class on one server, or on all of them. Milliseconds of one execution. */
interface Class {
  /** The time outside its steps; all of it for a class that counts none. */
  readonly warm: Samples.Samples
  readonly cold: Samples.Samples
  readonly stepMs: Samples.Samples
  readonly steps: Samples.Samples
}

/** Owned by its driver; `step` updates it in place. `cap`: (server, class) pairs, and classes, that are kept. */
export interface State {
  readonly cap: number
  readonly servers: Kept.OfServers<string, Class>
  readonly fleet: Map<string, Class>
}

export const init = (cap = 10_000): State => ({ cap, servers: Kept.make(), fleet: new Map() })

const make = (): Class => ({
  warm: Samples.make(),
  cold: Samples.make(),
  stepMs: Samples.make(),
  steps: Samples.make()
})

const ofFleet = ({ cap, fleet }: State, classType: string, given?: Class): Class =>
  Kept.touch(fleet, classType, given ?? fleet.get(classType) ?? make(), cap)

const ofServer = ({ cap, servers }: State, server: BackendId, classType: string, given?: Class): Class =>
  Kept.put(servers, server, classType, given ?? Kept.get(servers, server, classType) ?? make(), cap)

const weight = 0.2

const learn = (into: Class, { executions, exclusiveMs, progress }: NodeProfile, cold: boolean): void => {
  const steps = progress === null ? 0 : progress.steps / executions
  const rate = progress?.stepsPerSecond ?? null
  const stepMs = rate === null || rate <= 0 ? null : 1000 / rate
  if (stepMs !== null && steps > 0) {
    Samples.add(into.stepMs, stepMs, weight)
    Samples.add(into.steps, steps, weight)
  }
  const outside = exclusiveMs / executions - (stepMs === null ? 0 : steps * stepMs)
  Samples.add(cold ? into.cold : into.warm, Math.max(0, outside), weight)
}

/** Takes the nodes of a run: those that were executed, with times that were seen. */
export const step = (state: State, { cold, nodes, server }: Observed): State => {
  for (const node of nodes) {
    if (node.classType === null || node.state !== "executed" || node.inferred || node.executions < 1) continue
    learn(ofServer(state, server, node.classType), node, cold)
    learn(ofFleet(state, node.classType), node, cold)
  }
  return state
}

/** A server that left: what is known of it goes, what its runs say of classes stays. */
export const forget = (state: State, server: BackendId): State => {
  Kept.forget(state.servers, server)
  return state
}

/** What a class takes in one execution, medians in milliseconds; null where nobody has seen it so. */
export interface ClassEstimate {
  readonly warmMs: number | null
  readonly coldMs: number | null
  readonly stepMs: number | null
  readonly steps: number | null
  /** Executions behind it. */
  readonly samples: number
}

const median = (of: Samples.Samples): number | null => of.count === 0 ? null : Samples.quantile(of, 0.5)

const read = (known: Class): ClassEstimate => {
  const [stepMs, steps] = [median(known.stepMs), median(known.steps)]
  const stepping = (stepMs ?? 0) * (steps ?? 0)
  const whole = (outside: number | null) => outside === null ? null : outside + stepping
  return {
    warmMs: whole(median(known.warm)),
    coldMs: whole(median(known.cold)),
    stepMs,
    steps,
    samples: known.warm.count + known.cold.count
  }
}

/** What is known of a class on this server; undefined where it was never executed there. */
export const get = (state: State, server: BackendId, classType: string): ClassEstimate | undefined => {
  const known = Kept.get(state.servers, server, classType)
  return known === undefined ? undefined : read(known)
}

/** The same over all servers. */
export const ofAll = (state: State, classType: string): ClassEstimate | undefined => {
  const known = state.fleet.get(classType)
  return known === undefined ? undefined : read(known)
}

/** What is known of a class on this server from at least so many executions, else over all servers. */
export const nearest = (
  state: State,
  server: BackendId | null,
  classType: string | null,
  least: number
): ClassEstimate | undefined => {
  if (classType === null) return undefined
  const there = server === null ? undefined : get(state, server, classType)
  return there !== undefined && there.samples >= least ? there : ofAll(state, classType)
}

// ── Workflows ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What of a workflow decides its time: its nodes by class, with the steps that they ask for, null where they do not say. */
export type Graph = ReadonlyArray<{
  readonly classType: string
  readonly nodes: number
  readonly steps: number | null
}>

const stepsOf = (steps: unknown): number | null =>
  typeof steps === "number" && Number.isFinite(steps) && steps > 0 ? steps : null

/** Reads a workflow, linear in its nodes. */
export const graphOf = ({ nodes }: Workflow): Graph => {
  const classes = new Map<string, { classType: string; nodes: number; steps: number | null }>()
  for (const { class_type: classType, inputs } of Object.values(nodes)) {
    const steps = stepsOf(inputs["steps"])
    const known = classes.get(classType)
    if (known === undefined) classes.set(classType, { classType, nodes: 1, steps })
    else {
      known.nodes++
      known.steps = known.steps === null || steps === null ? null : known.steps + steps
    }
  }
  return [...classes.values()]
}

/** Milliseconds of these nodes, by what is known of their class; null: nothing of that kind. */
const cost = (known: Class, { nodes, steps }: Graph[number], cold: boolean): number | null => {
  const outside = median(cold ? known.cold : known.warm) ?? median(cold ? known.warm : known.cold)
  if (outside === null) return null
  return nodes * outside + (steps ?? nodes * (median(known.steps) ?? 0)) * (median(known.stepMs) ?? 0)
}

/** A guess from fewer of its nodes says nothing. */
const leastKnown = 0.8

/**
 * Milliseconds that a workflow is thought to take on this server: the sum of its classes, there or else on all servers times
 * `speed`, how slow this server is beside the others. Null where less than four fifths of its nodes are of known classes.
 */
export const expect = (
  state: State,
  server: BackendId,
  graph: Graph,
  cold: boolean,
  speed = 1
): number | null => {
  const here = state.servers.servers.get(server)
  let [ms, known, all] = [0, 0, 0]
  for (const part of graph) {
    all += part.nodes
    const own = here?.get(part.classType)
    const ofClass = own ?? state.fleet.get(part.classType)
    const found = ofClass === undefined ? null : cost(ofClass, part, cold)
    if (found === null) continue
    known += part.nodes
    ms += own === undefined ? found * speed : found
  }
  return all === 0 || known < all * leastKnown ? null : ms
}

/** A node that is known to take no time is some work. */
const leastMs = 1

/**
 * What each node of a workflow weighs in the progress of the whole: milliseconds that its class is thought to take; what the
 * known ones take on the average where its class is not known, and 1 each where none is.
 */
export const weights = (state: State, { nodes }: Workflow, cold: boolean): ReadonlyMap<string, number> => {
  const found = new Map<string, number>()
  const unknown: Array<string> = []
  let sum = 0
  for (const [id, { class_type: classType, inputs }] of Object.entries(nodes)) {
    const known = state.fleet.get(classType)
    const ms = known === undefined ? null : cost(known, { classType, nodes: 1, steps: stepsOf(inputs["steps"]) }, cold)
    if (ms === null) unknown.push(id)
    else {
      const weight = Math.max(leastMs, ms)
      found.set(id, weight)
      sum += weight
    }
  }
  const average = found.size === 0 ? 1 : sum / found.size
  for (const id of unknown) found.set(id, average)
  return found
}

// ── Kept ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What is known of one class as JSON; `server` null: over all of them. */
const StoredClass = Schema.Struct({
  server: Schema.NullOr(BackendId),
  classType: Schema.String,
  warm: Samples.Stored,
  cold: Samples.Stored,
  stepMs: Samples.Stored,
  steps: Samples.Stored
})

/** All of it as JSON, what was used least lately first. */
export const Stored = Schema.Array(StoredClass)
export type Stored = typeof Stored.Type

const toRow = (server: BackendId | null, classType: string, known: Class): typeof StoredClass.Type => ({
  server,
  classType,
  warm: Samples.toStored(known.warm),
  cold: Samples.toStored(known.cold),
  stepMs: Samples.toStored(known.stepMs),
  steps: Samples.toStored(known.steps)
})

/** Everything as plain data. */
export const toStored = ({ fleet, servers: { order } }: State): Stored => [
  ...Array.from(fleet, ([classType, known]) => toRow(null, classType, known)),
  ...Array.from(order, ([known, [server, classType]]) => toRow(server, classType, known))
]

/** The same again, under this cap. */
export const fromStored = (rows: Stored, cap?: number): State => {
  const state = init(cap)
  for (const { classType, cold, server, stepMs, steps, warm } of rows) {
    const known: Class = {
      warm: Samples.fromStored(warm),
      cold: Samples.fromStored(cold),
      stepMs: Samples.fromStored(stepMs),
      steps: Samples.fromStored(steps)
    }
    if (server === null) ofFleet(state, classType, known)
    else ofServer(state, server, classType, known)
  }
  return state
}
