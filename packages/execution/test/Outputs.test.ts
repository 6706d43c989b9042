import * as Outputs from "@effect-comfyui/execution/Outputs"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const file = (filename: string, more: Record<string, string> = {}) => ({
  filename,
  subfolder: "",
  type: "output",
  ...more
})

describe("Outputs", () => {
  it("tells kinds by the extension first and by the key else", () => {
    const output = Outputs.nodeOutput({
      images: [file("a.png"), file("clip.mp4", { subfolder: "sub", type: "temp" }), file("odd")],
      animated: [true],
      gifs: [file("clip.webm", { format: "video/webm" }), file("anim.gif")],
      audio: [file("s.flac")],
      "3d": [file("mesh.glb")],
      result: ["mesh.glb", null, { position: 1 }],
      files: [file("page.html")],
      text: ["one", "two"],
      string: ["n", "o"],
      latents: [file("x.latent")]
    })
    assert.deepStrictEqual(output.files.map((item) => [item.kind, item.filename]), [
      ["image", "a.png"],
      ["video", "clip.mp4"],
      ["image", "odd"],
      ["video", "clip.webm"],
      ["gif", "anim.gif"],
      ["audio", "s.flac"],
      ["3d", "mesh.glb"],
      ["3d", "mesh.glb"],
      ["file", "page.html"],
      ["latent", "x.latent"]
    ])
    assert.deepStrictEqual(output.texts, ["one", "two"])
    assert.strictEqual(output.files[3]?.format, "video/webm")
    assert.strictEqual(output.files[1]?.subfolder, "sub")
  })

  it("tells the folder of a bare path from the name", () => {
    const { files } = Outputs.nodeOutput({ result: ["3d/deep/mesh.glb", "/root.obj"] })
    assert.deepStrictEqual(files.map(({ filename, subfolder, type }) => [subfolder, filename, type]), [
      ["3d/deep", "mesh.glb", "output"],
      ["", "root.obj", "output"]
    ])
  })

  it("has one shape for the socket's records and for the history's", () => {
    const record = { images: [file("a.png")] }
    assert.deepStrictEqual(Outputs.fromRecords({ "9": record, "10": null }), { "9": Outputs.nodeOutput(record) })
  })

  it("keeps ids that are names of inherited things as ids", () => {
    const outputs = Outputs.fromRecords(
      JSON.parse("{\"__proto__\": {\"text\": [\"x\"]}, \"constructor\": {\"text\": [\"y\"]}}")
    )
    assert.deepStrictEqual(Outputs.texts(outputs), ["x", "y"])
    assert.isUndefined(Outputs.get(Outputs.empty, "constructor"))
  })

  it("takes any JSON for a record", () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (record) => {
      const output = Outputs.nodeOutput(JSON.parse(JSON.stringify(record)))
      assert.isTrue(output.files.every((item) => item.filename.length > 0))
    }))
  })
})
