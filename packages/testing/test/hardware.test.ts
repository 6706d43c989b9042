import { FakeComfy, Plan } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { Server, textOf } from "./support/server.ts"

const GB = 1_000_000_000

/** A million pixels, so that figures for a megapixel are those of a step. */
const size = { width: 1000, height: 1000 }

const models = {
  diffusion_models: [{ name: "a", bytes: 12 * GB }, { name: "b", bytes: 6 * GB }],
  text_encoders: [{ name: "t", bytes: 0 }],
  vae: [{ name: "v", bytes: 0 }],
  loras: [{ name: "l", bytes: 0 }]
}

const hardware = {
  vramBytes: 24 * GB,
  diskBytesPerSecond: 1 * GB,
  busBytesPerSecond: 10 * GB,
  stepMsPerMegapixel: 100,
  workBytesPerMegapixel: 2 * GB
}

const workflow = (options: {
  readonly model?: string
  readonly seed?: number
  readonly sampler?: string
  readonly lora?: number
  readonly batch?: number
} = {}) => ({
  1: { class_type: "UNETLoader", inputs: { unet_name: options.model ?? "a", weight_dtype: "default" } },
  2: { class_type: "CLIPLoader", inputs: { clip_name: "t", type: "flux2" } },
  3: { class_type: "CLIPTextEncode", inputs: { text: "x", clip: ["2", 0] } },
  4: { class_type: "EmptyLatentImage", inputs: { ...size, batch_size: options.batch ?? 1 } },
  ...options.lora === undefined ? {} : {
    9: {
      class_type: "LoraLoaderModelOnly",
      inputs: { model: ["1", 0], lora_name: "l", strength_model: options.lora }
    }
  },
  5: {
    class_type: "KSampler",
    inputs: {
      model: [options.lora === undefined ? "1" : "9", 0],
      seed: options.seed ?? 1,
      steps: 10,
      cfg: 1,
      sampler_name: options.sampler ?? "euler",
      scheduler: "simple",
      positive: ["3", 0],
      negative: ["3", 0],
      latent_image: ["4", 0],
      denoise: 1
    }
  },
  6: { class_type: "VAELoader", inputs: { vae_name: "v" } },
  7: { class_type: "VAEDecode", inputs: { samples: ["5", 0], vae: ["6", 0] } },
  8: { class_type: "PreviewImage", inputs: { images: ["7", 0] } }
})

const make = (more: FakeComfy.Options = {}) =>
  new Server({ models, ...more, hardware: { ...hardware, ...more.hardware } })

/** Milliseconds that the last run of a node of this class took. */
const took = (server: Server, classType: string): number => {
  const node = server.ledger().nodes.findLast((one) => one.classType === classType)
  return node?.endedAt === undefined ? Number.NaN : Math.round(node.endedAt - node.startedAt)
}

const run = (server: Server, ...options: Parameters<typeof workflow>): string => {
  const id = server.prompt(workflow(...options), { client_id: "c" })
  server.settle()
  return id
}

const device = (server: Server): Readonly<Record<string, unknown>> => {
  const stats = JSON.parse(textOf(server.get("/system_stats").body))
  return stats.devices[0]
}

describe("hardware", () => {
  it("reads models at their loaders, and moves them to VRAM before the first step", () => {
    const server = make()
    const conn = server.open("c")
    run(server)
    assert.strictEqual(took(server, "UNETLoader"), 12_000)
    // 12 GB over the bus, then ten steps.
    assert.strictEqual(took(server, "KSampler"), 1_200 + 1_000)
    assert.include(server.types(conn), "progress")
    // Resident: only the steps are left.
    run(server, { seed: 2 })
    assert.strictEqual(took(server, "KSampler"), 1_000)
  })

  it("says nothing until the first step after a move", () => {
    const server = make()
    const conn = server.open("c")
    server.prompt(workflow(), { client_id: "c" })
    const steps = () => server.types(conn).filter((type) => type === "progress").length
    server.pass(12_000 + 20 + 1_200 + 90)
    assert.strictEqual(steps(), 0)
    server.pass(20)
    assert.strictEqual(steps(), 1)
  })

  it("takes twice as long with samplers that ask the model twice", () => {
    const server = make()
    run(server)
    for (const sampler of ["heun", "dpm_2", "dpmpp_sde"]) {
      run(server, { sampler })
      assert.strictEqual(took(server, "KSampler"), 2_000, sampler)
    }
    run(server, { sampler: "dpmpp_2m" })
    assert.strictEqual(took(server, "KSampler"), 1_000)
  })

  it("shows what lies in VRAM, and gives it back when told to", () => {
    const server = make()
    assert.deepInclude(device(server), { type: "cuda", index: 0, vram_total: 24 * GB, vram_free: 24 * GB })
    run(server)
    assert.strictEqual(device(server)["vram_free"], 12 * GB)
    server.http("POST", "/free", { unload_models: true })
    assert.strictEqual(device(server)["vram_free"], 24 * GB)
    // The loader's result stays: no reading, but another move.
    run(server, { seed: 2 })
    assert.strictEqual(server.ledger().nodes.filter((node) => node.classType === "UNETLoader").length, 1)
    assert.strictEqual(took(server, "KSampler"), 2_200)
    server.http("POST", "/free", { free_memory: true })
    run(server, { seed: 2 })
    assert.strictEqual(server.ledger().nodes.filter((node) => node.classType === "UNETLoader").length, 2)
  })

  it("unloads after the prompt that runs, not under it", () => {
    const server = make()
    server.prompt(workflow(), { client_id: "c" })
    server.pass(14_000)
    server.http("POST", "/free", { unload_models: true })
    assert.strictEqual(device(server)["vram_free"], 12 * GB)
    server.settle()
    assert.strictEqual(device(server)["vram_free"], 24 * GB)
  })

  it("drops models whose loader's result is gone: the next workflow pays in full, both ways", () => {
    const server = make()
    for (const model of ["a", "b", "a"]) {
      run(server, { model })
      assert.strictEqual(took(server, "UNETLoader"), model === "a" ? 12_000 : 6_000)
      assert.strictEqual(device(server)["vram_free"], (model === "a" ? 12 : 18) * GB)
    }
    // A cache that keeps both keeps both in VRAM.
    const lru = make({ cache: { lru: 100 } })
    for (const model of ["a", "b", "a"]) run(lru, { model, seed: lru.now })
    assert.strictEqual(took(lru, "KSampler"), 1_000)
    assert.strictEqual(device(lru)["vram_free"], 6 * GB)
  })

  it("makes room for a model by the least recently used one", () => {
    const server = make({ cache: { lru: 100 }, hardware: { vramBytes: 15 * GB } })
    const moves = ["a", "b", "b", "a"].map((model, index) => {
      run(server, { model, seed: index })
      return took(server, "KSampler") - 1_000
    })
    assert.deepStrictEqual(moves, [1_200, 600, 0, 1_200])
    // The text encoder and the VAE weigh nothing here.
    const loaded = FakeComfy.residency(server.state.comfy).filter(({ bytes }) => bytes > 0)
    assert.deepStrictEqual(loaded, [{ name: "a", bytes: 12 * GB }])
  })

  it("moves a model anew when other LoRAs are on it, and holds it once", () => {
    const server = make()
    const moves = [1, 1, 0.5].map((lora, seed) => {
      run(server, { lora, seed })
      return took(server, "KSampler") - 1_000
    })
    assert.deepStrictEqual(moves, [1_200, 0, 1_200])
    assert.strictEqual(device(server)["vram_free"], 12 * GB)
  })

  it("keeps in RAM what does not fit, and pays for it at every step", () => {
    const server = make({ hardware: { vramBytes: 10 * GB } })
    run(server)
    // 8 GB fit beside 2 GB of working memory; 4 GB cross the bus at each of ten steps.
    assert.strictEqual(took(server, "KSampler"), 800 + 10 * (100 + 400))
    assert.strictEqual(device(server)["vram_free"], 2 * GB)
  })

  it("runs out of memory as torch says it, and leaves nothing in VRAM", () => {
    for (
      const [more, options] of [
        [{ hardware: { vramBytes: 10 * GB, offload: false } }, { model: "a" }],
        // Working memory alone is too much.
        [{ hardware: { vramBytes: 10 * GB } }, { model: "b", batch: 6 }]
      ] as const
    ) {
      const server = make(more)
      run(server, { model: "b" })
      assert.isBelow(Number(device(server)["vram_free"]), 10 * GB)
      const conn = server.open("c")
      const id = run(server, options)
      const error = server.frames(conn).map((frame) => (typeof frame === "string" ? JSON.parse(frame) : {}))
        .find((frame) => frame.type === "execution_error").data
      assert.strictEqual(error.exception_type, "torch.OutOfMemoryError")
      assert.include(error.exception_message, "would exceed allowed memory")
      assert.include(error.exception_message, "TIPS")
      assert.strictEqual(error.node_type, "KSampler")
      const history = JSON.parse(textOf(server.get(`/history/${id}`).body))
      assert.strictEqual(history[id].status.status_str, "error")
      assert.strictEqual(device(server)["vram_free"], 10 * GB)
      assert.notInclude(server.types(conn), "progress")
    }
  })

  it("costs nothing to move models on a server without VRAM", () => {
    const server = new Server({ models, hardware: { diskBytesPerSecond: 1 * GB } })
    run(server)
    assert.strictEqual(took(server, "UNETLoader"), 12_000)
    assert.strictEqual(took(server, "KSampler"), 1_000)
    assert.deepInclude(device(server), { type: "cpu", index: null })
  })

  it("takes less RAM with fewer models in it", () => {
    const server = make()
    const free = () => Number(JSON.parse(textOf(server.get("/system_stats").body)).system.ram_free)
    const before = free()
    run(server)
    assert.isAtMost(free(), before - 12 * GB)
    server.http("POST", "/free", { free_memory: true })
    assert.isAbove(free(), before - GB)
  })

  it("lets a node of one's own load what it needs", () => {
    const weights = { weights: undefined, key: "none" }
    assert.deepStrictEqual(Plan.load([weights], 5), { _tag: "Load", models: [], workBytes: 5 })
  })
})
