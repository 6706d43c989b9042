// What is learnt of processes that end and of cards that are too small.
import * as Deaths from "@effect-comfyui/pool/Deaths"
import * as MemoryNeeds from "@effect-comfyui/pool/MemoryNeeds"
import { Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { server } from "./support/heads.ts"

const minute = 60_000
const hour = 60 * minute
const key: AffinityKey = "a1:a"

const death = (name: string, content: string, of: AffinityKey = key): Deaths.Death => ({
  server: server(name),
  key: of,
  content
})

const after = (...deaths: ReadonlyArray<readonly [number, Deaths.Death]>) =>
  deaths.reduce((state, [at, one]) => Deaths.step(state, one, at), Deaths.init())

describe("processes that end", () => {
  it("twice under one content: it is poison for a day", () => {
    const state = after([0, death("a", "x")], [hour, death("b", "x")])
    assert.isTrue(Deaths.isPoison(state, "x", hour))
    assert.isFalse(Deaths.isPoison(state, "y", hour))
    assert.isFalse(Deaths.isPoison(state, "x", 26 * hour))
    assert.deepStrictEqual(Deaths.snapshot(state, hour), [{ content: "x", deaths: 2 }])
  })

  it("twice within a quarter of an hour under one workflow: it goes one at a time for as long", () => {
    const state = after([0, death("a", "x")], [10 * minute, death("b", "y")])
    assert.isTrue(Deaths.isSuspect(state, key, 11 * minute))
    assert.isFalse(Deaths.isSuspect(state, key, 16 * minute))
    assert.isFalse(Deaths.isSuspect(after([0, death("a", "x")], [16 * minute, death("b", "y")]), key, 16 * minute))
  })

  it("together under different contents were ended by something else", () => {
    const state = after([0, death("a", "x")], [1_000, death("b", "y")], [2_000, death("c", "z")])
    for (const content of ["x", "y", "z"]) assert.strictEqual(Deaths.ofContent(state, content, 3_000), 0)
    assert.isFalse(Deaths.isSuspect(state, key, 3_000))
    assert.strictEqual(Deaths.ofContent(after([0, death("a", "x")], [1_000, death("b", "x")]), "x", 2_000), 2)
  })

  it("without end are not remembered without end", () => {
    const state = Deaths.init()
    for (let i = 0; i < 30_000; i++) Deaths.step(state, death("a", `c${i}`, `a1:${i}`), i * minute)
    assert.isAtMost(state.contents.size, 10_000)
    assert.isAtMost(state.keys.size, 10_000)
  })
})

const GB = 1024 ** 3

describe("cards that are too small", () => {
  const ranOut = (vramBytes: number, sizeClass = 20): MemoryNeeds.Input => ({
    _tag: "RanOut",
    key,
    sizeClass,
    vramBytes
  })
  const fitted = (vramBytes: number, sizeClass = 20): MemoryNeeds.Input => ({
    _tag: "Fitted",
    key,
    sizeClass,
    vramBytes
  })

  it("are remembered for a workflow at one size, for a day", () => {
    const state = MemoryNeeds.step(MemoryNeeds.init(), ranOut(12 * GB), 0)
    MemoryNeeds.step(state, ranOut(8 * GB), 1)
    assert.strictEqual(MemoryNeeds.moreThan(state, key, 20, hour), 12 * GB)
    assert.isNull(MemoryNeeds.moreThan(state, key, 18, hour))
    assert.isNull(MemoryNeeds.moreThan(state, "a1:b", 20, hour))
    assert.isNull(MemoryNeeds.moreThan(state, key, 20, 25 * hour))
  })

  it("are forgotten when it fits one as large", () => {
    const state = MemoryNeeds.step(MemoryNeeds.init(), ranOut(12 * GB), 0)
    assert.strictEqual(MemoryNeeds.moreThan(MemoryNeeds.step(state, fitted(24 * GB), 1), key, 20, 2), 12 * GB)
    assert.isNull(MemoryNeeds.moreThan(MemoryNeeds.step(state, fitted(12 * GB), 3), key, 20, 4))
  })

  it("are never believed to be larger than one that it ran out of, nor in more sizes than 10,000", () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 80 }))), (steps) => {
      const state = MemoryNeeds.init()
      let most = 0
      for (const [i, [out, gb]] of steps.entries()) {
        MemoryNeeds.step(state, out ? ranOut(gb * GB) : fitted(gb * GB), i)
        if (out) most = Math.max(most, gb * GB)
        const learnt = MemoryNeeds.moreThan(state, key, 20, i)
        assert.isTrue(learnt === null || learnt <= most)
        if (!out && learnt !== null) assert.isBelow(learnt, gb * GB)
      }
    }))
    const state = MemoryNeeds.init()
    for (let i = 0; i < 20_000; i++) MemoryNeeds.step(state, ranOut(GB, i), i)
    assert.isAtMost(state.learnt.size, 10_000)
  })

  it("are asked for by the largest node of a graph", () => {
    const sized = (inputs: Workflow.Node["inputs"]) =>
      MemoryNeeds.sizeClassOf(Workflow.fromNodes({ "1": { class_type: "A", inputs } }))
    assert.strictEqual(sized({ width: 1_024, height: 1_024 }), 20)
    assert.strictEqual(sized({ width: 1_024, height: 1_024, batch_size: 4 }), 22)
    assert.strictEqual(sized({ width: 512, height: 512, length: 64n }), 24)
    assert.strictEqual(sized({ width: ["2", 0], height: "tall", batch_size: 9 }), 0)
    assert.strictEqual(sized({ width: -1, height: Number.POSITIVE_INFINITY }), 0)
    assert.isAbove(MemoryNeeds.sizeClassOf(Workflows.textToImage()), 17)
  })
})
