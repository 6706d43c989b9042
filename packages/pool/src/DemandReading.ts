/** Reads from a pool what `Demand` is reckoned from: what waits of each kind, and how each server stands. */
import type { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Active } from "./Active.ts"
import * as Defaults from "./Defaults.ts"
import { type Demand, type Machine, of, type Waiting } from "./Demand.ts"
import * as Fleet from "./Fleet.ts"
import { polled } from "./internal/latest.ts"
import type * as Jobs from "./Jobs.ts"
import * as Lease from "./Lease.ts"
import * as Member from "./Member.ts"
import * as Placement from "./Placement.ts"

const { misses } = Defaults.health

/** It gets jobs, or will once it has come up: what is on its way is not asked for again. */
const isComing = (member: Member.Member): boolean => {
  if (member.draining !== undefined || member.paused || member.held === "ejected") return false
  return !Member.isSilent(member, misses) || !member.reached || member.held === "restarting"
}

/** Its servers and what one of its jobs is thought to take: learnt, else what the job says of itself. */
const waitingOf = (fleet: Fleet.Fleet, { affinity: key, need }: Jobs.Kind, jobs: number, now: number): Waiting => {
  const servers = new Set<BackendId>()
  let total = 0
  for (const member of fleet.members.values()) {
    const { id } = member.facts
    if (!isComing(member) || Placement.whyNever(need, member, now) !== undefined) continue
    if (Lease.whyNot(fleet, key, need.estimateMs, member, now) !== undefined) continue
    const { samples, warmMs } = Estimates.estimate(fleet.estimates, id, key)
    servers.add(id)
    total += samples > 0 ? warmMs : need.estimateMs ?? warmMs
  }
  const jobMs = servers.size > 0 ? total / servers.size : need.estimateMs ?? Estimates.defaults.priorWarmMs
  return { key, jobs, jobMs, tags: need.tags, vramBytes: need.vramBytes, servers }
}

/** The kinds that wait, those with the most jobs; `running`: how many jobs of a kind do not. */
const waiting = (
  fleet: Fleet.Fleet,
  { kinds }: Jobs.Jobs,
  running: (kind: Jobs.Kind) => number,
  now: number
): ReadonlyArray<Waiting> =>
  [...kinds.values()].flatMap((ofKey) => [...ofKey.values()])
    .map((kind) => [kind, kind.jobs - running(kind)] as const)
    .filter(([, jobs]) => jobs > 0)
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, Defaults.demand.kinds)
    .map(([kind, jobs]) => waitingOf(fleet, kind, jobs, now))

/** The servers that are there or on their way. */
const machines = (fleet: Fleet.Fleet, now: number): ReadonlyArray<Machine> =>
  [...fleet.members.values()].filter(isComing).map((member): Machine => {
    const { facts: { costPerHour, id, tags }, freeSince } = member
    const isIdle = Fleet.isIdle(fleet, member, now)
    return {
      id,
      busyMs: Fleet.isUp(member) ? Fleet.remaining(fleet, id, now) : 0,
      idleMs: isIdle ? now - freeSince : 0,
      tags: [...tags],
      costPerHour,
      isReleasable: costPerHour !== undefined || member.control.release !== undefined
    }
  })

/** What is wanted of a pool at one instant. `active`: its jobs that do not wait. */
const read = (
  fleet: Fleet.Fleet,
  jobs: Jobs.Jobs,
  active: ReadonlyMap<JobId, Pick<Active, "entry">>,
  now: number
): Demand => {
  const running = new Map<Jobs.Kind, number>()
  for (const { entry: { kind } } of active.values()) running.set(kind, (running.get(kind) ?? 0) + 1)
  return of(waiting(fleet, jobs, (kind) => running.get(kind) ?? 0, now), machines(fleet, now))
}

/** What is wanted now, and each time it is reckoned anew and has changed: nothing is reckoned while nobody listens. */
export const changes = (
  fleet: Fleet.Fleet,
  jobs: Jobs.Jobs,
  active: ReadonlyMap<JobId, Pick<Active, "entry">>
): Stream.Stream<Demand> =>
  polled(
    Effect.clockWith((clock) => Effect.sync(() => read(fleet, jobs, active, readTime(clock).now))),
    Defaults.demand.every
  )
