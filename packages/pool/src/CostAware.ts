/**
 * The default policy: jobs are bound late, to the server that has their models; where none that is idle has, the cost of
 * loading is weighed against waiting for a busy one, and against what the loading would push out elsewhere.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { Estimate } from "@effect-comfyui/profiling/Estimates"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import type { JobHead } from "./JobHead.ts"
import { type Decision, type Idle, place, type Policy, type View, wait, type Why } from "./Router.ts"

/** Times in milliseconds. */
export interface Options {
  /** A job waits for a busy warm server at most this share of its cold surcharge, and at most so long … */
  readonly warmWaitShare: number
  readonly warmWait: number
  /** … where cold and warm runs were seen so often. */
  readonly warmWaitSamples: number
  /** Weight of the models that a cold run pushes out: 0 ignores them. */
  readonly eviction: number
}

const { warmWait, warmWaitSamples, warmWaitShare } = Defaults.router

export const defaults: Options = {
  warmWaitShare,
  warmWait: Duration.toMillis(warmWait),
  warmWaitSamples,
  eviction: 1
}

/** What it costs to run the job there now, and what was reckoned. */
interface Cost {
  readonly server: BackendId
  readonly total: number
  readonly estimate: Estimate
  readonly evictionMs: number
}

/** What the models that go are worth: dear to load, wanted, and nowhere else. */
const evictionCost = (view: View, server: BackendId, weight: number): number => {
  const victim = weight === 0 ? null : view.victim(server)
  if (victim === null) return 0
  const copies = Math.max(1, view.residentOn(victim).size)
  const wanted = Math.min(1, (view.demand(victim) + 1) / copies)
  return weight * view.estimate(server, victim).surchargeMs * wanted / copies
}

const coldCost = (
  view: View,
  job: JobHead,
  { id, weight }: Idle,
  options: Options,
  evictions: Map<BackendId, number>
): Cost => {
  const estimate = view.estimate(id, job.affinity)
  let evictionMs = evictions.get(id)
  if (evictionMs === undefined) evictions.set(id, evictionMs = evictionCost(view, id, options.eviction))
  return { server: id, total: (estimate.coldMs + evictionMs) / weight, estimate, evictionMs }
}

/** The idle server that has the job's models and runs it soonest; one that still has its results before all. */
const warmServer = (view: View, job: JobHead, idle: ReadonlyMap<BackendId, Idle>): Decision | undefined => {
  let found: { readonly server: BackendId; readonly ms: number } | undefined
  for (const server of view.residentOn(job.affinity)) {
    const one = idle.get(server)
    if (one === undefined || view.warmth(server, job.affinity)?.warm !== true || !view.eligible(job, server)) continue
    const ms = view.estimate(server, job.affinity).warmMs / one.weight
    if (found === undefined || ms < found.ms) found = { server, ms }
  }
  if (found === undefined) return undefined
  const { server } = found
  const warmth = view.warmth(server, job.affinity)
  const { samples, source, warmMs } = view.estimate(server, job.affinity)
  return place(job, server, {
    policy: "cost-aware",
    warm: true,
    ...warmth === undefined
      ? {}
      : { evidence: warmth.evidence, level: warmth.level, since: warmth.since, k: warmth.among },
    estimateMs: Math.round(warmMs),
    estimateFrom: source,
    estimateSamples: samples
  })
}

/** When a busy server that has the models will be done, if that is worth waiting for. */
const warmSoon = (view: View, job: JobHead, cost: Cost, options: Options): number | undefined => {
  const { surchargeMs, surchargeSamples } = cost.estimate
  if (surchargeSamples < options.warmWaitSamples) return undefined
  const limit = Math.min(options.warmWaitShare * surchargeMs, options.warmWait)
  let soonest: number | undefined
  for (const server of view.residentOn(job.affinity)) {
    if (!view.eligible(job, server)) continue
    const remaining = view.remaining(server)
    if (remaining <= 0 || remaining > limit) continue
    if (remaining + view.estimate(server, job.affinity).warmMs >= cost.total) continue
    if (soonest === undefined || remaining < soonest) soonest = remaining
  }
  return soonest
}

const coldWhy = ({ estimate, evictionMs }: Cost, view: View, forced: boolean): Why => ({
  policy: "cost-aware",
  warm: false,
  forced,
  estimateMs: Math.round(estimate.coldMs),
  estimateFrom: estimate.source,
  estimateSamples: estimate.samples,
  surchargeMs: Math.round(estimate.surchargeMs),
  surchargeSamples: estimate.surchargeSamples,
  evictionMs: Math.round(evictionMs),
  idle: view.idle.length
})

/**
 * Forced first. Then a job whose models an idle server has, in fair order. Then, in fair order, the first job that is not
 * better off waiting for a busy server: to the idle server where loading costs least.
 */
export const make = (options: Partial<Options> = {}): Policy => {
  const all = { ...defaults, ...options }
  return { name: "cost-aware", prefersWarm: true, decide: (view) => decide(view, all) }
}

/** Jobs of one key and placement cost the same: what was reckoned for one serves all, unless one may not run there. */
const cheapest = (view: View, job: JobHead, options: Options, evictions: Map<BackendId, number>): Cost | undefined => {
  let found: Cost | undefined
  for (const server of view.idle) {
    if (!view.eligible(job, server.id)) continue
    const cost = coldCost(view, job, server, options, evictions)
    if (found === undefined || cost.total < found.total) found = cost
  }
  return found
}

const decide = (view: View, options: Options): Decision => {
  const idle = new Map(view.idle.map((server) => [server.id, server]))
  const evictions = new Map<BackendId, number>()
  const [first] = view.candidates
  if (view.forced && first !== undefined) {
    const warm = warmServer(view, first, idle)
    if (warm !== undefined) return warm
    const cost = cheapest(view, first, options, evictions)
    if (cost !== undefined) return place(first, cost.server, coldWhy(cost, view, true))
  }
  for (const job of view.candidates) {
    const warm = warmServer(view, job, idle)
    if (warm !== undefined) return warm
  }
  let until = Number.POSITIVE_INFINITY
  for (const job of view.candidates) {
    const cost = cheapest(view, job, options, evictions)
    if (cost === undefined) continue
    const soon = warmSoon(view, job, cost, options)
    if (soon === undefined) return place(job, cost.server, coldWhy(cost, view, false))
    until = Math.min(until, view.now + soon)
  }
  return until === Number.POSITIVE_INFINITY
    ? wait({ policy: "cost-aware", reason: "no idle server may run a candidate" })
    : wait({ policy: "cost-aware", reason: "a busy server will be warm sooner" }, until)
}
