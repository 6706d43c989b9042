/**
 * Machines that are ours until a certain time: which jobs still end before it, with their files brought home. Pure
 * questions; times are monotonic milliseconds. A lease is said in wall time and taken over once, when it is said: a step
 * of the wall clock neither ends nor extends it.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { Time } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import type { Fleet } from "./Fleet.ts"
import type { Member } from "./Member.ts"
import * as Residency from "./Residency.ts"

const { spread } = Defaults.machines
const collectionMs = Duration.toMillis(Defaults.machines.collection)
const smallestMs = Duration.toMillis(Defaults.machines.smallest)
const unknownMs = Duration.toMillis(Defaults.machines.unknown)

/** The end of a lease on the monotonic clock; infinity without one. `availableUntil`: epoch milliseconds. */
export const endsAt = (availableUntil: number | undefined, { at, now }: Time): number =>
  availableUntil === undefined ? Number.POSITIVE_INFINITY : now + availableUntil - at

/** From when on no run is short enough for what is left. */
export const drainsAt = ({ leaseEndsAt }: Member): number => leaseEndsAt - collectionMs - smallestMs

/** Milliseconds that nine of ten such runs keep to there; undefined: nothing has been learnt of this key. */
const learnt = ({ estimates }: Fleet, server: BackendId, key: AffinityKey, cold: boolean): number | undefined => {
  const seen = Estimates.quantiles(estimates, server, key, cold)
  if (seen !== undefined) return seen.p90
  const { coldMs, samples, warmMs } = Estimates.estimate(estimates, server, key)
  return samples > 0 ? (cold ? coldMs : warmMs) * spread : undefined
}

/** Milliseconds until what is there of ours has ended in nine of ten cases; of what others run nobody knows. */
const busyFor = (fleet: Fleet, { facts: { id }, load, runs }: Member, now: number): number => {
  if (load.foreign > 0) return Number.POSITIVE_INFINITY
  let total = 0
  for (const { expectedMs, isNext, key, since } of runs.values()) {
    const ms = Math.max(expectedMs, learnt(fleet, id, key, false) ?? expectedMs * spread)
    total += isNext ? ms : Math.max(0, since + ms - now)
  }
  return total
}

/**
 * Why a lease is too short for such a job: it would begin when what runs there has ended, take its p90 (else half as long
 * again as its mean, as the job says itself, or ten minutes), and its files need a minute more. `estimateMs`: what the job
 * says of its own time, warm.
 */
export const whyNot = (
  fleet: Fleet,
  key: AffinityKey,
  estimateMs: number | null,
  member: Member,
  now: number
): string | undefined => {
  if (member.leaseEndsAt === Number.POSITIVE_INFINITY) return undefined
  const { facts: { id }, runs } = member
  const isWarm = Residency.warmth(fleet.residency, id, key)?.warm === true ||
    [...runs.values()].some((held) => held.key === key)
  const said = estimateMs === null ? unknownMs : estimateMs * spread
  const ms = learnt(fleet, id, key, !isWarm) ?? said
  return now + busyFor(fleet, member, now) + ms + collectionMs > member.leaseEndsAt
    ? "its lease ends before the job would"
    : undefined
}
