import * as CostAware from "@effect-comfyui/pool/CostAware"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { assert, describe, it } from "@effect/vitest"
import { bound, pooled, scenarios } from "../bench/simulation.ts"

/** Rates at which the default must hold the limit while round robin, bound at arrival, no longer does. */
const rates: Readonly<Record<string, number>> = { A: 1.2, E: 0.46, G: 1.85 }

describe("a fleet of eight in virtual time", () => {
  for (const scenario of scenarios) {
    it(`bears more with the default policy than with round robin, scenario ${scenario.name}`, () => {
      const rate = rates[scenario.name] ?? Number.NaN
      const ours = pooled(CostAware.make(), scenario, rate, 2_000, 7)
      const late = pooled(RouterPolicies.roundRobin, scenario, rate, 2_000, 7)
      assert.isAtMost(ours.p95, scenario.limitMs)
      assert.isBelow(ours.p95, late.p95)
      assert.isBelow(ours.coldShare, late.coldShare)
      assert.isAbove(bound(scenario, rate, 2_000, 7).p95, scenario.limitMs)
    })
  }
})
