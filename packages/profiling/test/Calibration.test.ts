import * as Calibration from "@effect-comfyui/profiling/Calibration"
import type { Span } from "@effect-comfyui/profiling/Eta"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

/** Numbers from 0 to 1 that look random, the same each time. */
const dice = (seed: number) => () => {
  seed = (seed * 1_664_525 + 1_013_904_223) % 4_294_967_296
  return seed / 4_294_967_296
}

/** Bell-shaped, around 0 and about 1 wide. */
const bell = (next: () => number): number => Array.from({ length: 12 }, next).reduce((sum, one) => sum + one, 0) - 6

/** Which share of so many endings is within what was said of them; the first hundred are not judged. */
const covered = (
  count: number,
  each: (index: number) => { readonly span: Span; readonly actualMs: number }
): number => {
  const state = Calibration.init()
  let [within, judged] = [0, 0]
  for (let index = 0; index < count; index++) {
    const { actualMs, span } = each(index)
    const said = Calibration.adjust(state, span)
    if (index >= 100) {
      judged++
      if (actualMs >= said.lowMs && actualMs <= said.highMs) within++
    }
    Calibration.step(state, span, said, actualMs)
  }
  return within / judged
}

describe("Calibration", () => {
  it("makes intervals of any model true: too narrow, too wide, or beside the mark", () => {
    fc.assert(
      fc.property(
        fc.nat(1e9),
        fc.double({ min: 0.3, max: 3, noNaN: true }),
        fc.double({ min: 0.02, max: 3, noNaN: true }),
        (seed, bias, width) => {
          const next = dice(seed)
          const share = covered(3_000, () => {
            const ms = 1_000 + 9_000 * next()
            const expectedMs = ms * bias
            const span = { lowMs: expectedMs * (1 - Math.min(1, width)), expectedMs, highMs: expectedMs * (1 + width) }
            return { span, actualMs: ms * Math.exp(0.3 * bell(next)) }
          })
          assert.isAtLeast(share, 0.75)
          assert.isAtMost(share, 0.9)
        }
      ),
      { numRuns: 10 }
    )
  })

  it("follows a world that changes: runs that take twice as long from one day to the other", () => {
    const next = dice(7)
    const share = covered(2_000, (index) => {
      const ms = (index % 1_000 < 500 ? 5_000 : 10_000) * Math.exp(0.2 * bell(next))
      return { span: { lowMs: 4_000, expectedMs: 5_000, highMs: 6_000 }, actualMs: ms }
    })
    assert.isAtLeast(share, 0.75)
    assert.isAtMost(share, 0.9)
  })

  it("leaves a prediction nearly alone while nothing has come of any", () => {
    const said = Calibration.adjust(Calibration.init(), { lowMs: 500, expectedMs: 1_000, highMs: 2_000 })
    assert.closeTo(said.lowMs, 450, 100)
    assert.closeTo(said.expectedMs, 1_000, 100)
    assert.closeTo(said.highMs, 2_100, 200)
  })

  it("is never out of order nor below zero, whatever it was told", () => {
    const anyMs = fc.oneof(fc.double(), fc.double({ min: 0, max: 1e9, noNaN: true }))
    const aSpan = fc.tuple(fc.nat(1e6), fc.nat(1e6), fc.nat(1e6)).map(([a, b, c]) => ({
      lowMs: a,
      expectedMs: a + b,
      highMs: a + b + c
    }))
    fc.assert(fc.property(fc.array(fc.tuple(aSpan, anyMs), { maxLength: 400 }), aSpan, (told, span) => {
      const state = Calibration.init()
      for (const [before, actualMs] of told) {
        Calibration.step(state, before, Calibration.adjust(state, before), actualMs)
      }
      const { expectedMs, highMs, lowMs } = Calibration.adjust(state, span)
      assert.isTrue(0 <= lowMs && lowMs <= expectedMs && expectedMs <= highMs && Number.isFinite(highMs))
      assert.isAtMost(state.places.length, 256)
    }))
  })
})
