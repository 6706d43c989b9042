/** The routing policies that are not the default, and a layer of each. */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Context from "effect/Context"
import * as Layer from "effect/Layer"
import * as CostAware from "./CostAware.ts"
import * as Defaults from "./Defaults.ts"
import { byScore, filter, ordered, place, type Policy, Router, tieBreak, type View } from "./Router.ts"

// ── By load ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The idle server that was given the least GPU time for its weight. */
export const leastLoaded: Policy = ordered(
  "least-loaded",
  tieBreak(byScore((_, { load, weight }) => load / weight), byScore((_, { placed }) => placed)),
  (_, { load }) => ({ loadMs: Math.round(load) })
)

/** The idle server that was given the fewest jobs for its weight: in turn, as far as they are idle. */
export const roundRobin: Policy = ordered(
  "round-robin",
  byScore((_, { placed, weight }) => placed / weight),
  (_, { placed }) => ({ placed })
)

// ── By hash ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** FNV-1a and a final mix, from 0 to 1: the same in every process. */
const unit = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b)
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000
}

/** How much this key wants this server, rendezvous hashing: a server that comes or goes moves only its own keys. */
export const rendezvous = (key: AffinityKey, server: BackendId, weight = 1): number =>
  -weight / Math.log(Math.max(unit(`${key} ${server}`), Number.MIN_VALUE))

/** Whether the server has less than `bound` times its part of what was placed on the idle ones. */
const isBelow = ({ load, weight }: View["idle"][number], view: View, bound: number): boolean => {
  let loads = 0
  let weights = 0
  for (const idle of view.idle) {
    loads += idle.load
    weights += idle.weight
  }
  return loads === 0 || load <= bound * loads * weight / weights
}

/**
 * The server that the key's hash prefers among the idle, unless it has had more than `bound` times its share: for fleets
 * without any figure of cost, and for several pools that should agree without talking.
 */
export const hash = (bound: number = Defaults.router.hashLoad): Policy =>
  ordered(
    "hash",
    tieBreak(
      byScore((_, server, view) => isBelow(server, view, bound) ? 0 : 1),
      byScore((job, { id, weight }) => -rendezvous(job.affinity, id, weight))
    ),
    (_, { load }) => ({ loadMs: Math.round(load) })
  )

// ── By groups ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** The servers of one workflow key. */
export interface Group {
  /** Higher is preferred; servers not named are outside the group. */
  readonly servers: ReadonlyMap<BackendId, number>
  /** `exclusive`: its jobs run nowhere else; `fallback`: elsewhere while none of its servers is idle. */
  readonly mode: "exclusive" | "fallback"
}

/** Groups by key, edited while the pool runs; each is read at the next decision. One entry per key that was set. */
export interface Groups {
  readonly set: (key: AffinityKey, group: Group) => void
  readonly remove: (key: AffinityKey) => boolean
  readonly list: () => ReadonlyMap<AffinityKey, Group>
}

export const makeGroups = (initial: Iterable<readonly [AffinityKey, Group]> = []): Groups => {
  const groups = new Map(initial)
  return {
    set: (key, group) => void groups.set(key, group),
    remove: (key) => groups.delete(key),
    list: () => new Map(groups)
  }
}

/**
 * Jobs whose key has a group go to its servers, the preferred ones first; all others, and those that may fall back, are
 * placed by `general`, on any server.
 */
export const affinity = (groups: Groups, general: Policy = CostAware.make()): Policy => ({
  name: "affinity",
  prefersWarm: general.prefersWarm,
  decide: (view) => {
    const known = groups.list()
    const grouped = view.candidates.filter(({ affinity }) => known.has(affinity))
    for (const job of grouped) {
      const { servers } = known.get(job.affinity) ?? { servers: new Map<BackendId, number>() }
      let found: BackendId | undefined
      for (const { id } of view.idle) {
        const mine = servers.get(id)
        if (mine === undefined || !view.eligible(job, id)) continue
        if (found === undefined || mine > (servers.get(found) ?? 0)) found = id
      }
      if (found !== undefined) return place(job, found, { policy: "affinity", preference: servers.get(found) ?? 0 })
    }
    return filter(general, (job, server) => {
      const group = known.get(job.affinity)
      return group === undefined || group.mode === "fallback" || group.servers.has(server)
    }).decide(view)
  }
})

// ── Layers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The groups of {@link layerAffinity}, to be edited at run time. */
export class AffinityGroups extends Context.Service<AffinityGroups, Groups>()("@effect-comfyui/pool/AffinityGroups") {}

/** The default. */
export const layerCostAware: Layer.Layer<Router> = Layer.succeed(Router, CostAware.make())

/** The default with other figures. */
export const layerCostAwareWith = (options: Partial<CostAware.Options>): Layer.Layer<Router> =>
  Layer.succeed(Router, CostAware.make(options))

export const layerLeastLoaded: Layer.Layer<Router> = Layer.succeed(Router, leastLoaded)

export const layerRoundRobin: Layer.Layer<Router> = Layer.succeed(Router, roundRobin)

export const layerHash: Layer.Layer<Router> = Layer.succeed(Router, hash())

/** Groups per workflow key over the default policy; gives the groups too. */
export const layerAffinity = (
  initial: Iterable<readonly [AffinityKey, Group]> = [],
  general: Policy = CostAware.make()
): Layer.Layer<Router | AffinityGroups> =>
  Layer.suspend(() => {
    const groups = makeGroups(initial)
    return Layer.merge(Layer.succeed(AffinityGroups, groups), Layer.succeed(Router, affinity(groups, general)))
  })
