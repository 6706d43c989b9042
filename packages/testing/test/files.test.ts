import { ImageFile, NodeClass, Picture, Plan } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as fc from "fast-check"
import * as FastPng from "fast-png"
import { imagesOf, Server, textOf, upload } from "./support/server.ts"

const encoder = new TextEncoder()

/** A PNG of random pixels: a picture that no mistake leaves as it is. */
const noise = (width: number, height: number, channels: 3 | 4 = 3) => {
  const data = new Uint8Array(width * height * channels)
  let seed = 7
  for (let i = 0; i < data.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0
    data[i] = seed >>> 24
  }
  return { data, png: FastPng.encode({ width, height, channels, data }) }
}

const send = (server: Server, filename: string, bytes: Uint8Array, fields: Readonly<Record<string, string>> = {}) => {
  const { body, headers } = upload(filename, bytes, fields)
  return server.http("POST", "/upload/image", body, headers)
}

const named = (answer: { readonly body: Uint8Array }) => JSON.parse(textOf(answer.body))

describe("uploads", () => {
  it("keep what is there: the same bytes once, others beside them, and over them where asked", () => {
    const one = new Server()
    const bytes = encoder.encode("one")
    assert.deepStrictEqual(named(send(one, "a.png", bytes)), { name: "a.png", subfolder: "", type: "input" })
    assert.strictEqual(named(send(one, "a.png", bytes)).name, "a.png")
    assert.strictEqual(named(send(one, "a.png", encoder.encode("two"))).name, "a (1).png")
    assert.strictEqual(named(send(one, "a.png", encoder.encode("three"), { overwrite: "true" })).name, "a.png")
    assert.strictEqual(textOf(one.get("/view?filename=a.png&type=input").body), "three")
    assert.strictEqual(textOf(one.get("/view?filename=a%20(1).png&type=input").body), "two")
    assert.deepStrictEqual(named(send(one, "a.png", bytes, { subfolder: "x/y", type: "temp" })), {
      name: "a.png",
      subfolder: "x/y",
      type: "temp"
    })
  })

  it("are refused as the server does it", () => {
    const one = new Server()
    const bytes = encoder.encode("one")
    assert.strictEqual(send(one, "", bytes).status, 500)
    assert.strictEqual(send(one, "a.png", bytes, { type: "bogus" }).status, 500)
    assert.strictEqual(send(one, "a.png", bytes, { subfolder: "../../.." }).status, 400)
    assert.strictEqual(one.http("POST", "/upload/image", "no multipart").status, 400)
    const small = new Server({ maxUploadBytes: 100 })
    assert.strictEqual(send(small, "a.png", new Uint8Array(101)).status, 413)
    assert.strictEqual(small.snapshot().files, 0)
  })

  it("stay inside their folder, whatever they are called, and can be fetched under the name they got", () => {
    const part = fc.constantFrom("..", ".", "a", "b c", "ä", "%2e%2e", "\\", "C:", "", "con", "x\u0000y", "[temp]")
    const path = fc.oneof(
      fc.array(part, { maxLength: 4 }).map((parts) => parts.join("/")),
      fc.string({ maxLength: 12 }).map((text) => text.replace(/[\r\n]/g, ""))
    )
    fc.assert(
      fc.property(path, path, fc.constantFrom("input", "temp", "output"), (filename, subfolder, type) => {
        const one = new Server()
        const bytes = encoder.encode("kept")
        const outside = one.get("/userdata?dir=.").status
        const answer = send(one, filename, bytes, { subfolder, type })
        assert.include([200, 400, 500], answer.status)
        const { files } = one.snapshot()
        assert.strictEqual(files, answer.status === 200 ? 1 : 0)
        assert.strictEqual(one.get("/userdata?dir=.").status, outside)
        if (answer.status !== 200) return
        const { name, subfolder: folder } = named(answer)
        const full = folder === "" ? name : `${folder}/${name}`
        let depth = 0
        for (const segment of full.split("/")) {
          depth += segment === ".." ? -1 : segment === "" || segment === "." ? 0 : 1
          assert.isAtLeast(depth, 0, full)
        }
        // Where a name is no plain name, `/view` looks under its last part only.
        if (name.includes("/") || name.includes("..") || /\[(input|temp|output)\]$/.test(name)) return
        const query = new URLSearchParams({ filename: name, subfolder: folder, type })
        assert.strictEqual(textOf(one.get(`/view?${query}`).body), "kept")
      }),
      { numRuns: 1_000 }
    )
  })
})

describe("views", () => {
  const file = (name = "a.bin") => {
    const one = new Server({ inputFiles: { [name]: encoder.encode("0123456789") } })
    const view = (headers: Readonly<Record<string, string>> = {}, method = "GET") => {
      const answer = one.http(method, `/view?filename=${name}&type=input`, "", headers)
      return [answer.status, textOf(answer.body), answer.headers["content-range"]]
    }
    return { one, view }
  }

  it("give a file whole and in parts", () => {
    const { one, view } = file()
    assert.deepStrictEqual(view(), [200, "0123456789", undefined])
    assert.deepStrictEqual(view({ range: "bytes=2-4" }), [206, "234", "bytes 2-4/10"])
    assert.deepStrictEqual(view({ range: "bytes=7-" }), [206, "789", "bytes 7-9/10"])
    assert.deepStrictEqual(view({ range: "bytes=-3" }), [206, "789", "bytes 7-9/10"])
    assert.deepStrictEqual(view({ range: "bytes=-30" }), [206, "0123456789", "bytes 0-9/10"])
    assert.deepStrictEqual(view({ range: "bytes=10-" }), [416, "", "bytes */10"])
    assert.deepStrictEqual(view({ range: "bytes=5-2" }), [416, "", "bytes */10"])
    assert.deepStrictEqual(view({ range: "lines=1-2" }), [200, "0123456789", undefined])
    const head = one.http("HEAD", "/view?filename=a.bin&type=input")
    assert.deepStrictEqual([head.body.length, head.headers["content-length"]], [0, "10"])
    const etag = head.headers["etag"] ?? ""
    assert.deepStrictEqual(view({ "if-none-match": etag }), [304, "", undefined])
    assert.deepStrictEqual(view({ "if-none-match": "\"other\"" }), [200, "0123456789", undefined])
  })

  it("give any part that there is", () => {
    const { view } = file()
    fc.assert(fc.property(fc.nat(12), fc.nat(12), (start, end) => {
      const [status, body] = view({ range: `bytes=${start}-${end}` })
      const fits = start < 10 && end >= start
      assert.deepStrictEqual([status, body], fits ? [206, "0123456789".slice(start, end + 1)] : [416, ""])
    }))
  })

  it("refuse what leaves the folder or is not there", () => {
    const { one } = file()
    const status = (query: string) => one.get(`/view?${query}`).status
    assert.strictEqual(status("type=input"), 404)
    assert.strictEqual(status("filename="), 400)
    assert.strictEqual(status("filename=none.bin&type=input"), 404)
    assert.strictEqual(status("filename=a.bin&type=bogus"), 400)
    assert.strictEqual(status("filename=/etc/passwd"), 400)
    assert.strictEqual(status("filename=..%2Fa.bin&type=input"), 400)
    assert.strictEqual(status("filename=a.bin&type=input&subfolder=.."), 403)
    assert.strictEqual(status("filename=a.bin&type=input&subfolder=x/../../input"), 403)
    assert.strictEqual(status("filename=a.bin%20%5Binput%5D"), 200)
  })

  it("give pages as attachments", () => {
    const { one } = file("a.html")
    const { headers } = one.get("/view?filename=a.html&type=input")
    assert.strictEqual(headers["content-type"], "application/octet-stream")
    assert.strictEqual(headers["content-disposition"], "attachment; filename=\"a.html\"")
  })
})

describe("image nodes", () => {
  const saved = (server: Server, graph: object) => {
    const id = server.prompt(graph)
    server.settle()
    return imagesOf(server, id).map((bytes) => FastPng.decode(bytes))
  }
  const load = { "1": { class_type: "LoadImage", inputs: { image: "noise.png" } } }
  const save = (from: string, slot = 0) => ({
    class_type: "SaveImage",
    inputs: { images: [from, slot], filename_prefix: "out" }
  })
  const withNoise = (width: number, height: number, channels: 3 | 4 = 3) => {
    const { data, png } = noise(width, height, channels)
    return { data, one: new Server({ inputFiles: { "noise.png": png } }) }
  }

  it("save the pixels that they load", () => {
    const { data, one } = withNoise(5, 3)
    const [image] = saved(one, { ...load, "2": save("1") })
    assert.deepStrictEqual([image?.width, image?.height, image?.channels], [5, 3, 3])
    assert.deepStrictEqual([...image?.data ?? []], [...data])
  })

  it("invert", () => {
    const { data, one } = withNoise(4, 4)
    const graph = { ...load, "2": { class_type: "ImageInvert", inputs: { image: ["1", 0] } }, "3": save("2") }
    assert.deepStrictEqual([...saved(one, graph)[0]?.data ?? []], [...data].map((sample) => 255 - sample))
  })

  it("scale to the nearest pixel, to the middle, and to one side's proportion", () => {
    const { data, one } = withNoise(4, 2)
    const scaled = (inputs: object) => {
      const all = { image: ["1", 0], upscale_method: "nearest-exact", crop: "disabled", ...inputs }
      return saved(one, { ...load, "2": { class_type: "ImageScale", inputs: all }, "3": save("2") })[0]
    }
    const pixel = (x: number, y: number) => [...data.slice((y * 4 + x) * 3, (y * 4 + x) * 3 + 3)]
    const double = scaled({ width: 8, height: 4 })
    for (let y = 0; y < 4; y++) {
      for (let x = 0; x < 8; x++) {
        const at = (y * 8 + x) * 3
        assert.deepStrictEqual([...double?.data.slice(at, at + 3) ?? []], pixel(x >> 1, y >> 1))
      }
    }
    const middle = scaled({ width: 2, height: 2, crop: "center" })
    assert.deepStrictEqual(
      [...middle?.data ?? []],
      [pixel(1, 0), pixel(2, 0), pixel(1, 1), pixel(2, 1)].flat()
    )
    const proportion = scaled({ width: 2, height: 0 })
    assert.deepStrictEqual([proportion?.width, proportion?.height], [2, 1])
  })

  it("take the alpha channel as a mask, inverted", () => {
    const { data, one } = withNoise(4, 4, 4)
    const graph = { ...load, "2": { class_type: "MaskToImage", inputs: { mask: ["1", 1] } }, "3": save("2") }
    const alpha = [...data].filter((_, index) => index % 4 === 3)
    assert.deepStrictEqual(
      [...saved(one, graph)[0]?.data ?? []],
      alpha.flatMap((sample) => [255 - sample, 255 - sample, 255 - sample])
    )
  })

  it("save every image of a batch under the next number, with the prompt in it", () => {
    const one = new Server()
    const graph = {
      "1": { class_type: "EmptyImage", inputs: { width: 2, height: 2, batch_size: 3, color: 0x102030 } },
      "2": { class_type: "RebatchImages", inputs: { images: ["1", 0], batch_size: 1 } },
      "3": save("2")
    }
    const images = saved(one, graph)
    assert.strictEqual(images.length, 3)
    for (const image of images) {
      assert.deepStrictEqual([...image.data.slice(0, 3)], [0x10, 0x20, 0x30])
      assert.deepStrictEqual(Object.keys(JSON.parse(image.text["prompt"] ?? "{}")), ["1", "2", "3"])
    }
    assert.strictEqual(one.get("/view?filename=out_00003_.png").status, 200)
    assert.strictEqual(one.ledger().nodes.filter((node) => node.nodeId === "3").length, 1)
  })

  it("sample a picture that every input decides, and take the time of models and steps", () => {
    const graph = (seed: number) => ({
      "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "m.safetensors" } },
      "2": { class_type: "CLIPTextEncode", inputs: { clip: ["1", 1], text: "a lighthouse" } },
      "3": { class_type: "EmptyLatentImage", inputs: { width: 64, height: 64, batch_size: 1 } },
      "4": {
        class_type: "KSampler",
        inputs: {
          model: ["1", 0],
          seed,
          steps: 10,
          cfg: 7,
          sampler_name: "euler",
          scheduler: "normal",
          positive: ["2", 0],
          negative: ["2", 0],
          latent_image: ["3", 0],
          denoise: 1
        }
      },
      "5": { class_type: "VAEDecode", inputs: { samples: ["4", 0], vae: ["1", 2] } },
      "6": save("5")
    })
    const options = { models: { checkpoints: [{ name: "m.safetensors", bytes: 4_000_000_000 }] } }
    const one = new Server(options)
    const [first] = saved(one, graph(1))
    const [other] = saved(one, graph(2))
    const [again] = saved(new Server(options), graph(1))
    assert.deepStrictEqual(first?.data, again?.data)
    assert.notDeepEqual(first?.data, other?.data)
    const loading = one.ledger().nodes.filter((node) => node.classType === "CheckpointLoaderSimple")
    assert.deepStrictEqual(loading.map(({ endedAt = 0, startedAt }) => endedAt - startedAt), [2_000])
  })

  it("fail as Python does on files that are none", () => {
    const one = new Server({ inputFiles: { "a.png": encoder.encode("not a picture") } })
    const id = one.prompt({ "1": { class_type: "LoadImage", inputs: { image: "a.png" } }, "2": save("1") })
    one.settle()
    assert.include(textOf(one.get(`/history/${id}`).body), "PIL.UnidentifiedImageError")
    const out = one.prompt({
      "1": { class_type: "EmptyImage", inputs: { width: 2, height: 2, batch_size: 1, color: 0 } },
      "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "../../x" } }
    })
    one.settle()
    assert.include(textOf(one.get(`/history/${out}`).body), "outside the output folder")
    assert.strictEqual(one.snapshot().files, 1)
  })

  it("write files of any kind where a class says so, and never outside", () => {
    const writer = NodeClass.define({
      class: "Writer",
      required: { path: NodeClass.string() },
      outputNode: true,
      run: ({ path }) =>
        Plan.returns([], {
          ui: { gifs: [{ filename: path, subfolder: "", type: "output" }] },
          steps: [Plan.file("output", path, encoder.encode("film"))]
        })
    })
    const one = new Server({ nodes: [writer] })
    const write = (path: string) => {
      one.prompt({ "1": { class_type: "Writer", inputs: { path } } })
      one.settle()
      return one.ledger().prompts.at(-1)?.outcome
    }
    assert.strictEqual(write("clip.mp4"), "success")
    const { body, headers } = one.get("/view?filename=clip.mp4")
    assert.deepStrictEqual([textOf(body), headers["content-type"]], ["film", "video/mp4"])
    assert.strictEqual(write("../clip.mp4"), "error")
    assert.strictEqual(write("/clip.mp4"), "error")
    assert.strictEqual(one.snapshot().files, 1)
  })
})

describe("ImageFile", () => {
  it("reads back every picture that it writes", () => {
    const shape = fc.record({
      width: fc.integer({ min: 1, max: 9 }),
      height: fc.integer({ min: 1, max: 9 }),
      channels: fc.constantFrom(3 as const, 4 as const)
    })
    fc.assert(fc.property(shape, fc.infiniteStream(fc.nat(255)), ({ channels, height, width }, stream) => {
      const samples = Uint8ClampedArray.from({ length: width * height * channels }, () => stream.next().value ?? 0)
      const picture = Picture.fromSamples({ width, height, batch: 1, channels }, samples)
      const read = Option.getOrThrow(ImageFile.decodePng(ImageFile.encodePng(picture, 0)))
      assert.deepStrictEqual([read.width, read.height, read.channels], [width, height, channels])
      assert.deepStrictEqual([...read.samples()], [...samples])
    }))
  })

  it("finds no picture in what is truncated, changed or claims too much", () => {
    const { png } = noise(6, 6)
    // Its last twelve bytes only say that nothing follows.
    fc.assert(fc.property(fc.nat(png.length - 13), (length) => {
      assert.isTrue(Option.isNone(ImageFile.decodePng(png.slice(0, length))))
    }))
    fc.assert(fc.property(fc.nat(png.length - 1), fc.nat(255), (at, byte) => {
      const changed = png.slice()
      changed[at] = byte
      const read = ImageFile.decodePng(changed)
      if (Option.isNone(read)) return
      const { channels, height, width } = read.value
      assert.strictEqual(read.value.samples().length, width * height * channels)
    }))
    const huge = png.slice()
    new DataView(huge.buffer).setUint32(16, 100_000)
    new DataView(huge.buffer).setUint32(20, 100_000)
    assert.deepStrictEqual(ImageFile.pngSize(huge), Option.some({ width: 100_000, height: 100_000 }))
    assert.isTrue(Option.isNone(ImageFile.decodePng(huge)))
  })

  it("writes JPEGs that say their size and end where they should", () => {
    const jpeg = ImageFile.encodeJpeg(Picture.imagine(20, 12, 1, "x"), 0)
    const frame = jpeg.findIndex((byte, at) => byte === 0xff && jpeg[at + 1] === 0xc0)
    const view = new DataView(jpeg.buffer)
    assert.deepStrictEqual([view.getUint16(frame + 7), view.getUint16(frame + 5)], [20, 12])
    assert.deepStrictEqual([...jpeg.slice(0, 2), ...jpeg.slice(-2)], [0xff, 0xd8, 0xff, 0xd9])
  })
})
