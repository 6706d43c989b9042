import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as Eta from "@effect-comfyui/profiling/Eta"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const server = BackendId.make("gpu-1")
const key = "a1:a"

const learn = (...times: ReadonlyArray<number>) => {
  const state = Estimates.init()
  for (const executionMs of times) Estimates.step(state, { server, key, cold: false, executionMs })
  return state
}

const running = (more: Partial<Eta.Running> = {}): Eta.Running => ({
  server,
  key,
  cold: false,
  elapsedMs: 0,
  done: 0,
  doneAtMs: 0,
  expectedMs: null,
  ...more
})

const hundred = Array.from({ length: 64 }, (_, index) => 1_000 + index * 100)

describe("Eta", () => {
  it("is the tenth, the middle and the ninetieth of what such runs took", () => {
    const { expectedMs, highMs, lowMs } = Eta.ofRun(learn(...hundred), running())
    assert.closeTo(lowMs, 1_650, 150)
    assert.closeTo(expectedMs, 4_200, 150)
    assert.closeTo(highMs, 6_800, 200)
  })

  it("looks only at those that took longer than this one has", () => {
    const { expectedMs, lowMs } = Eta.ofRun(learn(...hundred), running({ elapsedMs: 6_000 }))
    assert.isAtLeast(lowMs, 0)
    assert.closeTo(expectedMs, 700, 150)
  })

  it("gives a run that takes longer than any before it some more time", () => {
    const { expectedMs, highMs } = Eta.ofRun(learn(...hundred), running({ elapsedMs: 20_000 }))
    assert.closeTo(expectedMs, 2_000, 1)
    assert.closeTo(highMs, 10_000, 1)
  })

  it("goes by the run's own pace in the end", () => {
    const at = running({ elapsedMs: 18_000, done: 0.9, doneAtMs: 18_000 })
    assert.closeTo(Eta.ofRun(learn(...hundred), at).expectedMs, 2_000, 20)
    // Half a step later nothing more is done, and yet it is nearer to its end.
    assert.closeTo(Eta.ofRun(learn(...hundred), { ...at, elapsedMs: 18_500 }).expectedMs, 1_500, 20)
  })

  it("prefers what the nodes are known to take where times of the key lie far apart", () => {
    const state = learn(...hundred)
    for (const ms of hundred) Estimates.learnRatio(state, key, ms, ms * 1.1)
    const { expectedMs, highMs, lowMs } = Eta.ofRun(state, running({ expectedMs: 2_000 }))
    assert.closeTo(expectedMs, 2_200, 10)
    assert.isBelow(highMs - lowMs, 100)
  })

  it("knows little at first, and says so", () => {
    const { expectedMs, highMs, lowMs } = Eta.ofRun(Estimates.init(), running())
    assert.strictEqual(expectedMs, 10_000)
    assert.isAbove(highMs / lowMs, 5)
  })

  it("is in order and finite for whatever a run shows, and adds up", () => {
    const ms = fc.double({ min: 0, max: 1e8, noNaN: true })
    const anyRun = fc.record({
      elapsedMs: ms,
      done: fc.double({ min: -1, max: 2, noNaN: true }),
      doneAtMs: ms,
      cold: fc.boolean(),
      expectedMs: fc.option(ms)
    })
    fc.assert(fc.property(fc.array(ms, { maxLength: 100 }), anyRun, ms, (times, how, ratio) => {
      const state = Estimates.learnRatio(learn(...times), key, 1_000, ratio)
      const span = Eta.ofRun(state, running(how))
      const twice = Eta.plus(span, span)
      assert.isTrue(0 <= span.lowMs && span.lowMs <= span.highMs + 1e-6 && Number.isFinite(span.highMs))
      assert.isTrue(span.lowMs <= span.expectedMs + 1e-6 && span.expectedMs <= span.highMs + 1e-6)
      assert.closeTo(twice.expectedMs, 2 * span.expectedMs, 1e-3)
    }))
  })
})
