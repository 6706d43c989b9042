// What a routing decision costs with 10,000 waiting jobs and a fleet of 1,000, and which arrival rates the policies bear
// against round robin bound at arrival. `node bench/simulation.ts` prints the whole table of policies.
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as CostAware from "@effect-comfyui/pool/CostAware"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import * as Residency from "@effect-comfyui/pool/Residency"
import type { View } from "@effect-comfyui/pool/Router"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { bound, highest, pooled, type Scenario, scenarios } from "./simulation.ts"

const fleet = 1_000
const waiting = 10_000
const keyOf = (n: number): AffinityKey => `a1:${n % 50}`
const servers = Array.from({ length: fleet }, (_, i) => BackendId.make(`gpu-${i}`))

const world = () => {
  const ready = ReadySet.init()
  const residency = Residency.init()
  const estimates = Estimates.init()
  for (let i = 0; i < waiting; i++) {
    const head = {
      id: JobId.make(`job-${i}`),
      priority: 0,
      tenant: `tenant-${i % 10}`,
      affinity: keyOf(i * 7),
      placement: "",
      cost: 5_000,
      notBefore: 0,
      sequence: i
    }
    ReadySet.step(ready, [{ _tag: "Ready", head }], 0)
  }
  servers.forEach((server, i) => {
    // Of keys that are not waiting, so that every decision weighs loading against waiting.
    Residency.step(residency, {
      _tag: "Ran",
      server,
      key: i % 2 === 0 ? keyOf(i) : `a1:other-${i % 100}`,
      found: null,
      at: 0
    })
    for (const cold of [true, false]) {
      for (let n = 0; n < 5; n++) {
        Estimates.step(estimates, { server, key: keyOf(i), cold, executionMs: cold ? 9_000 : 5_000 })
      }
    }
  })
  return { ready, residency, estimates }
}

/** Microseconds of one take and one decision, with so many idle servers. */
const decision = (idle: number) => (): number => {
  const { estimates, ready, residency } = world()
  // Odd servers hold keys that nobody wants: the decision is a cold one.
  const idleServers = idle === 1 ? servers.slice(1, 2) : servers.slice(0, idle)
  const free = new Set(idleServers)
  const warm = new Set(idleServers.flatMap((id) => Residency.residents(residency, id).map(({ key }) => key)))
  const list = idleServers.map((id) => ({ id, weight: 1, placed: 0, load: 0 }))
  const policy = CostAware.make()
  const rounds = 500
  const once = () => {
    const view: View = {
      now: 0,
      ...ReadySet.take(ready, { now: 0, warm }),
      idle: list,
      servers,
      eligible: () => true,
      residentOn: (key) => Residency.residentOn(residency, key),
      warmth: (server, key) => Residency.warmth(residency, server, key),
      victim: (server) => Residency.victim(residency, server),
      remaining: (server) => free.has(server) ? 0 : 60_000,
      estimate: (server, key) => Estimates.estimate(estimates, server, key),
      demand: (key) => ReadySet.demandOf(ready, key)
    }
    return policy.decide(view)
  }
  for (let i = 0; i < rounds; i++) once()
  const before = process.threadCpuUsage().user
  let placed = 0
  for (let i = 0; i < rounds; i++) if (once()._tag === "Place") placed++
  if (placed !== rounds) throw new Error(`${placed} of ${rounds} placed`)
  return (process.threadCpuUsage().user - before) / rounds
}

/** Six pairs of seeds; the median of their ratios. */
const rates = (scenario: Scenario) => () =>
  [1, 2, 3, 4, 5, 6].map((seed) => {
    const count = 6_000
    const ours = highest(scenario, (rate) => pooled(CostAware.make(), scenario, rate, count, seed).p95)
    const reference = highest(scenario, (rate) => bound(scenario, rate, count, seed).p95)
    return { ours, reference, ratio: ours / reference }
  })

const goals: Readonly<Record<string, number>> = { A: 1.4, E: 1.9, G: 2 }

const common = { noise: "wide", measure: "figure", unit: "µs" }

export const cases = [
  { name: "routing-overhead", goal: { maxAbsolute: 200 }, ...common, figure: decision(1) },
  { name: "routing-overhead-idle", goal: { maxAbsolute: 2_000 }, ...common, figure: decision(fleet) },
  ...scenarios.map((scenario) => ({
    name: `routing-${scenario.name}`,
    goal: { min: goals[scenario.name] ?? Number.NaN },
    noise: "wide",
    measure: "samples",
    rounds: 6,
    unit: "jobs/s",
    samples: rates(scenario)
  }))
]
