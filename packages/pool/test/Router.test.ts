import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as CostAware from "@effect-comfyui/pool/CostAware"
import type { JobHead } from "@effect-comfyui/pool/JobHead"
import * as Residency from "@effect-comfyui/pool/Residency"
import * as Router from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { headOf, server } from "./support/heads.ts"

const [one, two, three] = [server("one"), server("two"), server("three")] as const

interface World {
  readonly jobs: ReadonlyArray<JobHead>
  readonly idle: ReadonlyArray<BackendId>
  /** Busy servers and the milliseconds until they are not. */
  readonly busy?: ReadonlyArray<readonly [BackendId, number]>
  readonly warm?: ReadonlyArray<readonly [BackendId, AffinityKey]>
  readonly forced?: boolean
  readonly eligible?: (job: JobHead, server: BackendId) => boolean
  readonly loads?: ReadonlyMap<BackendId, number>
  readonly demand?: ReadonlyMap<AffinityKey, number>
  readonly samples?: number
}

/** Every key runs 5 s warm and 15 s cold. */
const viewOf = (
  { busy = [], demand, eligible, forced = false, idle, jobs, loads, samples = 5, warm = [] }: World
): Router.View => {
  const residency = Residency.init()
  const estimates = Estimates.init()
  for (const [server, key] of warm) Residency.step(residency, { _tag: "Ran", server, key, found: null, at: 0 })
  for (let i = 0; i < samples; i++) {
    for (const key of ["a1:a", "a1:b", "a1:c"] as const) {
      Estimates.step(estimates, { server: server("old"), key, cold: false, executionMs: 5_000 })
      Estimates.step(estimates, { server: server("old"), key, cold: true, executionMs: 15_000 })
    }
  }
  return {
    now: 1_000,
    candidates: jobs,
    forced,
    idle: idle.map((id) => ({ id, weight: 1, placed: loads?.get(id) ?? 0, load: loads?.get(id) ?? 0 })),
    servers: [...idle, ...busy.map(([id]) => id)],
    eligible: eligible ?? (() => true),
    residentOn: (key) => Residency.residentOn(residency, key),
    warmth: (server, key) => Residency.warmth(residency, server, key),
    victim: (server) => Residency.victim(residency, server),
    remaining: (server) => new Map(busy).get(server) ?? 0,
    estimate: (server, key) => Estimates.estimate(estimates, server, key),
    demand: (key) => demand?.get(key) ?? 0
  }
}

const placed = (policy: Router.Policy, world: World): string => {
  const decision = policy.decide(viewOf(world))
  return decision._tag === "Place" ? `${decision.job.id} on ${decision.server}` : `wait until ${decision.until}`
}

const cost = CostAware.make()
const job = headOf(0)
const other = headOf(1, { affinity: "a1:b" })

describe("CostAware", () => {
  it("takes a job to the server that has its models, past an older one", () => {
    const world = { jobs: [job, other], idle: [one, two], warm: [[two, "a1:b"]] as const }
    assert.strictEqual(placed(cost, world), "job-1 on two")
    const decision = cost.decide(viewOf(world))
    assert.deepInclude(decision._tag === "Place" ? decision.why : {}, { warm: true, evidence: "own-executed", k: 1 })
  })

  it("places a forced job first, wherever it may", () => {
    assert.strictEqual(
      placed(cost, { jobs: [job, other], idle: [one], warm: [[one, "a1:b"]], forced: true }),
      "job-0 on one"
    )
  })

  it("waits for a busy warm server, if it is soon enough", () => {
    const world = (remaining: number): World => ({
      jobs: [job],
      idle: [one],
      busy: [[two, remaining]],
      warm: [[two, "a1:a"]]
    })
    assert.strictEqual(placed(cost, world(7_900)), "wait until 8900")
    assert.strictEqual(placed(cost, world(8_100)), "job-0 on one")
    assert.strictEqual(placed(cost, { ...world(7_900), samples: 4 }), "job-0 on one")
    assert.strictEqual(placed(cost, { ...world(7_900), eligible: (_, server) => server !== two }), "job-0 on one")
    assert.strictEqual(placed(cost, { ...world(Number.POSITIVE_INFINITY) }), "job-0 on one")
  })

  it("gives the idle server to the next one meanwhile", () => {
    assert.strictEqual(
      placed(cost, { jobs: [job, other], idle: [one], busy: [[two, 1_000]], warm: [[two, "a1:a"]] }),
      "job-1 on one"
    )
  })

  it("loads where the least is lost", () => {
    const warm = [[one, "a1:b"], [two, "a1:c"]] as const
    assert.strictEqual(placed(cost, { jobs: [job], idle: [one, two, three], warm }), "job-0 on three")
    const demand = new Map<AffinityKey, number>([["a1:b", 5]])
    const twice = [...warm, [three, "a1:c"] as const]
    assert.strictEqual(placed(cost, { jobs: [job], idle: [one, two], warm: twice, demand }), "job-0 on two")
  })

  it("waits without an end where nobody may run anything", () => {
    assert.strictEqual(placed(cost, { jobs: [job], idle: [one], eligible: () => false }), "wait until null")
    assert.strictEqual(placed(cost, { jobs: [], idle: [one] }), "wait until null")
    assert.strictEqual(placed(cost, { jobs: [job], idle: [] }), "wait until null")
  })
})

describe("RouterPolicies", () => {
  const loads = new Map([[one, 9], [two, 3], [three, 6]])

  it("balances by load and by count", () => {
    for (const policy of [RouterPolicies.leastLoaded, RouterPolicies.roundRobin]) {
      assert.strictEqual(placed(policy, { jobs: [job], idle: [one, two, three], loads }), "job-0 on two")
    }
  })

  it("hashes by rendezvous, within the bound", () => {
    const home = placed(RouterPolicies.hash(), { jobs: [job], idle: [one, two, three] })
    const favourite = [one, two, three].find((id) => home.endsWith(id))
    assert.isDefined(favourite)
    const rest = [one, two, three].filter((id) => id !== favourite)
    const full = new Map([
      ...rest.map((id) => [id, 1] as const),
      ...favourite === undefined ? [] : [[favourite, 9] as const]
    ])
    assert.notStrictEqual(placed(RouterPolicies.hash(), { jobs: [job], idle: [one, two, three], loads: full }), home)
  })

  it("moves only the keys of a server that leaves, and spreads evenly", () => {
    const servers = Array.from({ length: 10 }, (_, i) => server(`s${i}`))
    const best = (key: AffinityKey, among: ReadonlyArray<BackendId>) =>
      among.toSorted((a, b) => RouterPolicies.rendezvous(key, b) - RouterPolicies.rendezvous(key, a))[0]
    const keys = Array.from({ length: 2_000 }, (_, i): AffinityKey => `a1:${i}`)
    const counts = new Map<BackendId | undefined, number>()
    for (const key of keys) {
      const before = best(key, servers)
      counts.set(before, (counts.get(before) ?? 0) + 1)
      if (before !== servers[0]) assert.strictEqual(best(key, servers.slice(1)), before)
    }
    for (const count of counts.values()) assert.closeTo(count, 200, 70)
  })

  it("keeps groups, exclusive or with a way out, edited while it runs", () => {
    const groups = RouterPolicies.makeGroups()
    const policy = RouterPolicies.affinity(groups, RouterPolicies.leastLoaded)
    const idle = [one, two, three]
    groups.set("a1:a", { servers: new Map([[two, 1], [three, 9]]), mode: "exclusive" })
    assert.strictEqual(placed(policy, { jobs: [job], idle }), "job-0 on three")
    assert.strictEqual(placed(policy, { jobs: [job, other], idle: [one] }), "job-1 on one")
    assert.strictEqual(placed(policy, { jobs: [job], idle: [one] }), "wait until null")
    groups.set("a1:a", { servers: new Map([[two, 1]]), mode: "fallback" })
    assert.strictEqual(placed(policy, { jobs: [job], idle: [one] }), "job-0 on one")
    assert.strictEqual(groups.list().size, 1)
    assert.isTrue(groups.remove("a1:a"))
    assert.strictEqual(
      placed(policy, { jobs: [job], idle, loads: new Map([[one, 0], [two, 1], [three, 1]]) }),
      "job-0 on one"
    )
  })

  it("never places outside the view, and always where something may run unless it waits for warmth", () => {
    const policies: ReadonlyArray<Router.Policy> = [
      cost,
      RouterPolicies.leastLoaded,
      RouterPolicies.roundRobin,
      RouterPolicies.hash(),
      RouterPolicies.affinity(RouterPolicies.makeGroups())
    ]
    const ids = [one, two, three]
    const anyKey = fc.constantFrom<AffinityKey>("a1:a", "a1:b", "a1:c")
    const anyWorld = fc.record({
      keys: fc.array(anyKey, { maxLength: 6 }),
      idle: fc.subarray(ids),
      remaining: fc.nat(20_000),
      warm: fc.array(fc.tuple(fc.constantFrom(...ids), anyKey), { maxLength: 4 }),
      denied: fc.array(fc.tuple(fc.nat(5), fc.constantFrom(...ids)), { maxLength: 6 }),
      forced: fc.boolean()
    })
    fc.assert(
      fc.property(anyWorld, fc.constantFrom(...policies), ({ denied, forced, idle, keys, remaining, warm }, policy) => {
        const jobs = keys.map((affinity, i) => headOf(i, { affinity }))
        const may = (job: JobHead, id: BackendId) => !denied.some(([i, other]) => i === job.sequence && other === id)
        const busy = ids.filter((id) => !idle.includes(id)).map((id) => [id, remaining + 1] as const)
        const decision = policy.decide(viewOf({ jobs, idle, busy, warm, forced, eligible: may }))
        const [first] = jobs
        if (decision._tag === "Place") {
          assert.include(jobs, decision.job)
          assert.include(idle, decision.server)
          assert.isTrue(may(decision.job, decision.server))
          if (forced && first !== undefined && idle.some((id) => may(first, id)) && policy === cost) {
            assert.strictEqual(decision.job, first)
          }
          return
        }
        const possible = jobs.some((job) => idle.some((id) => may(job, id)))
        assert.strictEqual(decision.until !== null, possible)
        if (possible) assert.strictEqual(policy.name === "affinity" ? "cost-aware" : policy.name, "cost-aware")
      }),
      { numRuns: 500 }
    )
  })

  it("filters and falls through", () => {
    const never = Router.filter(RouterPolicies.leastLoaded, () => false)
    assert.strictEqual(placed(never, { jobs: [job], idle: [one] }), "wait until null")
    assert.strictEqual(placed(Router.orElse(never, cost), { jobs: [job], idle: [one] }), "job-0 on one")
  })

  it.effect("has a layer each", () =>
    Effect.gen(function*() {
      const nameIn = Effect.map(Router.Router, ({ name }) => name)
      const names = yield* Effect.all([
        Effect.provide(nameIn, RouterPolicies.layerCostAware),
        Effect.provide(nameIn, RouterPolicies.layerLeastLoaded),
        Effect.provide(nameIn, RouterPolicies.layerRoundRobin),
        Effect.provide(nameIn, RouterPolicies.layerHash),
        Effect.provide(nameIn, RouterPolicies.layerAffinity())
      ])
      assert.deepStrictEqual(names, ["cost-aware", "least-loaded", "round-robin", "hash", "affinity"])
    }))
})
