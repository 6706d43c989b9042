import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { Cassette, CassetteError, ComfyTest, ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import * as CassetteNode from "@effect-comfyui/testing/CassetteNode"
import { expectCompleted, trace } from "@effect-comfyui/testing/Expect"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "cassette-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const picture = {
  content: ImageFile.encodePng(Picture.imagine(300, 200, 1, "ours"), 0),
  filename: "ours.png",
  input: { nodeId: "1", inputName: "image" }
}

const program = Effect.gen(function*() {
  const client = yield* ComfyClient.ComfyClient
  yield* Stream.runDrain(Stream.takeUntil(client.link.changes, (state) => state._tag === "Up"))
  const events = yield* Stream.runCollect(client.run(Workflows.imageEdit(), { attachments: [picture] }))
  const [file] = expectCompleted(events).outputs["4"]?.files ?? []
  assert.isDefined(file)
  const { bytes } = yield* client.files.download(file)
  const chunks = yield* Stream.runCollect(bytes)
  return { events, size: chunks.reduce((sum, chunk) => sum + chunk.length, 0) }
})

describe("CassetteNode", () => {
  it.live("records undici and ws on a real port, and replays without them", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "new/edit.jsonl")
      const { url } = yield* LoopbackNode.make()
      const client = ComfyClient.layer({ url, id: "server" })
      const first = yield* Effect.provide(
        program,
        client.pipe(Layer.provide(CassetteNode.record(path).pipe(Layer.provide(PlatformNode.layer()))))
      )
      assert.isTrue(existsSync(path))
      const replay = CassetteNode.replay(path, { pace: 0 })
      const again = yield* Effect.gen(function*() {
        const result = yield* Effect.provide(program, client)
        yield* Effect.flatMap(Cassette.Player, (player) => player.verify)
        return result
      }).pipe(Effect.provide(replay))
      assert.deepStrictEqual(trace(again.events), trace(first.events))
      assert.strictEqual(again.size, first.size)
      assert.isAbove(first.size, 100)
    }))

  it.effect("replays a file in virtual time; a bad file and none are typed errors", () =>
    Effect.gen(function*() {
      const path = join(yield* folder, "edit.jsonl")
      const client = ComfyClient.layer({ url: ComfyTest.urlOf("gpu-1") })
      yield* Effect.provide(
        ComfyTest.advanceWhile(program),
        client.pipe(Layer.provide(CassetteNode.record(path)), Layer.provide(ComfyTest.layer()))
      )
      yield* Effect.provide(ComfyTest.advanceWhile(program), client.pipe(Layer.provide(CassetteNode.replay(path))))
      const failure = (file: string) => Effect.flip(Effect.provide(Cassette.Player, CassetteNode.replay(file)))
      const missing = yield* failure(`${path}.not`)
      assert.instanceOf(missing, CassetteError)
      assert.match(missing.message, /ENOENT/)
      writeFileSync(path, readFileSync(path, "utf8").slice(0, -40))
      assert.include(["Malformed", "Truncated"], (yield* failure(path)).reason._tag)
    }))
})
