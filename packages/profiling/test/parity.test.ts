// What profilers of other clients get wrong, one test each: here it is right.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import { ComfyTest, FakeServers, TestNodes, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import { chain, epoch, near, nodeFailed, nodeOf, script } from "./support/events.ts"
import { profile, run } from "./support/recorded.ts"

const spec = (n: number) => {
  const id = ComfyTest.nameOf(n)
  return {
    id: BackendId.make(id),
    make: Effect.map(ComfyClient.make({ id, url: ComfyTest.urlOf(id) }), ComfyClient.backend)
  }
}

const pooled = Layer.mergeAll(
  FakeServers.layer(Object.fromEntries([1, 2].map((n) => [
    ComfyTest.urlOf(ComfyTest.nameOf(n)),
    { nodes: TestNodes.nodes }
  ]))),
  layerMemory,
  layerCostAware,
  Layer.succeed(References.MinimumLogLevel, "None")
)

describe("a profile", () => {
  it("has the last node, which ends after the last output came", () => {
    // `executed` of 5 at 1109.17, its end at 1109.99.
    const { events, workflow } = run("0.33.0/31-async-parallel.jsonl", 1)
    const told = profile(events, workflow)
    const last = nodeOf(told, "5")
    assert.deepStrictEqual([last.state, told.order.at(-1)], ["executed", "5"])
    near(last.durationMs, 1109.99 - 1108.54)
    const s = script()
    // A server that does not say when a node ends says that the run did.
    const old = profile([s.started(0), s.start(0, "1"), s.finish(10, "1"), s.start(10, "2"), s.completed(25)])
    assert.deepStrictEqual([nodeOf(old, "2").state, nodeOf(old, "2").durationMs], ["executed", 15])
  })

  it("is there of a failed run, and attributes the failure to its node", () => {
    // The server says `node_id`.
    const { events, workflow } = run("0.33.0/31-async-parallel.jsonl", 2)
    const told = profile(events, workflow)
    assert.deepStrictEqual(told.nodes.filter(({ state }) => state === "failed").map(({ nodeId }) => nodeId), ["3"])
    near(told.executionMs, 1224.36 - 1116.30)
  })

  it("counts every round of a loop, not the first alone", () => {
    const s = script()
    const told = profile([
      s.started(0),
      ...[0, 100, 200].flatMap((ms) => [s.start(ms, "1"), s.finish(ms + 60, "1")]),
      s.completed(300)
    ])
    assert.deepStrictEqual([nodeOf(told, "1").executions, nodeOf(told, "1").durationMs], [3, 180])
  })

  it("has the time of a node that ran although it was announced as cached", () => {
    const s = script()
    const told = profile([s.started(0), s.cached(1, "1", "2"), s.start(1, "2"), s.finish(41, "2"), s.completed(42)])
    assert.deepStrictEqual([nodeOf(told, "2").state, nodeOf(told, "2").durationMs], ["executed", 40])
    assert.deepStrictEqual([nodeOf(told, "1").state, told.cacheRate], ["cached", 0.5])
  })

  it("does not count nodes that never had their turn", () => {
    const s = script()
    const events = [s.started(0), s.cached(0, "1"), s.start(0, "2"), s.finish(10, "2")]
    const workflow = chain("1", "2", "3", "4")
    assert.strictEqual(profile(events, workflow).nodes.length, 2)
    const told = profile([...events, s.completed(11)], workflow)
    assert.deepStrictEqual(told.nodes.map(({ state }) => state), ["cached", "executed", "skipped", "skipped"])
    assert.deepStrictEqual([told.cacheRate, told.order], [0.5, ["2"]])
  })

  it("takes nothing of another prompt", () => {
    const ours = script()
    const theirs = script(undefined, RunId.make("1b2f6c3e-5a8d-4e7b-9a56-1c2d3e4f5a6b"))
    theirs.submitted(0)
    theirs.started(0)
    const events = [ours.submitted(0), ours.started(1), ours.start(1, "1")]
    const rest = [ours.finish(50, "1"), ours.completed(51)]
    const foreign = [theirs.start(20, "9"), theirs.failed(30, nodeFailed("1"))]
    assert.deepStrictEqual(profile([...events, ...foreign, ...rest]), profile([...events, ...rest]))
  })

  it("uses the time that the server tells, and shows how far its clock is off", () => {
    const s = script()
    const told = profile([s.submitted(10), s.started(50, epoch + 50 - 7_200_000), s.completed(90)])
    assert.deepStrictEqual([told.startedAtMs, told.clockOffsetMs], [epoch + 50 - 7_200_000, -7_200_000])
    assert.deepStrictEqual([told.queueMs, told.executionMs], [40, 40])
    // As a real one does: execution_start says 1795253231457.
    const { events } = run("0.33.0/31-async-parallel.jsonl", 0)
    assert.strictEqual(profile(events).startedAtMs, 1_795_253_231_457)
  })

  it.effect("of a loop on a server has every round, and the node that loops only what it took itself", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      yield* ComfyTest.connected()
      const workflow = Workflow.fromNodes({
        "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 0 } },
        "4": { class_type: "FakeLoop", inputs: { count: 3, seconds: 1, value: ["1", 0] } },
        "9": { class_type: "PreviewImage", inputs: { images: ["4", 0] } }
      })
      const run = Stream.run(client.run(workflow), Profile.sink(workflow))
      const told = yield* ComfyTest.advanceWhile(run, { step: "100 millis" })
      const body = "4.0.0.Body"
      const bodies = [body, `4.0.0.Recurse.0.0.Body`, `4.0.0.Recurse.0.0.Recurse.0.0.Body`].map((id) =>
        nodeOf(told, id)
      )
      assert.deepStrictEqual(
        bodies.map(({ displayId, durationMs, exclusiveMs }) => [displayId, durationMs, exclusiveMs]),
        [
          ["4", 1_000, 1_000],
          ["4", 1_000, 1_000],
          ["4", 1_000, 1_000]
        ]
      )
      assert.deepStrictEqual([nodeOf(told, "4").durationMs, nodeOf(told, "4").exclusiveMs], [3_000, 0])
      assert.deepStrictEqual(told.criticalPath, { nodeIds: ["4"], durationMs: 3_000 })
      assert.deepStrictEqual(nodeOf(told, "4").parallelWith, [])
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("of a job keeps its queue time apart from earlier attempts and the waits between them", () =>
    Effect.gen(function*() {
      const pool = yield* Pool.make({ servers: [1, 2].map(spec) })
      // Somebody else's job comes first, and takes ten seconds on both servers.
      yield* Effect.forEach([1, 2], (n) => pool.submit(Workflows.slow({ seconds: 10 + n / 100 })))
      const job = yield* pool.submit(Workflows.outOfMemory({ seconds: 2 }))
      const told = yield* ComfyTest.advanceWhile(Stream.run(job.events(), JobProfile.sink()), { step: "100 millis" })
      assert.strictEqual(told.state, "failed")
      assert.isAtLeast(told.attempts.length, 2)
      assert.isTrue(told.queueMs !== null && told.queueMs >= 10_000 && told.queueMs < 11_000)
      for (const { reason, run } of told.attempts) {
        assert.strictEqual(reason, "OutOfMemory")
        assert.strictEqual(nodeOf(run, "1").state, "failed")
        near(nodeOf(run, "1").durationMs, 2_000)
      }
      const waits = told.attempts.slice(1).reduce((sum, { waitMs }) => sum + waitMs, 0)
      near(told.retryWaitMs, waits)
      assert.isAtLeast(told.totalMs, (told.queueMs ?? 0) + waits + 2_000 * told.attempts.length)
    }).pipe(Effect.scoped, Effect.provide(pooled)))
})
