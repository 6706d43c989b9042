import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { maxNodes } from "@effect-comfyui/profiling/NodeProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { addsUp, chain, near, nodeFailed, nodeOf, script } from "./support/events.ts"
import { profile, run } from "./support/recorded.ts"

const parallel = "0.33.0/31-async-parallel.jsonl"
const interrupts = "0.33.0/40-interrupt-mid-node.jsonl"

describe("a run of a real server", () => {
  it("with two nodes at once: each has its time, and half of what they share", () => {
    // POST at 6.22, its answer at 13.54, execution_start at 18.69; 1 from 18.81 to 18.92, 3 from 18.96 to 439.96,
    // 2 from 19.11 to 231.31, 4 from 1005.63 to 1005.82, 5 from 1005.83 to 1005.88; the end at 1005.91.
    const { events, workflow } = run(parallel, 0)
    const told = profile(events, workflow)
    near(told.queueMs, 18.69 - 13.54)
    near(told.executionMs, 1005.91 - 18.69)
    near(told.totalMs, 1005.91 - 6.22)
    near(nodeOf(told, "3").durationMs, 439.96 - 18.96)
    near(nodeOf(told, "2").durationMs, 231.31 - 19.11)
    near(nodeOf(told, "2").exclusiveMs, (231.31 - 19.11) / 2)
    near(nodeOf(told, "3").exclusiveMs, (19.11 - 18.96) + (231.31 - 19.11) / 2 + (439.96 - 231.31))
    near(nodeOf(told, "3").share, nodeOf(told, "3").exclusiveMs / (1005.91 - 18.69))
    near(
      told.idleMs,
      (18.81 - 18.69) + (18.96 - 18.92) + (1005.63 - 439.96) + (1005.83 - 1005.82) + (1005.91 - 1005.88)
    )
    assert.deepStrictEqual(nodeOf(told, "2").parallelWith, ["3"])
    assert.deepStrictEqual(nodeOf(told, "3").parallelWith, ["2"])
    assert.deepStrictEqual(nodeOf(told, "4").parallelWith, [])
    assert.deepStrictEqual(told.order, ["1", "3", "2", "4", "5"])
    assert.deepStrictEqual(told.slowest, ["3", "2", "4", "1", "5"])
    assert.deepStrictEqual(told.criticalPath?.nodeIds, ["1", "3", "4", "5"])
    near(
      told.criticalPath?.durationMs,
      (18.92 - 18.81) + (439.96 - 18.96) + (1005.82 - 1005.63) + (1005.88 - 1005.83)
    )
    assert.strictEqual(nodeOf(told, "3").title, "TestSleep")
    assert.strictEqual(told.cacheRate, 0)
    assert.isFalse(told.executionInferred || told.nodes.some(({ inferred }) => inferred))
    // Steps of 2, in seconds: 2.4e-7 at 19.21 by progress_state, 0.10514… at 124.28, 0.2 at 220.44.
    assert.approximately(
      nodeOf(told, "2").progress?.stepsPerSecond ?? 0,
      (0.2 - 2.384185791015625e-7) / (220.44 - 19.19) * 1_000,
      1e-3
    )
    addsUp(told)
  })

  it("that expands nodes: those wait meanwhile, and what they made counts for them on the critical path", () => {
    // 2 from 1016.03 to 1096.39, 3 from 1016.05 to 1108.48. Of 2: .3 from 1017.67 to 1072.11, .2 from 1019.58 to 1082.84,
    // .1 from 1019.71 to 1096.30, .4 from 1096.32 to 1096.37. Of 3: .3 from 1019.75 to 1061.40, .2 from 1019.79 to 1082.87,
    // .1 from 1019.84 to 1108.34, .4 from 1108.42 to 1108.47.
    const { events, workflow } = run(parallel, 1)
    const told = profile(events, workflow)
    near(nodeOf(told, "2").durationMs, 1096.39 - 1016.03)
    near(nodeOf(told, "2.0.0.1").durationMs, 1096.30 - 1019.71)
    assert.strictEqual(nodeOf(told, "2.0.0.1").displayId, "2")
    assert.strictEqual(nodeOf(told, "2.0.0.1").parentId, "2")
    // Alone, then beside 3, until its first node begins; then between its nodes, beside the one of 3 that still ran.
    near(
      nodeOf(told, "2").exclusiveMs,
      (1016.05 - 1016.03) + (1017.67 - 1016.05) / 2 + (1096.32 - 1096.30) / 2 + (1096.39 - 1096.37) / 2
    )
    assert.notInclude(nodeOf(told, "2").parallelWith, "2.0.0.1")
    assert.includeMembers([...nodeOf(told, "2.0.0.1").parallelWith], ["2.0.0.2", "3.0.0.1"])
    // 1 and 4 and 5 are in a row with 3, the longer one, of which something ran all the time.
    near(
      told.criticalPath?.durationMs,
      (1016.03 - 1016.01) + (1108.48 - 1016.05) + (1108.52 - 1108.50) + (1109.99 - 1108.54)
    )
    assert.deepStrictEqual(told.criticalPath?.nodeIds, ["1", "3", "4", "5"])
    addsUp(told)
  })

  it("that failed: the node that the error names failed, the one beside it ran to the end, others were skipped", () => {
    // 2 from 1117.97, 3 from 1118.76, the error at 1223.35, the end at 1224.36.
    const { events, workflow } = run(parallel, 2)
    const told = profile(events, workflow)
    assert.deepStrictEqual([told.state, told.reason], ["failed", "NodeFailed"])
    assert.deepStrictEqual(told.nodes.map(({ state }) => state), [
      "executed",
      "running",
      "failed",
      "skipped",
      "skipped"
    ])
    near(nodeOf(told, "3").durationMs, 1224.36 - 1118.76)
    near(nodeOf(told, "2").durationMs, 1224.36 - 1117.97)
    assert.deepStrictEqual([nodeOf(told, "2").inferred, nodeOf(told, "3").inferred], [true, false])
    addsUp(told)
  })

  it("that was interrupted: what ran then has its time up to the end", () => {
    // Within 2: from 13.40, the end at 410.76.
    const within = run(interrupts, 0)
    const told = profile(within.events, within.workflow)
    assert.strictEqual(told.state, "cancelled")
    near(nodeOf(told, "2").durationMs, 410.76 - 13.40)
    assert.deepStrictEqual([nodeOf(told, "2").state, nodeOf(told, "2").inferred], ["running", true])
    assert.strictEqual(nodeOf(told, "3").state, "skipped")
    // 2 did not look and ended at 1918.22; 3 was announced at 1918.26, and the run ended at 1918.30.
    const late = run(interrupts, 1)
    const later = profile(late.events, late.workflow)
    near(nodeOf(later, "2").durationMs, 1918.22 - 415.08)
    assert.deepStrictEqual([nodeOf(later, "2").state, nodeOf(later, "3").state], ["executed", "running"])
    near(nodeOf(later, "3").durationMs, 1918.30 - 1918.26)
    addsUp(later)
  })

  it("that was cached: no node began, and the rate is 1", () => {
    const { events, workflow } = run("0.33.0/06-cached-rerun.jsonl", 1)
    const told = profile(events, workflow)
    assert.deepStrictEqual(told.nodes.map(({ durationMs, state }) => [state, durationMs]), [["cached", 0], [
      "cached",
      0
    ]])
    assert.strictEqual(told.cacheRate, 1)
    near(told.executionMs, 93.92 - 93.89)
    near(told.idleMs, 93.92 - 93.89)
  })

  it("learnt over HTTP says what the one from the socket says, as far as it says anything", () => {
    const all = [0, 1, 2].map((place) => [parallel, place] as const)
    for (const [file, place] of [...all, [interrupts, 0] as const]) {
      const whole = run(file, place)
      const live = profile(whole.events, whole.workflow)
      // Lost before the first frame, and between.
      for (const lostAt of [whole.postedAt + 1, whole.postedAt + 13, whole.postedAt + 50]) {
        const { events, workflow } = run(file, place, lostAt)
        const told = profile(events, workflow)
        assert.deepStrictEqual(
          [told.state, told.reason, told.via, told.gaps.socket],
          [live.state, live.reason, "http", 1]
        )
        assert.isTrue(told.executionInferred || told.executionMs === null)
        if (told.queueMs !== null) near(told.queueMs, live.queueMs ?? 0)
        for (const node of told.nodes) {
          const known = nodeOf(live, node.nodeId)
          assert.deepStrictEqual(
            [node.classType, node.title, node.displayId, node.state],
            [known.classType, known.title, known.displayId, known.state]
          )
          if (node.startMs !== null) assert.strictEqual(node.startMs, known.startMs)
          if (!node.inferred) assert.strictEqual(node.durationMs, known.durationMs)
        }
        assert.strictEqual(
          told.nodes.some(({ state }) => state === "failed"),
          live.nodes.some(({ state }) => state === "failed")
        )
        addsUp(told)
      }
    }
  })
})

const fold = (...events: ReadonlyArray<ExecutionEvent>) => profile(events, chain("1", "2", "3"))

describe("Profile", () => {
  it("counts every round of a loop", () => {
    const s = script()
    const told = fold(
      s.submitted(10),
      s.started(20),
      s.start(20, "1"),
      s.finish(30, "1"),
      ...[0, 1, 2].flatMap((round) => [
        s.start(30 + 100 * round, "2"),
        s.finish(80 + 100 * round, "2"),
        s.start(80 + 100 * round, "3"),
        s.finish(130 + 100 * round, "3")
      ]),
      s.completed(340)
    )
    const { durationMs, endMs, executions, startMs } = nodeOf(told, "2")
    assert.deepStrictEqual([executions, durationMs, startMs, endMs], [3, 150, 30, 280])
    assert.deepStrictEqual(told.order, ["1", "2", "3"])
    assert.deepStrictEqual(told.criticalPath, { nodeIds: ["1", "2", "3"], durationMs: 10 + 150 + 150 })
    assert.strictEqual(told.idleMs, 10)
  })

  it("does not let nodes share an instant in which none of them ran", () => {
    const s = script()
    const told = fold(s.started(0), s.start(0, "1"), s.start(10, "2"), s.finish(10, "1"), s.finish(20, "2"))
    assert.deepStrictEqual(told.nodes.map(({ exclusiveMs, parallelWith }) => [exclusiveMs, parallelWith]), [
      [10, []],
      [10, []]
    ])
  })

  it("counts steps over all passes, and their rate without the time before the first", () => {
    const s = script()
    const told = fold(
      s.started(0),
      s.start(0, "1"),
      s.progress(5_000, "1", 1),
      s.progress(6_000, "1", 11),
      s.progress(9_000, "1", 1),
      s.progress(9_500, "1", 6),
      s.progress(9_600, "1", Number.NaN),
      s.finish(10_000, "1")
    )
    assert.deepStrictEqual(nodeOf(told, "1").progress, { value: 6, max: 20, steps: 17, stepsPerSecond: 10 })
  })

  it("takes no step twice, told again at once or after those of another node", () => {
    const s = script()
    const begun = [s.started(0), s.start(0, "1"), s.start(0, "2"), s.progress(5, "1", 3)]
    const [first, second, other] = [s.progress(10, "1", 5), s.progress(10, "1", 7), s.progress(20, "2", 1)]
    const told = profile([...begun, first, second, other])
    assert.strictEqual(nodeOf(told, "1").progress?.steps, 7)
    assert.deepStrictEqual(profile([...begun, first, second, first, other]), told)
    assert.deepStrictEqual(profile([...begun, first, second, other, first, second]), told)
  })

  it("lets a node wait that begins again while something it expanded into still runs", () => {
    const s = script()
    const told = fold(
      s.started(0),
      s.start(0, "3"),
      s.start(10, "3.0.0.1", { displayId: "3", parentId: "3" }),
      s.finish(20, "3"),
      s.start(30, "3"),
      s.finish(40, "3.0.0.1"),
      s.finish(45, "3"),
      s.completed(45)
    )
    assert.deepStrictEqual(told.nodes.slice(0, 2).map(({ durationMs, exclusiveMs }) => [durationMs, exclusiveMs]), [
      [20 + 15, 10 + 5],
      [30, 30]
    ])
  })

  it("takes a node without a start for one that had the result of its double, unless events were missed", () => {
    const s = script()
    const whole = fold(s.started(0), s.output(1, "2", true), s.finish(1, "2"), s.finish(2, "3"), s.completed(3))
    assert.deepStrictEqual(whole.nodes.map(({ nodeId, state }) => [nodeId, state]), [
      ["2", "cached"],
      ["3", "cached"],
      ["1", "skipped"]
    ])
    const t = script()
    const missed = fold(t.gap(0, "attached"), t.started(0), t.output(1, "2", true), t.finish(2, "3"), t.completed(3))
    assert.deepStrictEqual(
      missed.nodes.map(({ durationMs, inferred, nodeId, state }) => [nodeId, state, durationMs, inferred]),
      [
        ["2", "executed", null, true],
        ["3", "executed", null, true]
      ]
    )
    assert.deepStrictEqual(missed.gaps, { socket: 0, consumer: 0, attached: 1 })
    assert.isTrue(missed.executionInferred)
  })

  it("marks what a gap of the socket touched: what ran then, and what began before anything was heard again", () => {
    const s = script()
    const told = fold(
      s.submitted(0),
      s.started(1),
      s.start(1, "1"),
      s.finish(10, "1"),
      s.start(10, "2"),
      s.gap(20, "socket"),
      s.finish(50, "2"),
      s.start(50, "3"),
      s.start(60, "4"),
      s.finish(70, "3"),
      s.finish(70, "4"),
      s.completed(80, "http")
    )
    assert.deepStrictEqual(told.nodes.map(({ inferred }) => inferred), [false, true, true, false])
    assert.deepStrictEqual([told.queueInferred, told.executionInferred], [false, true])
  })

  it("marks what a slow subscriber lost, and nothing where that was progress alone", () => {
    const s = script()
    const told = fold(
      s.started(0),
      s.start(0, "1"),
      s.lost(50, 3),
      s.start(60, "3"),
      s.finish(70, "3"),
      s.completed(80)
    )
    assert.deepStrictEqual(told.nodes.map(({ endMs, inferred, nodeId }) => [nodeId, endMs, inferred]), [
      ["1", 80, true],
      ["3", 70, false]
    ])
    assert.deepStrictEqual([told.gaps.consumer, told.executionInferred], [1, false])
    const t = script()
    const harmless = fold(t.started(0), t.start(0, "1"), t.lost(50, 0), t.finish(60, "1"), t.completed(80))
    assert.isFalse(nodeOf(harmless, "1").inferred)
    assert.deepStrictEqual(harmless.nodes.map(({ state }) => state), ["executed", "skipped", "skipped"])
  })

  it("names the failed node also where its start was not seen, and those that it expanded into", () => {
    const s = script()
    const unseen = fold(s.submitted(0), s.gap(1, "socket"), s.failed(90, nodeFailed("2"), "http"))
    assert.deepStrictEqual(unseen.nodes.map(({ durationMs, nodeId, state }) => [nodeId, state, durationMs]), [
      ["2", "failed", null]
    ])
    const t = script()
    const loop = fold(
      t.started(0),
      t.start(0, "3"),
      t.start(10, "3.0.0.2", { displayId: "2", parentId: "3" }),
      t.failed(30, nodeFailed("3"))
    )
    assert.strictEqual(nodeOf(loop, "3.0.0.2").state, "failed")
    assert.strictEqual(nodeOf(loop, "3").state, "failed")
    assert.deepStrictEqual(loop.criticalPath, { nodeIds: ["2", "3"], durationMs: 30 })
  })

  it("has no execution where the run was refused or lost before it began", () => {
    const s = script()
    const told = fold(s.failed(5, { _tag: "Unreachable", by: "network", status: null, cause: "refused" }, "client"))
    assert.deepStrictEqual(
      [told.state, told.queueMs, told.executionMs, told.totalMs, told.idleMs],
      ["failed", null, null, 5, 0]
    )
    const t = script()
    const lost = fold(
      t.submitted(1),
      t.started(2),
      t.start(3, "1"),
      t.gap(9, "socket"),
      t.failed(40, { _tag: "Lost", evidence: "two answers" }, "http")
    )
    assert.deepStrictEqual([lost.reason, lost.executionMs, lost.executionInferred], ["Lost", 38, true])
    assert.deepStrictEqual([nodeOf(lost, "1").state, nodeOf(lost, "1").durationMs], ["running", 37])
  })

  it("tells 20,000 ids of a server apart and counts the starts of others", () => {
    const s = script()
    const state = Profile.init(chain("1"))
    Profile.step(state, s.started(0))
    for (let i = 0; i < maxNodes + 10; i++) Profile.step(state, s.start(i, `x${i}`))
    Profile.step(state, s.start(maxNodes + 10, "1"))
    Profile.step(state, s.completed(maxNodes + 20))
    const told = Profile.snapshot(state)
    assert.strictEqual(told.nodes.length, maxNodes + 1)
    assert.strictEqual(told.unlistedStarts, 10)
    assert.isTrue(told.nodes.every(({ parallelWith }) => parallelWith.length <= 32))
    addsUp(told)
  })

  it("does not change a profile that it gave", () => {
    const s = script()
    const state = Profile.init(chain("1", "2"))
    for (const event of [s.started(0), s.start(0, "1"), s.progress(1, "1", 1), s.start(1, "2")]) {
      Profile.step(state, event)
    }
    const told = Profile.snapshot(state)
    const before = structuredClone(told)
    for (const event of [s.gap(5, "socket"), s.finish(6, "1"), s.completed(9)]) Profile.step(state, event)
    assert.deepStrictEqual(told, before)
  })

  it.effect("is a sink, and a stream of what it is by now", () =>
    Effect.gen(function*() {
      const { events, workflow } = run(parallel, 0)
      const final = profile(events, workflow)
      assert.deepStrictEqual(yield* Stream.run(Stream.fromIterable(events), Profile.sink(workflow)), final)
      const source = Stream.rechunk(Stream.fromIterable(events), 2)
      const told = yield* Stream.runCollect(Profile.live(source, workflow))
      assert.deepStrictEqual(told.at(-1), final)
      // Whoever reads slowly gets the latest: one of before, and the last.
      let seen = 0
      const slow = yield* Profile.live(source, workflow).pipe(
        Stream.mapEffect((one) =>
          Effect.as(seen++ === 0 ? Effect.yieldNow.pipe(Effect.repeat({ times: 200 })) : Effect.void, one)
        ),
        Stream.runCollect
      )
      assert.isAtMost(slow.length, 3)
      assert.deepStrictEqual(slow.at(-1), final)
    }))
})
