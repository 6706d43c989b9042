import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Progress from "@effect-comfyui/execution/Progress"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { at, cancelled, completed, failed, finished, progress, started, submitted } from "./support.ts"

const cached = (sequence: number, ...nodeIds: ReadonlyArray<string>): ExecutionEvent => ({
  _tag: "NodesCached",
  ...at(sequence),
  nodeIds
})

const fold = (nodeIds: ReadonlyArray<string>, events: ReadonlyArray<ExecutionEvent>) => {
  const state = Progress.init(nodeIds)
  const fractions = events.map((event) => Progress.step(state, event).fraction)
  return { fractions, snapshot: Progress.snapshot(state) }
}

const nodeId = fc.constantFrom("1", "2", "3", "4.0.0.5")

const anyEvent: fc.Arbitrary<ExecutionEvent> = fc.oneof(
  fc.constant(submitted),
  nodeId.map((id) => started(1, id, id.includes(".") ? "3" : id)),
  nodeId.map((id) => finished(1, id, id.includes(".") ? "3" : id)),
  fc.record({ id: nodeId, value: fc.double(), max: fc.double() }).map(({ id, max, value }) =>
    progress(1, id, value, max)
  ),
  fc.array(nodeId).map((ids) => cached(1, ...ids))
)

describe("Progress", () => {
  it("counts steps of running nodes, cached nodes and finished ones", () => {
    const { fractions, snapshot } = fold(["1", "2", "3", "4"], [
      submitted,
      cached(1, "1"),
      started(2, "2"),
      progress(2, "2", 10, 20),
      finished(3, "2"),
      started(4, "3")
    ])
    assert.deepStrictEqual(fractions.map((fraction) => Math.round(fraction * 100)), [0, 25, 25, 37, 50, 50])
    assert.deepStrictEqual(snapshot.running, ["3"])
    assert.deepStrictEqual(snapshot.nodes.map((node) => node.state), ["cached", "finished", "running", "waiting"])
    const second = snapshot.nodes[1]
    assert.strictEqual(second?.startedMs, 20)
    assert.strictEqual(second?.finishedMs, 30)
  })

  it("is 1 exactly at completion, also where nodes were skipped", () => {
    assert.strictEqual(fold(["1", "2", "3"], [started(0, "1"), completed(1)]).fractions.at(-1), 1)
  })

  it("shows expanded nodes under their node and does not call it done while one of them runs", () => {
    const { snapshot } = fold(["4"], [
      started(0, "4"),
      started(1, "4.0.0.1", "4"),
      started(2, "4.0.0.2", "4"),
      finished(3, "4.0.0.1", "4"),
      finished(4, "4", "4")
    ])
    assert.deepStrictEqual(snapshot.nodes.map((node) => [node.nodeId, node.state]), [["4", "running"]])
  })

  it("counts the rounds of a loop without going back", () => {
    const events = [started(0, "2"), finished(1, "2"), started(2, "2"), progress(2, "2", 1), finished(3, "2")]
    const { fractions, snapshot } = fold(["2", "3"], events)
    assert.deepStrictEqual(fractions, fractions.toSorted((a, b) => a - b))
    assert.strictEqual(snapshot.nodes[0]?.starts, 2)
  })

  it("keeps where it was when a run ends badly", () => {
    for (const ending of [failed(5), cancelled(5)]) {
      const { fractions, snapshot } = fold(["1", "2"], [started(0, "1"), finished(1, "1"), ending, started(6, "2")])
      assert.strictEqual(fractions.at(-1), 0.5)
      assert.strictEqual(snapshot.stage, ending._tag === "Failed" ? "failed" : "cancelled")
      assert.deepStrictEqual(snapshot.running, [])
    }
  })

  it("never goes back and stays within 0 and 1, whatever comes", () => {
    fc.assert(fc.property(fc.array(anyEvent, { maxLength: 60 }), (events) => {
      const { fractions } = fold(["1", "2", "3"], [...events, completed(99)])
      let before = 0
      for (const fraction of fractions) {
        assert.isTrue(fraction >= before && fraction <= 1)
        before = fraction
      }
      assert.isTrue(fractions.slice(0, -1).every((fraction) => fraction < 1))
      assert.strictEqual(fractions.at(-1), 1)
    }))
  })
})
