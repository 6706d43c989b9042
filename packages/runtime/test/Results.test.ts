import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import type { JobSucceeded } from "@effect-comfyui/execution/JobEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import * as Results from "@effect-comfyui/runtime/Results"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const ended: JobSucceeded = {
  _tag: "JobSucceeded",
  jobId: JobId.make("job"),
  server: BackendId.make("gpu-1"),
  sequence: 9,
  at: 1,
  outputs: Outputs.fromRecords({
    "9": { images: [{ filename: "a.png", subfolder: "x", type: "output" }, { filename: "b.webp", type: "output" }] },
    "12": { text: ["a lighthouse"], score: [0.5] },
    "15": { gifs: [{ filename: "c.mp4", type: "temp", format: "video/h264-mp4" }] }
  }),
  receipts: [{
    nodeId: "9",
    file: { filename: "a.png", subfolder: "x", type: "output" },
    location: "/out/a.png",
    sizeBytes: 7
  }],
  executions: { atLeast: 1, atMost: 1 }
}

const success = Results.plain(ended)

describe("declared outputs", () => {
  it("are what their nodes produced, with where each file is", () => {
    const { outputs } = Result.getOrThrow(Results.read(
      success,
      Results.declare({
        hero: Results.image("9"),
        all: Results.images("9"),
        film: Results.video("15"),
        any: Results.file("15"),
        caption: Results.text("12"),
        score: Results.record("12", Schema.Struct({ score: Schema.Tuple([Schema.Finite]) })),
        sound: Results.optional(Results.audio("15"))
      })
    ))
    const { filename, location, nodeId, server } = outputs.hero
    assert.deepStrictEqual([filename, nodeId, server, location], ["a.png", "9", "gpu-1", "/out/a.png"])
    assert.deepStrictEqual(outputs.all.map(({ location }) => location), ["/out/a.png", null])
    assert.strictEqual(outputs.film.filename, "c.mp4")
    assert.strictEqual(outputs.any.kind, "video")
    assert.strictEqual(outputs.caption, "a lighthouse")
    assert.deepStrictEqual(outputs.score.score, [0.5])
    assert.isNull(outputs.sound)
  })

  it("that are not there are told, all of them, with what is there instead", () => {
    const read = Results.read(
      success,
      Results.declare({
        sound: Results.audio("9"),
        texts: Results.texts("15"),
        mesh: Results.model("404"),
        images: Results.images("12"),
        files: Results.files("12"),
        record: Results.record("12", Schema.Struct({ score: Schema.String })),
        hero: Results.image("9")
      })
    )
    assert.isTrue(Result.isFailure(read))
    const { reason } = Result.getOrThrow(Result.flip(read))
    assert.deepStrictEqual(reason.outputs.map(({ found, name }) => [name, found]), [
      ["sound", "image"],
      ["texts", "video"],
      ["mesh", "nothing"],
      ["images", "text"],
      ["files", "text"],
      ["record", "text"]
    ])
    assert.match(Result.getOrThrow(Result.flip(read)).message, /^sound: node 9 gave no audio file, but image; /)
  })

  it("may have the names of an object's own members", () => {
    const { outputs } = Result.getOrThrow(
      Results.read(success, Results.declare({ ["__proto__"]: Results.text("12"), constructor: Results.text("12") }))
    )
    assert.strictEqual(outputs.constructor, "a lighthouse")
    assert.isTrue(Object.hasOwn(outputs, "__proto__"))
  })
})
