import { ImageFile, type ObjectInfoError, ObjectInfoNodes, Picture } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import { readFileSync } from "node:fs"
import { imagesOf, Server, textOf } from "./support/server.ts"

const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`./fixtures/objectInfo/${name}`, import.meta.url), "utf8"))

const info: Readonly<Record<string, object>> = fixture("object_info.json")
const prompts: Readonly<Record<string, object>> = fixture("prompts.json")

/** VideoHelperSuite's saver, as its users' servers show it. */
const videoCombine = {
  input: {
    required: {
      images: ["IMAGE"],
      frame_rate: ["FLOAT", { default: 8, min: 1, step: 1 }],
      filename_prefix: ["STRING", { default: "AnimateDiff" }],
      format: [["image/gif", "video/h264-mp4"], null]
    }
  },
  output: ["VHS_FILENAMES"],
  output_name: ["Filenames"],
  output_is_list: [false],
  name: "VHS_VideoCombine",
  category: "Video Helper Suite",
  output_node: true
}

const nodes = ObjectInfoNodes.fromObjectInfo({ ...info, VHS_VideoCombine: videoCombine })
const png = ImageFile.encodePng(Picture.solid(8, 8, 1, 0x336699), 0)
const inputFiles = { "voice.mp3": png, "clip.mp4": png }

/** Steps that take long enough for a frame each. */
const hardware = { stepMsPerMegapixel: 100_000 }

const serve = (models = ObjectInfoNodes.modelFiles(info)) =>
  new Server({ nodes, models, inputFiles, hardware, bare: true })

interface Entry {
  readonly outputs: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<unknown>>>>>
}

/** Runs a prompt to its end and gives what history shows under its nodes. */
const run = (server: Server, prompt: object): Entry["outputs"] => {
  const id = server.prompt(prompt)
  server.settle()
  assert.strictEqual(server.ledger().prompts.at(-1)?.outcome, "success")
  const history: Readonly<Record<string, Entry>> = JSON.parse(textOf(server.get(`/history/${id}`).body))
  return history[id]?.outputs ?? {}
}

const link = (id: string, slot = 0) => [id, slot]

const custom = (sampler: string) => ({
  model: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "real.safetensors" } },
  text: { class_type: "CLIPTextEncode", inputs: { text: "a lighthouse", clip: link("model", 1) } },
  latent: { class_type: "EmptyLatentImage", inputs: { width: 64, height: 32, batch_size: 1 } },
  noise: { class_type: "RandomNoise", inputs: { noise_seed: "18446744073709551615" } },
  guider: {
    class_type: "CFGGuider",
    inputs: { model: link("model"), positive: link("text"), negative: link("text"), cfg: 4 }
  },
  sampler: { class_type: "KSamplerSelect", inputs: { sampler_name: sampler } },
  sigmas: {
    class_type: "BasicScheduler",
    inputs: { model: link("model"), scheduler: "simple", steps: 7, denoise: 1 }
  },
  sample: {
    class_type: "SamplerCustomAdvanced",
    inputs: {
      noise: link("noise"),
      guider: link("guider"),
      sampler: link("sampler"),
      sigmas: link("sigmas"),
      latent_image: link("latent")
    }
  },
  decode: { class_type: "VAEDecode", inputs: { samples: link("sample"), vae: link("model", 2) } },
  save: { class_type: "SaveImage", inputs: { images: link("decode"), filename_prefix: "own" } }
})

describe("ObjectInfoNodes", () => {
  it("shows every signature as it was given", () => {
    const shown = new Server({ nodes, models: {}, bare: true }).json("/object_info")
    assert.deepStrictEqual(shown, { ...info, VHS_VideoCombine: videoCombine })
  })

  it("lists the files that the server has besides, where it knows their folder", () => {
    const shown = serve({ checkpoints: ["other.safetensors"] }).json("/object_info/CheckpointLoaderSimple")
    assert.include(JSON.stringify(shown), "[[\"real.safetensors\",\"other.safetensors\"]")
  })

  it("keeps the last digits of the largest numbers", () => {
    const text = textOf(serve().get("/object_info/RandomNoise").body)
    assert.include(text, "\"max\": 18446744073709551615")
    assert.include(textOf(serve().get("/object_info/CFGGuider").body), "\"max\": 100.0")
  })

  for (const [name, prompt] of Object.entries(prompts)) {
    it(`runs what the editor sends: ${name}`, () => {
      assert.isAbove(Object.keys(run(serve(), prompt)).length, 0)
    })
  }

  it("computes what it can: sizes that a choice brings, a list that grows, the branch of a switch", () => {
    const sizes = (name: string) => {
      const server = serve()
      run(server, prompts[name] ?? {})
      return imagesOf(server, server.ledger().prompts[0]?.promptId ?? "").length
    }
    assert.strictEqual(sizes("autogrow-prefix"), 3)
    const server = serve()
    run(server, prompts["match-type-switch"] ?? {})
    assert.deepStrictEqual(server.ledger().nodes.map((node) => node.nodeId).toSorted(), ["2", "3", "4"])
  })

  it("refuses what a choice does not bring, and a list that is too short", () => {
    const server = serve()
    const refused = (prompt: object) => JSON.parse(textOf(server.http("POST", "/prompt", { prompt }).body))
    const image = { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 0 } }
    const save = { class_type: "SaveImage", inputs: { images: link("b"), filename_prefix: "x" } }
    const batch = refused({ a: image, b: { class_type: "BatchImagesNode", inputs: {} }, c: save })
    assert.strictEqual(batch.node_errors.b.errors[0].details, "images.image0")
    const resize = refused({
      a: image,
      b: {
        class_type: "ResizeImageMaskNode",
        inputs: { input: link("a"), resize_type: "scale by multiplier", "resize_type.multiplier": 9 }
      },
      c: save
    })
    assert.sameMembers(
      resize.node_errors.b.errors.map((error: { readonly type: string }) => error.type),
      ["value_bigger_than_max", "required_input_missing"]
    )
    const upload = refused({
      a: { class_type: "LoadAudio", inputs: { audio: "absent.mp3" } },
      b: { class_type: "PreviewAudio", inputs: { audio: link("a") } }
    })
    assert.strictEqual(upload.node_errors.a.errors[0].type, "custom_validation_failed")
  })

  it("samples a frame per step with the parts of custom sampling, and draws what went in", () => {
    const draw = (sampler: string) => {
      const server = serve()
      const conn = server.open("me")
      const id = server.prompt(custom(sampler), { client_id: "me" })
      server.settle()
      assert.strictEqual(server.types(conn).filter((type) => type === "progress").length, 7)
      return imagesOf(server, id)
    }
    const [first] = draw("euler")
    assert.isDefined(first)
    assert.deepStrictEqual(draw("euler"), [first])
    assert.notDeepEqual(draw("heun"), [first])
  })

  it("takes the time of reading what the server's models weigh", () => {
    const server = new Server({
      nodes,
      bare: true,
      models: { checkpoints: [{ name: "real.safetensors", bytes: 20_000_000_000 }] }
    })
    server.prompt(custom("euler"))
    server.settle()
    const loader = server.ledger().nodes.find((node) => node.nodeId === "model")
    assert.strictEqual((loader?.endedAt ?? 0) - (loader?.startedAt ?? 0), 10_000)
  })

  it("writes files of each kind, and shows them as the real classes do", () => {
    const server = serve()
    const shown = run(server, {
      image: { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 3, color: 255 } },
      video: { class_type: "CreateVideo", inputs: { images: link("image"), fps: 24 } },
      mp4: {
        class_type: "SaveVideo",
        inputs: { video: link("video"), filename_prefix: "v/a", format: "auto", "format.codec": "auto" }
      },
      webp: {
        class_type: "SaveAnimatedWEBP",
        inputs: { images: link("image"), filename_prefix: "w", fps: 6, lossless: true, quality: 80, method: "default" }
      },
      vhs: {
        class_type: "VHS_VideoCombine",
        inputs: { images: link("image"), frame_rate: 8, filename_prefix: "vhs", format: "image/gif" }
      },
      model: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "real.safetensors" } },
      sound: { class_type: "EmptyLatentAudio", inputs: { seconds: 2, batch_size: 1 } },
      audio: { class_type: "VAEDecodeAudio", inputs: { samples: link("sound"), vae: link("model", 2) } },
      mp3: { class_type: "SaveAudioMP3", inputs: { audio: link("audio"), filename_prefix: "s", quality: "V0" } },
      text: { class_type: "SaveText", inputs: { text: link("note"), filename_prefix: "t", format: "md" } },
      note: { class_type: "PreviewAny", inputs: { source: "héllo" } }
    })
    const file = (filename: string, subfolder = "") => ({ filename, subfolder, type: "output" })
    assert.deepStrictEqual(shown["mp4"], { images: [file("a_00001_.mp4", "v")], animated: [true] })
    assert.deepStrictEqual(shown["webp"], { images: [file("w_00001_.webp")], animated: [true] })
    assert.deepStrictEqual(shown["mp3"], { audio: [file("s_00001_.mp3")] })
    assert.deepStrictEqual(shown["text"], { text: ["héllo"], files: [file("t_00001_.md")] })
    assert.deepStrictEqual(shown["vhs"]?.["gifs"], [{
      ...file("vhs_00001_.gif"),
      format: "image/gif",
      frame_rate: 8,
      fullpath: "/data/output/vhs_00001_.gif"
    }])
    const bytes = (name: string) => server.get(`/view?${name}&type=output`).body
    assert.strictEqual(textOf(bytes("filename=a_00001_.mp4&subfolder=v").slice(4, 8)), "ftyp")
    assert.strictEqual(textOf(bytes("filename=w_00001_.webp").slice(8, 12)), "WEBP")
    assert.strictEqual(textOf(bytes("filename=s_00001_.mp3").slice(0, 3)), "ID3")
    assert.strictEqual(textOf(bytes("filename=t_00001_.md")), "héllo")
  })

  it("runs by rule what the fake could compute, if told to", () => {
    const replaced = ObjectInfoNodes.fromObjectInfo(info, { replace: true })
    const server = new Server({ nodes: replaced, bare: true, models: {} })
    assert.deepStrictEqual(server.json("/object_info"), info)
    run(server, prompts["autogrow-prefix"] ?? {})
    assert.strictEqual(server.ledger().nodes.length, 5)
  })

  const reasonOf = (given: unknown): ObjectInfoError["reason"] | undefined => {
    const made = ObjectInfoNodes.decode(given)
    return Result.isFailure(made) ? made.failure.reason : undefined
  }

  it("says which class is bad", () => {
    const { KSampler } = info
    const bad = (entry: unknown) => reasonOf({ ...info, Broken: entry })
    for (
      const entry of [
        null,
        7,
        "KSampler",
        [],
        {},
        { input: {} },
        { input: { required: [] }, output: [], output_node: false },
        { ...KSampler, output: "LATENT" },
        { ...KSampler, output_node: "yes" },
        { ...KSampler, input: { required: { x: [] } } },
        { ...KSampler, input: { required: { x: [{ deep: 1 }] } } },
        { ...KSampler, name: 5 }
      ]
    ) {
      const reason = bad(entry)
      assert.strictEqual(reason?._tag, "BadClass", JSON.stringify(entry))
      assert.strictEqual(reason?._tag === "BadClass" ? reason.class : "", "Broken")
    }
    assert.throws(() => ObjectInfoNodes.fromObjectInfo({ Broken: {} }), /class Broken: has no input/)
    for (const given of [undefined, null, 3, "{}", [info], true]) {
      assert.strictEqual(reasonOf(given)?._tag, "NotAnObject")
    }
  })

  it("stays within its bounds", () => {
    let deep: unknown = "x"
    for (let level = 0; level < 5_000; level++) deep = [deep]
    const { KSampler } = info
    assert.deepInclude(reasonOf({ A: { ...KSampler, extra: deep } }), { _tag: "TooLarge", class: "A", what: "levels" })
    const many = Object.fromEntries(Array.from({ length: 20_001 }, (_, index) => [`C${index}`, KSampler]))
    assert.deepInclude(reasonOf(many), { _tag: "TooLarge", class: null, what: "classes" })
    const wide = { ...KSampler, input: { required: { x: [Array.from({ length: 200_001 }, () => "a")] } } }
    assert.deepInclude(reasonOf({ A: wide }), { _tag: "TooLarge", class: "A", what: "values" })
    const inputs = Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`i${index}`, ["INT"]]))
    const crowded = { ...KSampler, input: { required: inputs } }
    assert.deepInclude(reasonOf({ A: crowded }), { _tag: "TooLarge", class: "A", what: "inputs" })
  })

  it("takes what custom nodes write beside the format, and names that mean something to JavaScript", () => {
    const odd = JSON.parse(`{
      "__proto__": {"input": {"required": {"__proto__": ["INT", null], "constructor": "STRING"}},
        "output": [["a", "b"], "INT"], "output_name": "AB", "output_is_list": [], "output_node": true}
    }`)
    const made = ObjectInfoNodes.fromObjectInfo(odd)
    assert.deepStrictEqual(made.map((node) => node.class), ["__proto__"])
    const server = new Server({ nodes: made, bare: true })
    assert.include(textOf(server.get("/object_info").body), "\"constructor\": \"STRING\"")
    const prompt = JSON.parse(`{"1": {"class_type": "__proto__", "inputs": {"__proto__": 3, "constructor": "x"}}}`)
    run(server, prompt)
  })
})
