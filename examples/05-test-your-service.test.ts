/**
 * Your service, tested against a fake ComfyUI in memory and in virtual time: the service does not know, nothing is
 * mocked, and a node that takes ten minutes takes no time.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import type { OutputFile } from "@effect-comfyui/execution/Outputs"
import { FakeServers, TestNodes } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"

/** What the application offers to the rest of itself. */
class Posters extends Context.Service<Posters, {
  /** Draws a poster; tries once more if the server was at fault. */
  readonly draw: (color: number) => Effect.Effect<ReadonlyArray<OutputFile>, ExecutionError>
}>()("examples/Posters") {
  static readonly layer = Layer.effect(
    Posters,
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      return {
        draw: Effect.fnUntraced(function*(color: number) {
          const { outputs } = yield* Effect.retry(client.result(poster(color)), {
            times: 1,
            while: (error) => error.category === "server"
          })
          return outputs["3"]?.files ?? []
        })
      }
    })
  )
}

const poster = (color: number): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 96, batch_size: 1, color } },
    "2": { class_type: "FakeSleep", inputs: { seconds: 600, watches: true, value: ["1", 0] } },
    "3": { class_type: "SaveImage", inputs: { images: ["2", 0], filename_prefix: "poster" } }
  })

const url = "http://gpu-1:8188"

/** The real client on a server in memory; every test gets its own. */
const environment = Posters.layer.pipe(
  Layer.provide(ComfyClient.layer({ url })),
  Layer.provideMerge(FakeServers.layer({ [url]: { nodes: TestNodes.nodes } }))
)

describe("Posters", () => {
  it.effect("draws, though it takes ten minutes", () =>
    Effect.gen(function*() {
      const posters = yield* Posters
      const drawing = yield* Effect.forkChild(posters.draw(0xff0000), { startImmediately: true })
      yield* TestClock.adjust("11 minutes")
      const files = yield* Fiber.join(drawing)
      assert.deepStrictEqual(files.map((file) => file.filename), ["poster_00001_.png"])
    }).pipe(Effect.provide(environment)))

  it.effect("draws again after the server was killed in the middle", () =>
    Effect.gen(function*() {
      const posters = yield* Posters
      const server = (yield* FakeServers.FakeServers).get(url)
      const drawing = yield* Effect.forkChild(posters.draw(0x00ff00), { startImmediately: true })
      yield* TestClock.adjust("5 minutes")
      yield* server.restart
      yield* TestClock.adjust("12 minutes")
      assert.strictEqual((yield* Fiber.join(drawing)).length, 1)
      // What the server really did: one run lost, one that succeeded.
      assert.deepStrictEqual((yield* server.ledger).prompts.map((prompt) => prompt.outcome), ["lost", "success"])
    }).pipe(Effect.provide(environment)))
})
