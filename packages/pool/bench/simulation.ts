// A fleet in virtual time, driven by the pool's own cores: which policy bears which arrival rate. The cost model and the
// scenarios are those of the reliability notes: Poisson arrivals, Zipf popularity, LRU caches of k workflows, lognormal
// times. k is never read from the fake: the cores infer it. `node bench/simulation.ts [jobs]` prints a table.
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as CostAware from "@effect-comfyui/pool/CostAware"
import type { JobHead } from "@effect-comfyui/pool/JobHead"
import * as Prefetch from "@effect-comfyui/pool/Prefetch"
import * as ReadySet from "@effect-comfyui/pool/ReadySet"
import * as Residency from "@effect-comfyui/pool/Residency"
import type { Idle, Policy, View } from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"

export interface Scenario {
  readonly name: string
  readonly servers: number
  readonly models: number
  readonly zipf: number
  readonly k: number
  readonly loadMs: number
  readonly runMs: number
  /** Speeds of the servers, in turn: 2 takes half the time. */
  readonly speeds: ReadonlyArray<number>
  /** The p95 that must be kept. */
  readonly limitMs: number
}

const base = { servers: 8, models: 24, zipf: 0.9, k: 1, loadMs: 3_540, runMs: 5_120, speeds: [1], limitMs: 60_000 }

export const scenarios: ReadonlyArray<Scenario> = [
  { ...base, name: "A" },
  { ...base, name: "E", models: 12, loadMs: 20_000, runMs: 12_000, limitMs: 180_000 },
  { ...base, name: "G", speeds: [1, 1, 1, 1, 2, 2, 2, 2] }
]

/** Mulberry32. */
export const seeded = (seed: number) => (): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000
}

interface Arrival {
  readonly at: number
  readonly key: AffinityKey
  /** Milliseconds on a server of speed 1, without loading. */
  readonly runMs: number
  readonly loadFactor: number
}

const normal = (random: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

const sigma = Math.sqrt(Math.log(1 + 0.25 ** 2))
const lognormal = (random: () => number): number => Math.exp(sigma * normal(random) - sigma ** 2 / 2)

export const arrivals = (scenario: Scenario, rate: number, count: number, seed: number): ReadonlyArray<Arrival> => {
  const random = seeded(seed)
  const weights = Array.from({ length: scenario.models }, (_, i) => (i + 1) ** -scenario.zipf)
  const total = weights.reduce((sum, one) => sum + one, 0)
  let at = 0
  return Array.from({ length: count }, () => {
    at += -Math.log(1 - random()) / rate * 1000
    let pick = random() * total
    const model = weights.findIndex((one) => (pick -= one) < 0)
    return {
      at,
      key: `a1:${Math.max(model, 0)}` as const,
      runMs: scenario.runMs * lognormal(random),
      loadFactor: lognormal(random)
    }
  })
}

/** A server of the fake: what it really holds, and until when it is busy. */
interface Machine {
  readonly id: BackendId
  readonly speed: number
  readonly cache: Array<AffinityKey>
  freeAt: number
  placed: number
  load: number
  expectedFreeAt: number
}

const machinesOf = ({ servers, speeds }: Scenario): ReadonlyArray<Machine> =>
  Array.from({ length: servers }, (_, i) => ({
    id: BackendId.make(`gpu-${i}`),
    speed: speeds[i % speeds.length] ?? 1,
    cache: [],
    freeAt: 0,
    placed: 0,
    load: 0,
    expectedFreeAt: 0
  }))

/** Runs the job there; answers how long it took and whether it loaded. */
const execute = (machine: Machine, { key, loadFactor, runMs }: Arrival, { k, loadMs }: Scenario) => {
  const at = machine.cache.indexOf(key)
  if (at >= 0) machine.cache.splice(at, 1)
  machine.cache.unshift(key)
  machine.cache.length = Math.min(machine.cache.length, k)
  const cold = at < 0
  return { cold, ms: (runMs + (cold ? loadMs * loadFactor : 0)) / machine.speed }
}

export interface Outcome {
  readonly p50: number
  readonly p95: number
  readonly coldShare: number
}

const outcome = (latencies: ReadonlyArray<number>, cold: number): Outcome => {
  const sorted = latencies.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0
  return { p50: at(0.5), p95: at(0.95), coldShare: cold / latencies.length }
}

/** Job i goes to server i mod N at arrival, one unbounded queue per server. */
export const bound = (scenario: Scenario, rate: number, count: number, seed: number): Outcome => {
  const machines = machinesOf(scenario)
  let cold = 0
  const latencies = arrivals(scenario, rate, count, seed).map((job, i) => {
    const machine = machines[i % machines.length]
    if (machine === undefined) return 0
    const ran = execute(machine, job, scenario)
    if (ran.cold) cold++
    machine.freeAt = Math.max(machine.freeAt, job.at) + ran.ms
    return machine.freeAt - job.at
  })
  return outcome(latencies, cold)
}

/** What runs on a machine, and what was sent there to follow it. */
interface Run {
  readonly machine: Machine
  readonly job: JobHead
  readonly finish: () => void
  next: JobHead | undefined
}

/** Candidates that are looked at for a machine that is about to be free. */
const followers = 16

/**
 * The pool's cores: ready set, residency, estimates and the policy, bound late; with `prefetch` by the pool's own rules,
 * but for taking back, which only a fleet with idle servers does.
 */
export const pooled = (
  policy: Policy,
  scenario: Scenario,
  rate: number,
  count: number,
  seed: number,
  prefetch = true
): Outcome => {
  const machines = machinesOf(scenario)
  const jobs = arrivals(scenario, rate, count, seed)
  const ready = ReadySet.init()
  const residency = Residency.init()
  const estimates = Estimates.init()
  const latencies: Array<number> = []
  let cold = 0
  let next = 0
  let now = 0
  const servers = machines.map(({ id }) => id)
  const running = new Map<BackendId, Run>()

  const expected = (server: BackendId, job: JobHead): number => {
    const guess = Estimates.estimate(estimates, server, job.affinity)
    return Residency.warmth(residency, server, job.affinity)?.warm === true ? guess.warmMs : guess.coldMs
  }
  const begin = (machine: Machine, job: JobHead) => {
    const arrival = jobs[job.sequence]
    if (arrival === undefined) throw new Error("placed outside the view")
    const { id: server } = machine
    machine.expectedFreeAt = now + expected(server, job)
    const ran = execute(machine, arrival, scenario)
    if (ran.cold) cold++
    machine.freeAt = now + ran.ms
    machine.placed++
    machine.load += ran.ms
    Residency.step(residency, { _tag: "Ran", server, key: job.affinity, found: ran.cold ? null : "loader", at: now })
    latencies.push(machine.freeAt - arrival.at)
    const finish = () => {
      Estimates.step(estimates, { server, key: job.affinity, cold: ran.cold, executionMs: ran.ms })
      ReadySet.correct(ready, job.tenant, job.cost, ran.ms)
    }
    running.set(server, { machine, job, finish, next: undefined })
  }
  const remaining = (server: BackendId): number => {
    const run = running.get(server)
    if (run === undefined) return 0
    const left = Math.max(1, run.machine.expectedFreeAt - now)
    return left + (run.next === undefined ? 0 : expected(server, run.next))
  }
  const view = (idle: ReadonlyArray<Idle>, { candidates, forced }: ReadySet.Offer): View => ({
    now,
    candidates,
    forced,
    idle,
    servers,
    eligible: () => true,
    residentOn: (key) => Residency.residentOn(residency, key),
    warmth: (server, key) => Residency.warmth(residency, server, key),
    victim: (server) => Residency.victim(residency, server),
    remaining,
    estimate: (server, key) => Estimates.estimate(estimates, server, key),
    demand: (key) => ReadySet.demandOf(ready, key)
  })
  const dispatch = (): number => {
    for (;;) {
      const idle: Array<Idle> = []
      const warm = new Set<AffinityKey>()
      for (const machine of machines) {
        if (running.has(machine.id)) continue
        idle.push({ id: machine.id, weight: 1, placed: machine.placed, load: machine.load })
        for (const { key } of Residency.residents(residency, machine.id)) warm.add(key)
      }
      if (idle.length === 0) return Number.POSITIVE_INFINITY
      const offer = ReadySet.take(ready, policy.prefersWarm ? { now, warm } : { now })
      if (offer.candidates.length === 0) return Number.POSITIVE_INFINITY
      const decision = policy.decide(view(idle, offer))
      if (decision._tag === "Wait") return decision.until ?? Number.POSITIVE_INFINITY
      const machine = machines.find(({ id }) => id === decision.server)
      if (machine === undefined) throw new Error("placed outside the view")
      ReadySet.claimed(ready, decision.job)
      begin(machine, decision.job)
    }
  }
  /** Sends the next job of the same models where a run is about to end; answers when another one will be. */
  const ahead = (): number => {
    const { endsWithin, lastsLess } = Prefetch.defaults
    let until = Number.POSITIVE_INFINITY
    for (const run of running.values()) {
      const { job: { affinity }, machine } = run
      if (run.next !== undefined || ReadySet.demandOf(ready, affinity) === 0) continue
      const { samples, warmMs } = Estimates.estimate(estimates, machine.id, affinity)
      const late = now - machine.expectedFreeAt
      if (samples === 0 || warmMs >= lastsLess || late > endsWithin) continue
      if (-late > endsWithin) {
        until = Math.min(until, machine.expectedFreeAt - endsWithin)
        continue
      }
      const warm = policy.prefersWarm ? { warm: new Set([affinity]) } : {}
      const { candidates, forced } = ReadySet.take(ready, { now, limit: followers, ...warm })
      const asked = forced || !policy.prefersWarm ? candidates.slice(0, 1) : candidates
      const next = asked.find((job) => job.affinity === affinity)
      if (next === undefined) continue
      ReadySet.claimed(ready, next)
      run.next = next
    }
    return until
  }
  const end = (run: Run) => {
    running.delete(run.machine.id)
    run.finish()
    if (run.next !== undefined) begin(run.machine, run.next)
  }
  let wake = Number.POSITIVE_INFINITY
  while (next < jobs.length || running.size > 0 || ReadySet.size(ready) > 0) {
    let ending = Number.POSITIVE_INFINITY
    for (const { machine } of running.values()) ending = Math.min(ending, machine.freeAt)
    now = Math.min(jobs[next]?.at ?? Number.POSITIVE_INFINITY, ending, wake > now ? wake : Number.POSITIVE_INFINITY)
    for (const run of [...running.values()]) if (run.machine.freeAt <= now) end(run)
    for (let job = jobs[next]; job !== undefined && job.at <= now; job = jobs[++next]) {
      const head = {
        id: JobId.make(`job-${next}`),
        priority: 0,
        tenant: "tenant",
        affinity: job.key,
        placement: "",
        cost: scenario.runMs,
        notBefore: 0,
        sequence: next
      }
      ReadySet.step(ready, [{ _tag: "Ready", head }], now)
    }
    // A queue that only grows tells enough.
    if (ReadySet.size(ready) > 2_000) {
      return { p50: Number.POSITIVE_INFINITY, p95: Number.POSITIVE_INFINITY, coldShare: 1 }
    }
    wake = dispatch()
    if (prefetch) wake = Math.min(wake, ahead())
  }
  return outcome(latencies, cold)
}

/** The highest rate whose p95 stays within the limit, to about 1 %. */
export const highest = (scenario: Scenario, p95: (rate: number) => number): number => {
  let low = 0.05
  let high = 6
  while (high / low > 1.01) {
    const middle = Math.sqrt(low * high)
    if (p95(middle) <= scenario.limitMs) low = middle
    else high = middle
  }
  return low
}

export const policies: Readonly<Record<string, Policy>> = {
  "cost-aware": CostAware.make(),
  "least-loaded": RouterPolicies.leastLoaded,
  "round-robin late": RouterPolicies.roundRobin,
  hash: RouterPolicies.hash()
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0

/** Arrival rates and their ratios to round robin bound at arrival, the median over the seeds. */
export const table = (scenario: Scenario, count: number, seeds: ReadonlyArray<number>) => {
  const reference = seeds.map((seed) => highest(scenario, (rate) => bound(scenario, rate, count, seed).p95))
  return Object.entries(policies).map(([name, policy]) => {
    const rates = seeds.map((seed) => highest(scenario, (rate) => pooled(policy, scenario, rate, count, seed).p95))
    const ratios = rates.map((rate, i) => rate / (reference[i] ?? Number.NaN))
    return { name, rate: median(rates), ratio: median(ratios) }
  })
}

if (import.meta.filename === process.argv[1]) {
  const count = Number(process.argv[2] ?? 6_000)
  for (const scenario of scenarios) {
    for (const { name, rate, ratio } of table(scenario, count, [1])) {
      process.stdout.write(`${scenario.name}  ${name.padEnd(18)} ${rate.toFixed(3)}/s  ×${ratio.toFixed(2)}\n`)
    }
  }
}
