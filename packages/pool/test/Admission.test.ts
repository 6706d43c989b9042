import * as Admission from "@effect-comfyui/pool/Admission"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

describe("Admission", () => {
  it("refuses beyond the limit of a tenant and of all, and names the time that a place takes to become free", () => {
    const state = Admission.init({ maxQueued: 3, maxQueuedPerTenant: 2 }, 0)
    for (const tenant of ["a", "a", "b"]) Admission.joined(state, tenant, 0)
    assert.deepInclude(Admission.refusal(state, "a", 0), { tenant: "a", limit: 2 })
    assert.deepInclude(Admission.refusal(state, "b", 0), { tenant: null, limit: 3 })
    for (const at of [4_000, 8_000]) {
      Admission.left(state, "a", at)
      Admission.joined(state, "a", at)
    }
    assert.deepInclude(Admission.refusal(state, "a", 8_000), { retryAfterMs: 4_000 })
    // Nobody has left for a minute: there is no reason to think that somebody will sooner.
    assert.deepInclude(Admission.refusal(state, "a", 68_000), { retryAfterMs: 60_000 })
  })

  it("counts what is there, whatever comes and goes, and keeps nobody who has left", () => {
    const steps = fc.array(fc.record({ tenant: fc.constantFrom("a", "b", "c"), comes: fc.boolean() }), {
      maxLength: 200
    })
    fc.assert(fc.property(steps, (all) => {
      const state = Admission.init({}, 0)
      const there = new Map<string, number>()
      for (const [now, { comes, tenant }] of all.entries()) {
        const count = there.get(tenant) ?? 0
        if (!comes && count === 0) continue
        there.set(tenant, comes ? count + 1 : count - 1)
        if (comes) Admission.joined(state, tenant, now)
        else Admission.left(state, tenant, now)
      }
      const counts = [...there.values()]
      assert.strictEqual(Admission.waiting(state), counts.reduce((sum, one) => sum + one, 0))
      assert.strictEqual(state.tenants.size, counts.filter((one) => one > 0).length)
    }))
  })
})
