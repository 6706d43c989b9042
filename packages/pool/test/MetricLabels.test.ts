import * as MetricLabels from "@effect-comfyui/pool/MetricLabels"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const values = fc.array(fc.tuple(fc.constantFrom("tenant", "server"), fc.string({ maxLength: 3 })), { maxLength: 400 })

describe("values of labels", () => {
  it("are as many as there is room for, first come, and the same for ever", () =>
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 20 }), (asked, cap) => {
        const state = MetricLabels.init(cap)
        const given = new Map<string, string>()
        const seen = new Map<string, Set<string>>()
        for (const [label, value] of asked) {
          const written = MetricLabels.of(state, label, value)
          const before = given.get(`${label}=${value}`)
          assert.isTrue(written === value || written === MetricLabels.other)
          if (before !== undefined) assert.strictEqual(written, before)
          else if ((seen.get(label)?.size ?? 0) < cap) assert.strictEqual(written, value)
          given.set(`${label}=${value}`, written)
          seen.set(label, (seen.get(label) ?? new Set()).add(value))
        }
        for (const count of Object.values(MetricLabels.snapshot(state))) assert.isAtMost(count, cap)
      })
    ))

  it("are cut, so that nobody's name fills the memory", () => {
    const state = MetricLabels.init()
    assert.strictEqual(MetricLabels.of(state, "tenant", "x".repeat(1_000_000)).length, 200)
  })
})
