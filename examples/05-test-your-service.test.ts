/**
 * Your service, tested with the real client on a fake ComfyUI server: in memory, and in virtual time, so that five
 * minutes of sampling take none.
 */
import { ComfyClient } from "@effect-comfyui/client/ComfyClient"
import * as Execution from "@effect-comfyui/execution/Execution"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

/** The service: draws a poster, says how far it is, and draws once more if the server was at fault. */
const drawPoster = (title: string, onProgress: (percent: number) => void) =>
  Effect.gen(function*() {
    const comfy = yield* ComfyClient
    const report = (event: ExecutionEvent) => {
      if (event._tag === "NodeProgress") onProgress(Math.round(100 * event.value / event.max))
    }
    const workflow = Workflows.textToImage({ prompt: title, filenamePrefix: "poster" })
    const drawing = comfy.run(workflow).pipe(Stream.tap((event) => Effect.sync(() => report(event))), Execution.result)
    const { outputs } = yield* Effect.retry(drawing, { times: 1, while: (error) => error.category === "server" })
    return Outputs.files(outputs).map((file) => file.filename)
  })

/** A server with a slow card, new for each test. */
const environment = ComfyTest.layer({ hardware: { stepMsPerMegapixel: 60_000 } })

describe("drawPoster", () => {
  it.effect("draws, and says how far it is", () =>
    Effect.gen(function*() {
      const percents: Array<number> = []
      // `advanceWhile` lets time pass until the poster is there.
      const files = yield* ComfyTest.advanceWhile(drawPoster("a lighthouse", (percent) => percents.push(percent)))
      assert.deepStrictEqual(files, ["poster_00001_.png"])
      assert.deepStrictEqual(percents, Array.from({ length: 20 }, (_, step) => (step + 1) * 5))
    }).pipe(Effect.provide(environment)))

  it.effect("draws again after the server was restarted in the middle", () =>
    Effect.gen(function*() {
      let percent = 0
      const drawing = yield* Effect.forkChild(drawPoster("a lighthouse", (now) => void (percent = now)))
      yield* ComfyTest.advanceUntil(() => percent >= 50)
      const server = yield* ComfyTest.server
      yield* server.restart
      const files = yield* ComfyTest.advanceWhile(Fiber.join(drawing))
      assert.strictEqual(files.length, 1)
      // What the server really did: one run lost, one that succeeded.
      const { prompts } = yield* server.ledger
      assert.deepStrictEqual(prompts.map((prompt) => prompt.outcome), ["lost", "success"])
    }).pipe(Effect.provide(environment)))
})
