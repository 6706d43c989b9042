/**
 * Which waiting job goes to which idle server now, or whether it is better to wait: a pure decision over a view, with the
 * evidence and the figures that made it. Policies are values; a layer makes one the pool's.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { Estimate } from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Context from "effect/Context"
import type { JobHead } from "./JobHead.ts"
import type { Warmth } from "./Residency.ts"

/** A server that can be given a job now. */
export interface Idle {
  readonly id: BackendId
  /** The user's word for how much it should be given beside others; 1 by default. */
  readonly weight: number
  /** Jobs given to it so far, for policies that count. */
  readonly placed: number
  /** Estimated or known milliseconds of GPU time it has been given; for policies that balance. */
  readonly load: number
}

/** What a policy may know. All functions are cheap, pure reads of the pool's cores. */
export interface View {
  /** Monotonic milliseconds. */
  readonly now: number
  /** In fair order, at most 64, of one priority. */
  readonly candidates: ReadonlyArray<JobHead>
  /** The first candidate goes before all others, wherever it may. */
  readonly forced: boolean
  readonly idle: ReadonlyArray<Idle>
  /** All servers that are up, idle or not. */
  readonly servers: ReadonlyArray<BackendId>
  /** Whether the job may run there: capabilities, placement, breakers, what it failed on. Busy servers too. */
  readonly eligible: (job: JobHead, server: BackendId) => boolean
  /** Servers that hold the key, idle or busy. */
  readonly residentOn: (key: AffinityKey) => ReadonlySet<BackendId>
  readonly warmth: (server: BackendId, key: AffinityKey) => Warmth | undefined
  /** Whose models would be lost if another key ran there. */
  readonly victim: (server: BackendId) => AffinityKey | null
  /** Estimated milliseconds until a busy server is idle; 0 for an idle one; infinity where nobody knows. */
  readonly remaining: (server: BackendId) => number
  readonly estimate: (server: BackendId, key: AffinityKey) => Estimate
  /** Ready jobs that want these models. */
  readonly demand: (key: AffinityKey) => number
}

/** Why: names and figures, as `Placed` reports them. */
export type Why = Readonly<Record<string, string | number | boolean>>

/** Waits until `until` (monotonic milliseconds) at most, and anyway until something changes. */
export type Decision =
  | { readonly _tag: "Place"; readonly job: JobHead; readonly server: BackendId; readonly why: Why }
  | { readonly _tag: "Wait"; readonly until: number | null; readonly why: Why }

/** A routing policy: pure, total, and never outside the candidates and the idle servers. */
export interface Policy {
  readonly name: string
  /** Jobs whose models an idle server holds are offered before older ones of their tenant. */
  readonly prefersWarm: boolean
  readonly decide: (view: View) => Decision
}

/** The policy of the pool: `RouterPolicies` has layers for ours. */
export class Router extends Context.Service<Router, Policy>()("@effect-comfyui/pool/Router") {}

export const place = (job: JobHead, server: BackendId, why: Why): Decision => ({ _tag: "Place", job, server, why })

export const wait = (why: Why, until: number | null = null): Decision => ({ _tag: "Wait", until, why })

// ── Combinators ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Orders two idle servers for a job: negative, the first is better. */
export type Order = (job: JobHead, a: Idle, b: Idle, view: View) => number

/** Lower is better. */
export const byScore = (score: (job: JobHead, server: Idle, view: View) => number): Order => (job, a, b, view) =>
  score(job, a, view) - score(job, b, view)

/** The first order that tells two servers apart. */
export const tieBreak = (...orders: ReadonlyArray<Order>): Order => (job, a, b, view) => {
  for (const order of orders) {
    const found = order(job, a, b, view)
    if (found !== 0) return found
  }
  return 0
}

const best = (job: JobHead, order: Order, view: View): Idle | undefined => {
  let chosen: Idle | undefined
  for (const server of view.idle) {
    if (!view.eligible(job, server.id)) continue
    if (chosen === undefined || order(job, server, chosen, view) < 0) chosen = server
  }
  return chosen
}

/** Jobs in fair order, each to the best idle server by this order; never waits while one may run it. */
export const ordered = (name: string, order: Order, why: (job: JobHead, server: Idle, view: View) => Why): Policy => ({
  name,
  prefersWarm: false,
  decide: (view) => {
    for (const job of view.candidates) {
      const server = best(job, order, view)
      if (server !== undefined) return place(job, server.id, { policy: name, ...why(job, server, view) })
    }
    return wait({ policy: name, reason: "no idle server may run a candidate" })
  }
})

/** The policy, seeing only some pairs of job and server. What it may not see it cannot choose. */
export const filter = (
  policy: Policy,
  keep: (job: JobHead, server: BackendId, view: View) => boolean
): Policy => ({
  name: policy.name,
  prefersWarm: policy.prefersWarm,
  decide: (view) =>
    policy.decide({ ...view, eligible: (job, server) => view.eligible(job, server) && keep(job, server, view) })
})

/** The first policy that places a job; a wait of an earlier one is kept if none does. */
export const orElse = (first: Policy, second: Policy): Policy => ({
  name: first.name,
  prefersWarm: first.prefersWarm,
  decide: (view) => {
    const decision = first.decide(view)
    if (decision._tag === "Place") return decision
    const other = second.decide(view)
    return other._tag === "Place" ? other : decision
  }
})
