import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { ComfyTest, ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

const attachment = {
  content: ImageFile.encodePng(Picture.imagine(32, 32, 1, "ours"), 0),
  filename: "ours.png",
  input: { nodeId: "1", inputName: "image" }
}

const filesOf = Effect.fnUntraced(function*(workflow: Workflow.Workflow, options?: ComfyClient.RunOptions) {
  const client = yield* ComfyClient.ComfyClient
  const { outputs } = yield* ComfyTest.advanceWhile(client.result(workflow, options))
  return Object.entries(outputs).flatMap(([id, output]) => output.files.map((file) => `${id} ${file.filename}`))
})

describe("Workflows", () => {
  it.effect("run on a fake server as they are", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* filesOf(Workflows.textToImage()), ["9 ComfyUI_00001_.png"])
      assert.deepStrictEqual(
        yield* filesOf(Workflows.textToImage({ batch: 2, width: 64, height: 64, filenamePrefix: "two", steps: 1 })),
        ["9 two_00001_.png", "9 two_00002_.png"]
      )
      const attachments = [attachment]
      assert.deepStrictEqual(yield* filesOf(Workflows.imageEdit(), { attachments }), ["4 edited_00001_.png"])
      assert.deepStrictEqual(yield* filesOf(Workflows.upscale(), { attachments }), ["4 upscaled_00001_.png"])
      assert.deepStrictEqual(yield* filesOf(Workflows.picture({ color: 3 })), ["2 picture_00001_.png"])
      assert.deepStrictEqual(yield* filesOf(Workflows.slow({ seconds: 5 })), ["3 slow_00001_.png"])
    }).pipe(Effect.provide(ComfyTest.layer())))

  it("are sound graphs", () => {
    const all = [
      Workflows.textToImage({ seed: 18_446_744_073_709_551_615n }),
      Workflows.imageEdit({ image: "a.png" }),
      Workflows.upscale({ image: "a.png" }),
      Workflows.picture(),
      Workflows.slow(),
      Workflows.counting(),
      Workflows.raising(),
      Workflows.outOfMemory(),
      Workflows.failing,
      Workflows.rejected
    ]
    for (const workflow of all) assert.isTrue(Result.isSuccess(Workflow.check(workflow)))
  })
})
