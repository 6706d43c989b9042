import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { asked, connect, connected, ending, fake, outcomes, theServer, watchRun } from "./support/client.ts"
import { graph, picture, raise, steps } from "./support/workflows.ts"

const story = [
  "Submitted",
  "Started",
  "NodesCached",
  "NodeStarted",
  "NodeFinished",
  "NodeStarted",
  "NodeOutput",
  "NodeFinished",
  "Completed"
]

/** The same body of code, whatever carries it. */
const oneRun = Effect.fnUntraced(function*(client: ComfyClient.Shape) {
  yield* connected(client)
  const events = yield* Stream.runCollect(client.run(picture()))
  assert.deepStrictEqual(events.filter((event) => event._tag !== "NodeProgress").map((event) => event._tag), story)
  assert.strictEqual(ending(events), "Completed via socket")
  const last = events.at(-1)
  assert.isTrue(last?._tag === "Completed" && last.outputs["2"]?.files.length === 1)
})

describe("a run that goes well", () => {
  it.effect("in memory, on the test clock: no HTTP call follows the POST", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(run.tags(), story)
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.deepStrictEqual(yield* asked(server), ["POST /prompt 200"])
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))

  it.effect("in memory, on a socket without ping and headers, as browsers have", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(run.tags(), story)
    }).pipe(Effect.provide(fake({ sockets: "browser" }))))

  it.live("on ws and undici", () =>
    Effect.gen(function*() {
      const { url } = yield* LoopbackNode.make()
      yield* oneRun(yield* ComfyClient.make({ url }))
    }).pipe(Effect.provide(PlatformNode.layer())))

  it.live("on the global WebSocket", () =>
    Effect.gen(function*() {
      const { url } = yield* LoopbackNode.make()
      yield* oneRun(yield* ComfyClient.make({ url }))
    }).pipe(Effect.provide(Layer.merge(PlatformNode.layerHttp(), Socket.layerWebSocketConstructorGlobal))))

  it.effect("is numbered without holes, timed, and ends once (C12)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, steps(5, 100, true))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      const lifecycle = run.events.filter((event) => !["NodeProgress", "NodeText", "Preview"].includes(event._tag))
      assert.deepStrictEqual(lifecycle.map((event) => event.sequence), lifecycle.map((_, index) => index))
      const progress = run.events.filter((event) => event._tag === "NodeProgress")
      assert.deepStrictEqual(progress.map((event) => event.value), [1, 2, 3, 4, 5])
      // Progress carries the number of the lifecycle event before it.
      assert.deepStrictEqual(new Set(progress.map((event) => event.sequence)), new Set([3]))
      assert.deepStrictEqual(progress.map((event) => event.elapsed), [101, 201, 301, 401, 501])
      assert.strictEqual(run.events.filter((event) => event._tag === "Preview").length, 5)
    }).pipe(Effect.provide(fake({ previewMethod: "auto" }))))

  it.effect("fully cached, with frames that come before the answer to the POST (C09)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      for (const _ of [1, 2, 3]) {
        const run = yield* watchRun(client, picture())
        yield* TestClock.adjust("1 second")
        assert.strictEqual(ending(run.events), "Completed via socket")
        assert.strictEqual(run.events[0]?._tag, "Submitted")
      }
      const server = yield* theServer
      assert.deepStrictEqual(yield* asked(server), Array.from({ length: 3 }, () => "POST /prompt 200"))
    }).pipe(Effect.provide(fake({ dequeueMs: 0 }))))

  it.effect("beside another that ends first (C08), each with its own events", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const first = yield* watchRun(client, picture(1))
      const second = yield* watchRun(client, steps(10, 1_000))
      const third = yield* watchRun(client, raise())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(first.events), "Completed via socket")
      assert.strictEqual(ending(second.events), "Completed via socket")
      assert.strictEqual(ending(third.events), "Failed(NodeFailed) via socket")
      for (const run of [first, second, third]) {
        assert.strictEqual(new Set(run.events.map((event) => event.runId)).size, 1)
        assert.strictEqual(run.events.filter((event) => event._tag === "Submitted").length, 1)
      }
      assert.isFalse(first.events.some((event) => event._tag === "NodeProgress" && event.max === 10))
    }).pipe(Effect.provide(fake())))

  it.effect("keeps the outputs of every node and of every kind (M02)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(
        client,
        graph({
          "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 2, color: 7 } },
          "a:1": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "one" } },
          "a:2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } },
          "3": { class_type: "FakeNaN", inputs: {} },
          "4": { class_type: "FakeText", inputs: { text: "Task in progress: 3s", broadcast: false } }
        })
      )
      yield* TestClock.adjust("1 second")
      const last = run.events.at(-1)
      assert.isTrue(last?._tag === "Completed")
      if (last?._tag !== "Completed") return
      assert.sameMembers(Object.keys(last.outputs), ["a:1", "a:2", "3", "4"])
      assert.strictEqual(last.outputs["a:1"]?.files.length, 2)
      const text = run.events.find((event) => event._tag === "NodeText")
      assert.deepInclude(text, { nodeId: "4", kind: "progress", seconds: 3 })
    }).pipe(Effect.provide(fake())))
})
