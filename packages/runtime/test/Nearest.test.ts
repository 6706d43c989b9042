import { distance, nearest } from "@effect-comfyui/runtime/Nearest"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const word = fc.string({ maxLength: 8 })

describe("the nearest key", () => {
  it("is as far as letters have to change, and as far from either side", () => {
    assert.strictEqual(distance("weigth", "weight"), 1)
    assert.strictEqual(distance("", "url"), 3)
    fc.assert(fc.property(word, word, (one, other) => {
      const steps = distance(one, other)
      assert.strictEqual(steps, distance(other, one))
      assert.strictEqual(steps === 0, one === other)
      assert.isAtMost(steps, Math.max(one.length, other.length))
      assert.isAtLeast(steps, Math.abs(one.length - other.length))
    }))
  })

  it("finds a key again that lost a letter, and nothing for another word", () => {
    const keys = ["servers", "routing", "failover", "timeouts", "queue", "profiling", "logging"]
    fc.assert(fc.property(fc.constantFrom(...keys), fc.nat(4), (key, at) => {
      assert.strictEqual(nearest(key.slice(0, at) + key.slice(at + 1), keys), key)
    }))
    assert.strictEqual(nearest("time-outs", keys), "timeouts")
    assert.isNull(nearest("xyzzy", keys))
    assert.isNull(nearest("anything", []))
  })
})
