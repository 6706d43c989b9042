import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as AttemptClock from "@effect-comfyui/pool/AttemptClock"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { minute, patient } from "./support/clock.ts"

const common = {
  runId: RunId.make("0b5c5f1e-6f0a-4d0e-9c39-0d4f5d9c1f11"),
  backend: BackendId.make("gpu-1"),
  sequence: 0,
  at: 0,
  elapsed: 0
}

const submitted: ExecutionEvent = { _tag: "Submitted", ...common, promptId: common.runId, number: 0, seeds: [] }
const started: ExecutionEvent = { _tag: "Started", ...common, serverAt: null }
const gap: ExecutionEvent = { _tag: "Gap", ...common, cause: "socket", lifecycle: 0, progress: 0, previews: 0 }
const nodeStarted = (nodeId: string): ExecutionEvent => ({
  _tag: "NodeStarted",
  ...common,
  nodeId,
  displayId: nodeId,
  parentId: null,
  classType: null
})
const progress = (nodeId: string, value: number): ExecutionEvent => ({
  _tag: "NodeProgress",
  ...common,
  nodeId,
  displayId: nodeId,
  value,
  max: 100
})
const finished = (nodeId: string): ExecutionEvent => ({ _tag: "NodeFinished", ...common, nodeId, displayId: nodeId })

/** A clock that was told these, each at its time. */
const after = (
  events: ReadonlyArray<readonly [at: number, event: ExecutionEvent]>,
  more: Partial<AttemptClock.Options> = {}
) => {
  const state = AttemptClock.init({ ...patient, ...more }, 0)
  for (const [at, event] of events) AttemptClock.step(state, event, at)
  return state
}

/** The first verdict that ends the attempt, and when. */
const ends = (state: AttemptClock.State): readonly [at: number, tag: string] | undefined => {
  for (;;) {
    const wait = AttemptClock.next(state)
    if (wait === undefined) return undefined
    const verdict = AttemptClock.due(state, wait.at)
    if (verdict?._tag === "Warn") continue
    return [wait.at, verdict?._tag === "TimedOut" ? verdict.reason._tag : verdict?._tag ?? "nothing"]
  }
}

describe("the clocks of an attempt", () => {
  it("say nothing before the server has taken it", () => {
    assert.isUndefined(AttemptClock.next(after([])))
  })

  it("start: from acceptance, while nothing is ahead", () => {
    assert.deepStrictEqual(ends(after([[1_000, submitted]])), [61_000, "StartTimeout"])
    const behind = after([[1_000, submitted]])
    AttemptClock.ahead(behind, true, 2_000)
    assert.isUndefined(ends(behind))
    AttemptClock.ahead(behind, false, 20 * minute)
    assert.deepStrictEqual(ends(behind), [21 * minute, "StartTimeout"])
    assert.notStrictEqual(ends(after([[1_000, submitted], [2_000, started]]))?.[1], "StartTimeout")
  })

  it("a node: half an hour before its first step, then 20 of its steps, at least 5 minutes", () => {
    const loading = after([[0, submitted], [0, nodeStarted("3")]])
    assert.deepStrictEqual(ends(loading), [30 * minute, "NodeTimeout"])
    const quick = after([[0, submitted], [0, nodeStarted("3")], [1_000, progress("3", 1)], [2_000, progress("3", 2)]])
    assert.deepStrictEqual(ends(quick), [2_000 + 5 * minute, "NodeTimeout"])
    const slow = after([
      [0, submitted],
      [0, nodeStarted("3")],
      ...Array.from({ length: 5 }, (_, i) => [minute * (i + 1), progress("3", i)] as const)
    ])
    assert.deepStrictEqual(ends(slow), [5 * minute + 20 * minute, "NodeTimeout"])
  })

  it("what is known of a workflow shortens the wait for a first step down to its own floor, or prolongs it", () => {
    const known = { p99Ms: 10_000, floorMs: 10 * minute, factor: 4 }
    const events = [[0, submitted], [0, nodeStarted("3")]] as const
    assert.deepStrictEqual(ends(after(events, { known })), [10 * minute, "NodeTimeout"])
    assert.deepStrictEqual(ends(after(events, { known: { ...known, p99Ms: 4 * minute } })), [
      16 * minute,
      "NodeTimeout"
    ])
    assert.deepStrictEqual(ends(after(events, { known: { ...known, p99Ms: 60 * minute } })), [
      240 * minute,
      "NodeTimeout"
    ])
  })

  it("warns once for each silence, at five minutes", () => {
    const state = after([[0, submitted], [0, nodeStarted("3")]])
    assert.isUndefined(AttemptClock.due(state, 5 * minute - 1))
    assert.deepStrictEqual(AttemptClock.due(state, 5 * minute), { _tag: "Warn", nodeId: "3", silentMs: 5 * minute })
    assert.isUndefined(AttemptClock.due(state, 6 * minute))
  })

  it("a gap begins every wait anew: what was missed may have been a sign", () => {
    const state = after([[0, submitted], [0, nodeStarted("3")], [29 * minute, gap]])
    assert.deepStrictEqual(ends(state), [59 * minute, "NodeTimeout"])
  })

  it("a total limit runs from the start, whatever happens", () => {
    const state = after([[0, submitted], [0, nodeStarted("3")], [50_000, progress("3", 1)]], { totalMs: minute })
    assert.deepStrictEqual(ends(state), [minute, "TotalTimeout"])
  })

  it("never end an attempt that gives a sign within every limit", () => {
    fc.assert(fc.property(
      fc.array(
        fc.record({
          node: fc.constantFrom("1", "2", "3"),
          wait: fc.integer({ min: 0, max: 4 * minute }),
          kind: fc.nat({ max: 2 })
        }),
        { maxLength: 60 }
      ),
      (moves) => {
        const state = after([[0, submitted], [0, started]])
        let now = 0
        const open = new Set<string>()
        for (const { kind, node, wait } of moves) {
          now += wait
          assert.notStrictEqual(AttemptClock.due(state, now)?._tag, "TimedOut")
          if (kind === 0 || !open.has(node)) {
            open.add(node)
            AttemptClock.step(state, nodeStarted(node), now)
          } else if (kind === 1) AttemptClock.step(state, progress(node, now), now)
          else {
            open.delete(node)
            AttemptClock.step(state, finished(node), now)
          }
        }
      }
    ))
  })

  it("watches so many nodes and no more", () => {
    const state = after(Array.from({ length: 5_000 }, (_, i) => [i, nodeStarted(`${i}`)] as const))
    assert.isAtMost(AttemptClock.snapshot(state).nodes.length, 1_000)
  })
})
