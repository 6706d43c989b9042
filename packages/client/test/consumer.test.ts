import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { connect, ending, fake, listen, outcomes, theServer, watchRun } from "./support/client.ts"
import { graph, picture, steps } from "./support/workflows.ts"

/** Many short nodes after one another: several lifecycle events each. */
const chain = (length: number) =>
  graph(Object.fromEntries([
    ["0", { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 3 } }],
    ...Array.from({ length }, (_, index) => [
      `${index + 1}`,
      { class_type: "ImageInvert", inputs: { image: [`${index}`, 0] } }
    ]),
    ["end", { class_type: "PreviewImage", inputs: { images: [`${length}`, 0] } }]
  ]))

describe("a slow consumer", () => {
  it.effect("loses what does not fit, is told how much, and always gets the ending; nobody else notices", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const handle = yield* client.submit(chain(100))
      const fast = yield* listen(handle.events())
      const slow: Array<string> = []
      let lost = 0
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(handle.events({ capacity: 10 }), (event) =>
          Effect.gen(function*() {
            slow.push(event._tag)
            if (event._tag === "Gap") lost += event.lifecycle
            yield* Effect.sleep("1 second")
          })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(fast.events), "Completed via socket")
      yield* TestClock.adjust("5 minutes")
      yield* Fiber.join(fiber)
      assert.isAbove(lost, 100)
      assert.strictEqual(slow.at(-1), "Completed")
      // What it got and what it lost is everything.
      assert.strictEqual(slow.filter((tag) => !["Gap", "NodeProgress"].includes(tag)).length + lost, fast.tags().length)
    }).pipe(Effect.provide(fake())))

  it.effect("gets the newest progress and previews, or all of them if it asks", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const handle = yield* client.submit(steps(200, 10, true))
      const all = yield* listen(handle.events({ progress: "all", previews: "all" }))
      const none = yield* listen(handle.events({ previews: "none" }))
      const slow: Array<number> = []
      yield* Effect.forkChild(
        Stream.runForEach(handle.events(), (event) =>
          event._tag === "NodeProgress"
            ? Effect.andThen(Effect.sync(() => void slow.push(event.value)), Effect.sleep("500 millis"))
            : Effect.void),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(all.events.filter((event) => event._tag === "NodeProgress").length, 200)
      assert.strictEqual(all.events.filter((event) => event._tag === "Preview").length, 200)
      assert.strictEqual(none.events.filter((event) => event._tag === "Preview").length, 0)
      assert.isBelow(slow.length, 10)
      assert.deepStrictEqual(slow, slow.toSorted((a, b) => a - b))
    }).pipe(Effect.provide(fake({ previewMethod: "auto", version: "0.3.64" }))))

  it.effect("that fails or dies harms itself alone, and its own run is cancelled (C18)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const failing = yield* Effect.forkChild(
        Effect.exit(Stream.runForEach(client.run(steps(100, 1_000)), (event) =>
          event._tag === "NodeStarted" ? Effect.die("listener") : Effect.void)),
        { startImmediately: true }
      )
      const other = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(failing)))
      assert.strictEqual(ending(other.events), "Completed via socket")
      assert.deepStrictEqual(yield* outcomes(server), ["interrupted", "success"])
    }).pipe(Effect.provide(fake())))

  it.effect("never slows the socket: frames of others go on", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* Effect.forkChild(Stream.runForEach(client.run(steps(50, 100)), () => Effect.never), {
        startImmediately: true
      })
      const other = yield* watchRun(client, picture())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(other.events), "Completed via socket")
    }).pipe(Effect.provide(fake())))
})
