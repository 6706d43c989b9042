import { ImageFile, Picture, PictureEdit } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import { imagesOf, Server, textOf } from "./support/server.ts"

const link = (id: string, slot = 0) => [id, slot]
const solid = (width: number, height: number, color: number) => ({
  class_type: "EmptyImage",
  inputs: { width, height, batch_size: 1, color }
})

/** Runs these nodes and gives the picture that `last` makes. */
const draw = (nodes: object, last: readonly [string, number] = ["last", 0]): Picture.Picture => {
  const server = new Server()
  const id = server.prompt({
    ...nodes,
    save: { class_type: "SaveImage", inputs: { images: last, filename_prefix: "x" } }
  })
  server.settle()
  assert.strictEqual(server.ledger().prompts[0]?.outcome, "success")
  const [file] = imagesOf(server, id)
  assert.isDefined(file)
  return Option.getOrThrow(ImageFile.decodePng(file ?? new Uint8Array()))
}

/** What a class makes of a red picture of 4×2. */
const after = (class_type: string, inputs: object, slot = 0) =>
  draw({ red: solid(4, 2, 0xff0000), last: { class_type, inputs: { image: link("red"), ...inputs } } }, ["last", slot])

const size = ({ height, width }: Picture.Picture) => [width, height]
const pixel = (picture: Picture.Picture, x: number, y: number) => {
  const start = (y * picture.width + x) * picture.channels
  return [...picture.samples().slice(start, start + 3)]
}

describe("CommonNodes", () => {
  it("scales", () => {
    assert.deepStrictEqual(size(after("ImageScaleBy", { upscale_method: "area", scale_by: 1.5 })), [6, 3])
    assert.deepStrictEqual(
      size(after("ImageScaleToTotalPixels", { upscale_method: "area", megapixels: 0.01, resolution_steps: 8 })),
      [144, 72]
    )
    assert.deepStrictEqual(
      size(after("ImageScaleToMaxDimension", { upscale_method: "area", largest_size: 10 })),
      [10, 5]
    )
  })

  it("cuts, pads and turns", () => {
    assert.deepStrictEqual(size(after("ImageCrop", { width: 9, height: 1, x: 1, y: 1 })), [3, 1])
    assert.deepStrictEqual(size(after("ImageRotate", { rotation: "90 degrees" })), [2, 4])
    const border = { left: 8, top: 0, right: 0, bottom: 8, feathering: 0 }
    const padded = after("ImagePadForOutpaint", border)
    assert.deepStrictEqual(size(padded), [12, 10])
    assert.deepStrictEqual([pixel(padded, 0, 0), pixel(padded, 8, 0)], [[127, 127, 127], [255, 0, 0]])
  })

  it("puts one picture over another where a mask says so", () => {
    const over = (mask: object) =>
      draw({
        red: solid(4, 4, 0xff0000),
        blue: solid(2, 2, 0x0000ff),
        white: { class_type: "SolidMask", inputs: { value: 1, width: 2, height: 2 } },
        black: { class_type: "InvertMask", inputs: { mask: link("white") } },
        last: {
          class_type: "ImageCompositeMasked",
          inputs: { destination: link("red"), source: link("blue"), x: 1, y: 1, resize_source: false, ...mask }
        }
      })
    assert.deepStrictEqual([pixel(over({}), 1, 1), pixel(over({}), 0, 0)], [[0, 0, 255], [255, 0, 0]])
    assert.deepStrictEqual(pixel(over({ mask: link("black") }), 1, 1), [255, 0, 0])
    assert.deepStrictEqual(pixel(over({ mask: link("white") }), 2, 2), [0, 0, 255])
  })

  it("turns back what it turned", () => {
    const picture = Picture.imagine(5, 3, 2, "any")
    const same = (other: Picture.Picture) => assert.deepStrictEqual(other.samples(), picture.samples())
    same(PictureEdit.rotate(PictureEdit.rotate(picture, 1), 3))
    same(PictureEdit.rotate(PictureEdit.rotate(picture, 2), -2))
    same(PictureEdit.flip(PictureEdit.flip(picture, "vertically"), "vertically"))
    same(PictureEdit.flip(PictureEdit.rotate(PictureEdit.flip(picture, "horizontally"), 2), "vertically"))
    same(PictureEdit.crop(PictureEdit.pad(picture, { left: 1, top: 2, right: 3, bottom: 4 }), 1, 2, 5, 3))
    assert.notStrictEqual(PictureEdit.rotate(picture, 1).key, PictureEdit.rotate(picture, 3).key)
  })

  it("works on texts and numbers", () => {
    const server = new Server()
    const show = (id: string) => ({ class_type: "PreviewAny", inputs: { source: link(id) } })
    const id = server.prompt({
      text: { class_type: "PrimitiveStringMultiline", inputs: { value: "a cat, a cat" } },
      replaced: { class_type: "StringReplace", inputs: { string: link("text"), find: "cat", replace: "dög" } },
      upper: { class_type: "CaseConverter", inputs: { string: link("replaced"), mode: "Title Case" } },
      half: { class_type: "PrimitiveFloat", inputs: { value: 2 } },
      yes: { class_type: "PrimitiveBoolean", inputs: { value: true } },
      choice: {
        class_type: "ComfySwitchNode",
        inputs: { switch: link("yes"), on_true: link("upper"), on_false: link("half") }
      },
      a: show("choice"),
      b: show("half")
    })
    server.settle()
    const { outputs } = JSON.parse(textOf(server.get(`/history/${id}`).body))[id]
    assert.deepStrictEqual([outputs.a.text, outputs.b.text], [["A Dög, A Dög"], ["2.0"]])
  })

  it("keeps the picture of a latent that is made larger", () => {
    const picture = draw({
      model: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly-fp16.safetensors" } },
      red: solid(64, 32, 0xff0000),
      latent: { class_type: "VAEEncode", inputs: { pixels: link("red"), vae: link("model", 2) } },
      larger: {
        class_type: "LatentUpscaleBy",
        inputs: { samples: link("latent"), upscale_method: "area", scale_by: 2 }
      },
      last: {
        class_type: "VAEDecodeTiled",
        inputs: {
          samples: link("larger"),
          vae: link("model", 2),
          tile_size: 512,
          overlap: 64,
          temporal_size: 64,
          temporal_overlap: 8
        }
      }
    })
    assert.deepStrictEqual([size(picture), pixel(picture, 100, 50)], [[128, 64], [255, 0, 0]])
  })
})
