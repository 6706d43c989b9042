import * as CriticalPath from "@effect-comfyui/profiling/CriticalPath"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const graph = (sources: Readonly<Record<string, ReadonlyArray<string>>>) =>
  Workflow.fromNodes(
    Object.fromEntries(
      Object.entries(sources).map(([id, from]) => [id, {
        class_type: "X",
        inputs: Object.fromEntries(from.map((source, i) => [`in${i}`, [source, 0]]))
      }])
    )
  )

const aGraph = fc.integer({ min: 1, max: 8 }).chain((size) =>
  fc.tuple(...Array.from({ length: size }, (_, i) => fc.subarray(Array.from({ length: i }, (_, n) => `n${n}`)))).map(
    (all) => Object.fromEntries(all.map((from, i) => [`n${i}`, from] as const).toReversed())
  )
)

describe("the critical path", () => {
  it("is the longest of all chains", () => {
    fc.assert(fc.property(aGraph, fc.array(fc.nat(100), { minLength: 8, maxLength: 8 }), (sources, durations) => {
      const durationOf = (id: string) => durations[Number(id.slice(1))] ?? 0
      const best = (id: string): number => durationOf(id) + Math.max(0, ...(sources[id] ?? []).map(best))
      const told = CriticalPath.longest(CriticalPath.order(graph(sources)), durationOf)
      assert.strictEqual(told.durationMs, Math.max(...Object.keys(sources).map(best)))
      assert.strictEqual(told.nodeIds.reduce((sum, id) => sum + durationOf(id), 0), told.durationMs)
    }))
  })

  it("is empty of a graph in which nothing took time", () => {
    const told = CriticalPath.longest(CriticalPath.order(graph({ a: [], b: ["a"] })), () => 0)
    assert.deepStrictEqual(told, { nodeIds: [], durationMs: 0 })
  })

  it("comes to an end in a circle, and where links lead nowhere", () => {
    const order = CriticalPath.order(graph({ a: ["b", "gone"], b: ["a"], c: ["c"] }))
    assert.sameMembers(order.map(([id]) => id), ["a", "b", "c"])
    assert.isAtMost(CriticalPath.longest(order, () => 1).durationMs, 2)
  })

  it("goes through 50,000 nodes in a row", () => {
    const ids = Array.from({ length: 50_000 }, (_, i) => `n${i}`)
    const row = Object.fromEntries(ids.map((id, i) => [id, ids.slice(Math.max(0, i - 1), i)] as const).toReversed())
    assert.strictEqual(CriticalPath.longest(CriticalPath.order(graph(row)), () => 1).durationMs, 50_000)
  })
})
