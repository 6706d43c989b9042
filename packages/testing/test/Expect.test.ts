import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { expectCancelled, expectCompleted, expectFailed, expectOneEnding, trace } from "@effect-comfyui/testing/Expect"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

const run = (workflow = Workflows.picture()) =>
  Effect.flatMap(
    ComfyClient.ComfyClient,
    (client) =>
      ComfyTest.advanceWhile(Stream.runCollect(client.run(workflow, { events: { progress: "all", previews: "all" } })))
  )

const messageOf = (check: () => unknown): string => {
  try {
    check()
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  return "it passed"
}

describe("Expect", () => {
  it.effect("gives back what it looked for", () =>
    Effect.gen(function*() {
      const events = yield* run()
      assert.deepStrictEqual(Object.keys(expectCompleted(events).outputs), ["2"])
      const reason = expectFailed(yield* run(Workflows.raising({ message: "too blue" })), "NodeFailed")
      assert.strictEqual(reason.message.trim(), "too blue")
      assert.strictEqual(expectFailed(yield* run(Workflows.rejected), "MissingCapability").classes.length, 1)
      expectFailed(yield* run(Workflows.failing), "NodeFailed")
      expectFailed(yield* run(Workflows.outOfMemory({ seconds: 5 })), "OutOfMemory")
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("shows the run where it is another one", () =>
    Effect.gen(function*() {
      const completed = yield* run()
      const failed = yield* run(Workflows.raising())
      assert.match(
        messageOf(() => expectFailed(completed, "NodeFailed")),
        /^expected Failed\(NodeFailed\); the run:\n0 Sub/
      )
      assert.match(messageOf(() => expectFailed(failed, "OutOfMemory")), /^expected Failed\(OutOfMemory\)/)
      assert.match(
        messageOf(() => expectCompleted(failed)),
        /\d Failed via socket: NodeFailed: FakeRaise \(#1\) raised/
      )
      assert.match(messageOf(() => expectCancelled(completed)), /^expected Cancelled;/)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("finds a run without an ending, with two, with more behind it, and with holes", () =>
    Effect.gen(function*() {
      const [another] = yield* run()
      const events = yield* run()
      const ending = events.at(-1)
      assert.isDefined(ending)
      assert.isDefined(another)
      const broken = (...more: ReadonlyArray<ExecutionEvent>) => messageOf(() => expectOneEnding(more))
      assert.match(broken(...events.slice(0, -1)), /one ending, found 0/)
      assert.match(broken(...events, ending), /one ending, found 2/)
      assert.match(broken(...events.slice(0, 2), ending, ...events.slice(2, -1)), /as the last event/)
      assert.match(
        broken(...events.filter((event) => event._tag !== "Started")),
        /NodesCached with sequence 1, found 2/
      )
      assert.match(
        broken(...events.map((event) => event._tag === "Started" ? { ...event, runId: another.runId } : event)),
        /events of one run/
      )
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("tells who cancelled", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      const handle = yield* ComfyTest.advanceWhile(client.submit(Workflows.slow()))
      yield* ComfyTest.advanceWhile(handle.cancel)
      const events = yield* ComfyTest.advanceWhile(Stream.runCollect(handle.events()))
      assert.strictEqual(expectCancelled(events, "us").by, "us")
      assert.match(messageOf(() => expectCancelled(events, "elsewhere")), /Cancelled by elsewhere/)
    }).pipe(Effect.provide(ComfyTest.layer())))
})

describe("trace", () => {
  it.effect("is the same for two runs of other ids, times and file names", () =>
    Effect.gen(function*() {
      const first = trace(yield* run(Workflows.picture({ color: 1 })))
      const second = trace(yield* run(Workflows.picture({ color: 2 })))
      assert.deepStrictEqual(first, second)
      assert.deepStrictEqual(first, [
        "0 Submitted",
        "1 Started",
        "2 NodesCached none",
        "3 NodeStarted 1 EmptyImage",
        "4 NodeFinished 1",
        "5 NodeStarted 2 SaveImage",
        "6 NodeOutput 2 picture_#_.png",
        "7 NodeFinished 2",
        "8 Completed via socket: 2 picture_#_.png"
      ])
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("keeps the last of progress and previews, and names chosen seeds", () =>
    Effect.gen(function*() {
      const counted = trace(yield* run(Workflows.counting({ steps: 5, previews: true })))
      assert.includeMembers([...counted], ["  NodeProgress 1 5 of 5", "  Preview 1 image/jpeg"])
      assert.strictEqual(counted.filter((line) => line.startsWith("  ")).length, 2)
      const [first] = trace(yield* run(Workflows.textToImage({ seed: -1, steps: 2 })))
      assert.strictEqual(first, "0 Submitted seeds 3.seed")
    }).pipe(Effect.provide(ComfyTest.layer({ previewMethod: "auto" }))))
})
