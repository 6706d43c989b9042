/**
 * Real traffic once, then for ever without a server. With `COMFY_URL=http://host:8188` this test talks to that server
 * and records; without it, it replays the file. Secrets never reach the file, and a request that was not recorded
 * fails, with the nearest one that was.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as CassetteNode from "@effect-comfyui/testing/CassetteNode"
import { expectCompleted, trace } from "@effect-comfyui/testing/Expect"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { join } from "node:path"
import process from "node:process"

const file = join(import.meta.dirname, "fixtures/picture.jsonl")
const server = process.env["COMFY_URL"]

/** What the test does: a picture is drawn and looked at. */
const program = Effect.gen(function*() {
  const comfy = yield* ComfyClient.ComfyClient
  const events = yield* Stream.runCollect(comfy.run(Workflows.picture({ color: 0x336699 })))
  const [picture] = expectCompleted(events).outputs["2"]?.files ?? []
  assert.isDefined(picture)
  const { sizeBytes } = yield* comfy.files.stat(picture)
  assert.isAbove(sizeBytes ?? 0, 100)
  // The same line at every run: ids and the numbers of files are levelled.
  assert.strictEqual(trace(events).at(-1), "8 Completed via socket: 2 picture_#_.png")
})

const client = ComfyClient.layer({ url: server ?? "http://127.0.0.1:8188" })

if (server === undefined) {
  it.effect("a picture, replayed in virtual time", () =>
    ComfyTest.advanceWhile(program).pipe(
      Effect.provide(client.pipe(Layer.provide(CassetteNode.replay(file))))
    ))
} else {
  it.live("a picture, recorded", () =>
    program.pipe(
      Effect.provide(client.pipe(Layer.provide(CassetteNode.record(file)), Layer.provide(PlatformNode.layer())))
    ))
}
