/**
 * Nodes that need models, simulated: loaders take the time that reading the file would take, samplers send a frame per
 * step, and the picture that comes out is a pure function of everything that went in, so equal inputs give equal bytes
 * and any other seed another picture.
 */
import * as Option from "effect/Option"
import * as FakeNode from "./FakeNode.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

/** A model, text encoder, VAE, ControlNet or upscaler: what it is made of, as a text. */
export class Model {
  readonly type: string
  readonly key: string
  constructor(type: string, key: string) {
    this.type = type
    this.key = key
  }
}

/** An encoded prompt. */
export class Conditioning {
  readonly key: string
  constructor(key: string) {
    this.key = key
  }
}

/** A latent of a picture of this size in pixels; `picture` is what it was encoded from, if anything. */
export class Latent {
  readonly width: number
  readonly height: number
  readonly batch: number
  readonly key: string
  readonly picture: Picture.Picture | undefined
  constructor(
    shape: { readonly width: number; readonly height: number; readonly batch: number },
    key: string,
    picture: Picture.Picture | undefined
  ) {
    this.width = shape.width
    this.height = shape.height
    this.batch = shape.batch
    this.key = key
    this.picture = picture
  }
}

const model = (type: string): FakeNode.Input<Model> =>
  FakeNode.link(type, (value) => (value instanceof Model && value.type === type ? Option.some(value) : Option.none()))

const conditioning: FakeNode.Input<Conditioning> = FakeNode.link(
  "CONDITIONING",
  (value) => (value instanceof Conditioning ? Option.some(value) : Option.none())
)

const latent: FakeNode.Input<Latent> = FakeNode.link(
  "LATENT",
  (value) => (value instanceof Latent ? Option.some(value) : Option.none())
)

/** A short text in the place of a long one. */
const digest = (...parts: ReadonlyArray<unknown>): string => {
  const text = parts.map(String).join("\u0000")
  return Picture.hash(text).toString(16) + Picture.hash(`${text}.`).toString(16)
}

/** A picture's content as a number: it has to be drawn for that. */
const pixelHash = (picture: Picture.Picture): number => {
  let h = 0x811c9dc5
  for (const sample of picture.samples()) h = Math.imul(h ^ sample, 0x01000193)
  return h >>> 0
}

/** Time to read these files of a folder from disk. */
const loading = (
  context: FakeNode.NodeContext,
  folder: string,
  ...names: ReadonlyArray<string>
): ReadonlyArray<Plan.Step> => [
  Plan.wait(names.reduce((ms, name) => ms + context.diskMs(context.modelBytes(folder, name) ?? 0), 0))
]

const v1 = (displayName: string, category: string): Partial<FakeNode.NodeInfo> => ({
  displayName,
  category,
  module: "nodes"
})

const samplers = [
  "euler",
  "euler_cfg_pp",
  "euler_ancestral",
  "heun",
  "dpm_2",
  "dpm_2_ancestral",
  "lms",
  "dpm_fast",
  "dpm_adaptive",
  "dpmpp_2s_ancestral",
  "dpmpp_sde",
  "dpmpp_2m",
  "dpmpp_2m_sde",
  "dpmpp_3m_sde",
  "ddpm",
  "lcm",
  "res_multistep",
  "ddim",
  "uni_pc",
  "uni_pc_bh2"
]
const schedulers = [
  "simple",
  "sgm_uniform",
  "karras",
  "exponential",
  "ddim_uniform",
  "beta",
  "normal",
  "linear_quadratic",
  "kl_optimal"
]

const maxSeed = 18_446_744_073_709_551_615n
const seed = (): FakeNode.Input<number | bigint> =>
  FakeNode.int({ default: 0, min: 0, max: maxSeed, control_after_generate: true })
const strength = (): FakeNode.Input<number> => FakeNode.float({ default: 1, min: -100, max: 100, step: 0.01 })

const checkpointLoader = FakeNode.define({
  class: "CheckpointLoaderSimple",
  required: { ckpt_name: FakeNode.folder("checkpoints") },
  outputs: ["MODEL", "CLIP", "VAE"],
  info: v1("Load Checkpoint", "model/loaders"),
  run: ({ ckpt_name }, context) =>
    Plan.returns(["MODEL", "CLIP", "VAE"].map((type) => new Model(type, ckpt_name)), {
      steps: loading(context, "checkpoints", ckpt_name)
    })
})

const unetLoader = FakeNode.define({
  class: "UNETLoader",
  required: {
    unet_name: FakeNode.folder("diffusion_models"),
    weight_dtype: FakeNode.combo(["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"], { advanced: true })
  },
  outputs: ["MODEL"],
  info: v1("Load Diffusion Model", "model/loaders"),
  run: ({ unet_name, weight_dtype }, context) =>
    Plan.returns([new Model("MODEL", `${unet_name}.${weight_dtype}`)], {
      steps: loading(context, "diffusion_models", unet_name)
    })
})

const device = FakeNode.combo(["default", "cpu"], { advanced: true })

const clipLoader = FakeNode.define({
  class: "CLIPLoader",
  required: {
    clip_name: FakeNode.folder("text_encoders"),
    type: FakeNode.combo([
      "stable_diffusion",
      "stable_cascade",
      "sd3",
      "stable_audio",
      "mochi",
      "ltxv",
      "pixart",
      "cosmos",
      "lumina2",
      "wan",
      "hidream",
      "chroma",
      "ace",
      "omnigen2",
      "qwen_image",
      "hunyuan_image",
      "flux2"
    ])
  },
  optional: { device },
  outputs: ["CLIP"],
  info: v1("Load CLIP", "model/loaders"),
  run: ({ clip_name, type }, context) =>
    Plan.returns([new Model("CLIP", `${clip_name}.${type}`)], { steps: loading(context, "text_encoders", clip_name) })
})

const dualClipLoader = FakeNode.define({
  class: "DualCLIPLoader",
  required: {
    clip_name1: FakeNode.folder("text_encoders"),
    clip_name2: FakeNode.folder("text_encoders"),
    type: FakeNode.combo(["sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image", "ltxv", "newbie", "ace"])
  },
  optional: { device },
  outputs: ["CLIP"],
  info: v1("Load CLIP (Dual)", "model/loaders"),
  run: ({ clip_name1, clip_name2, type }, context) =>
    Plan.returns([new Model("CLIP", `${clip_name1}.${clip_name2}.${type}`)], {
      steps: loading(context, "text_encoders", clip_name1, clip_name2)
    })
})

const vaeLoader = FakeNode.define({
  class: "VAELoader",
  required: { vae_name: FakeNode.folder("vae", {}, ["pixel_space"]) },
  outputs: ["VAE"],
  info: v1("Load VAE", "model/loaders"),
  run: ({ vae_name }, context) =>
    Plan.returns([new Model("VAE", vae_name)], { steps: loading(context, "vae", vae_name) })
})

const loraLoader = FakeNode.define({
  class: "LoraLoader",
  required: {
    model: model("MODEL"),
    clip: model("CLIP"),
    lora_name: FakeNode.folder("loras"),
    strength_model: strength(),
    strength_clip: strength()
  },
  outputs: ["MODEL", "CLIP"],
  info: { ...v1("Load LoRA (Model and CLIP)", "model/loaders"), essentials: "Image Generation" },
  run: ({ clip, lora_name, model: base, strength_clip, strength_model }, context) =>
    Plan.returns([
      new Model("MODEL", digest(base.key, lora_name, strength_model)),
      new Model("CLIP", digest(clip.key, lora_name, strength_clip))
    ], { steps: loading(context, "loras", lora_name) })
})

const loraLoaderModelOnly = FakeNode.define({
  class: "LoraLoaderModelOnly",
  required: { model: model("MODEL"), lora_name: FakeNode.folder("loras"), strength_model: strength() },
  outputs: ["MODEL"],
  info: v1("Load LoRA", "model/loaders"),
  run: ({ lora_name, model: base, strength_model }, context) =>
    Plan.returns([new Model("MODEL", digest(base.key, lora_name, strength_model))], {
      steps: loading(context, "loras", lora_name)
    })
})

/** What encoding a text takes, milliseconds. */
const encodeMs = 20

const clipTextEncode = FakeNode.define({
  class: "CLIPTextEncode",
  required: { text: FakeNode.string({ multiline: true, dynamicPrompts: true }), clip: model("CLIP") },
  outputs: ["CONDITIONING"],
  info: v1("CLIP Text Encode (Prompt)", "model/conditioning"),
  run: ({ clip, text }) => Plan.returns([new Conditioning(digest(clip.key, text))], { steps: [Plan.wait(encodeMs)] })
})

const emptyLatent = FakeNode.define({
  class: "EmptyLatentImage",
  required: {
    width: FakeNode.int({ default: 512, min: 16, max: 16384, step: 8 }),
    height: FakeNode.int({ default: 512, min: 16, max: 16384, step: 8 }),
    batch_size: FakeNode.int({ default: 1, min: 1, max: 4096 })
  },
  outputs: ["LATENT"],
  info: v1("Empty Latent Image", "model/latent"),
  run: ({ batch_size, height, width }) => {
    const shape = {
      width: Math.floor(Number(width) / 8) * 8,
      height: Math.floor(Number(height) / 8) * 8,
      batch: Number(batch_size)
    }
    return Plan.returns([new Latent(shape, `empty.${shape.width}.${shape.height}.${shape.batch}`, undefined)])
  }
})

interface Sampling {
  readonly key: string
  readonly start: Latent
  /** Steps that are run, of those that the noise is spread over. */
  readonly count: number
  readonly denoise: number
}

/** The picture that a sampler ends with, and the noisy ones on its way. */
const sample = ({ count, denoise, key, start }: Sampling, context: FakeNode.NodeContext): Plan.Plan => {
  const { batch, height, picture, width } = start
  const imagined = Picture.imagine(width, height, batch, key)
  const result = picture === undefined || denoise >= 1 ? imagined : Picture.mix(picture, imagined, denoise)
  const preview = (step: number): Plan.Preview | undefined =>
    context.previews.enabled
      ? {
        format: "JPEG",
        picture: Picture.imagine(Math.ceil(width / 8), Math.ceil(height / 8), 1, key, 1 - step / count)
      }
      : undefined
  return Plan.returns([new Latent(start, digest(key, start.key), result)], {
    steps: Plan.progress({ count, ms: context.stepMs(width * height * batch), preview })
  })
}

const samplerInputs = {
  steps: FakeNode.int({ default: 20, min: 1, max: 10000 }),
  cfg: FakeNode.float({ default: 8, min: 0, max: 100, step: 0.1, round: 0.01 }),
  sampler_name: FakeNode.combo(samplers),
  scheduler: FakeNode.combo(schedulers),
  positive: conditioning,
  negative: conditioning,
  latent_image: latent
}

const kSampler = FakeNode.define({
  class: "KSampler",
  required: {
    model: model("MODEL"),
    seed: seed(),
    ...samplerInputs,
    denoise: FakeNode.float({ default: 1, min: 0, max: 1, step: 0.01 })
  },
  outputs: ["LATENT"],
  info: v1("KSampler", "model/sampling"),
  run: (given, context) => {
    const { cfg, denoise, latent_image, negative, positive, sampler_name, scheduler, seed, steps } = given
    const key = digest(
      given.model.key,
      seed,
      steps,
      cfg,
      sampler_name,
      scheduler,
      positive.key,
      negative.key,
      latent_image.key,
      denoise
    )
    return sample({ key, start: latent_image, count: Number(steps), denoise }, context)
  }
})

const kSamplerAdvanced = FakeNode.define({
  class: "KSamplerAdvanced",
  required: {
    model: model("MODEL"),
    add_noise: FakeNode.combo(["enable", "disable"], { advanced: true }),
    noise_seed: seed(),
    ...samplerInputs,
    start_at_step: FakeNode.int({ default: 0, min: 0, max: 10000, advanced: true }),
    end_at_step: FakeNode.int({ default: 10000, min: 0, max: 10000, advanced: true }),
    return_with_leftover_noise: FakeNode.combo(["disable", "enable"], { advanced: true })
  },
  outputs: ["LATENT"],
  info: v1("KSampler (Advanced)", "model/sampling"),
  run: (given, context) => {
    const total = Number(given.steps)
    const start = Math.min(total, Number(given.start_at_step))
    const count = Math.max(0, Math.min(total, Number(given.end_at_step)) - start)
    const key = digest(
      given.model.key,
      given.add_noise,
      given.noise_seed,
      total,
      given.cfg,
      given.sampler_name,
      given.scheduler,
      given.positive.key,
      given.negative.key,
      given.latent_image.key,
      start,
      count,
      given.return_with_leftover_noise
    )
    return sample({ key, start: given.latent_image, count, denoise: start === 0 ? 1 : count / total }, context)
  }
})

const vaeDecode = FakeNode.define({
  class: "VAEDecode",
  required: { samples: latent, vae: model("VAE") },
  outputs: ["IMAGE"],
  info: v1("VAE Decode", "model/latent"),
  run: ({ samples, vae }, context) => {
    const { batch, height, width } = samples
    const picture = samples.picture ?? Picture.imagine(width, height, batch, digest(samples.key, vae.key))
    return Plan.returns([picture], { steps: [Plan.wait(context.stepMs(width * height * batch))] })
  }
})

const vaeEncode = FakeNode.define({
  class: "VAEEncode",
  required: { pixels: FakeNode.image(), vae: model("VAE") },
  outputs: ["LATENT"],
  info: v1("VAE Encode", "model/latent"),
  run: ({ pixels, vae }, context) => {
    const shape = {
      width: Math.max(8, Math.floor(pixels.width / 8) * 8),
      height: Math.max(8, Math.floor(pixels.height / 8) * 8),
      batch: pixels.batch
    }
    const samples = Picture.scale(Picture.rgb(pixels), shape.width, shape.height, { smooth: true, center: true })
    return Plan.returns([new Latent(shape, digest(vae.key, shape.width, shape.height, pixelHash(samples)), samples)], {
      steps: [Plan.wait(context.stepMs(shape.width * shape.height * shape.batch))]
    })
  }
})

const controlNetLoader = FakeNode.define({
  class: "ControlNetLoader",
  required: { control_net_name: FakeNode.folder("controlnet") },
  outputs: ["CONTROL_NET"],
  info: v1("Load ControlNet Model", "model/loaders"),
  run: ({ control_net_name }, context) =>
    Plan.returns([new Model("CONTROL_NET", control_net_name)], {
      steps: loading(context, "controlnet", control_net_name)
    })
})

const controlNetApply = FakeNode.define({
  class: "ControlNetApplyAdvanced",
  required: {
    positive: conditioning,
    negative: conditioning,
    control_net: model("CONTROL_NET"),
    image: FakeNode.image(),
    strength: FakeNode.float({ default: 1, min: 0, max: 10, step: 0.01 }),
    start_percent: FakeNode.float({ default: 0, min: 0, max: 1, step: 0.001 }),
    end_percent: FakeNode.float({ default: 1, min: 0, max: 1, step: 0.001 })
  },
  optional: { vae: model("VAE") },
  outputs: [{ type: "CONDITIONING", name: "positive" }, { type: "CONDITIONING", name: "negative" }],
  info: v1("Apply ControlNet", "model/conditioning/controlnet"),
  run: ({ control_net, end_percent, image, negative, positive, start_percent, strength }) => {
    const control = digest(control_net.key, pixelHash(image), strength, start_percent, end_percent)
    return Plan.returns([
      new Conditioning(digest(positive.key, control)),
      new Conditioning(digest(negative.key, control))
    ])
  }
})

const v3 = (displayName: string, category: string): Partial<FakeNode.NodeInfo> => ({
  style: "V3",
  displayName,
  category,
  module: "comfy_extras.nodes_upscale_model"
})

const upscaleLoader = FakeNode.define({
  class: "UpscaleModelLoader",
  required: { model_name: FakeNode.folder("upscale_models") },
  outputs: ["UPSCALE_MODEL"],
  info: v3("Load Upscale Model", "model/loaders"),
  run: ({ model_name }, context) =>
    Plan.returns([new Model("UPSCALE_MODEL", model_name)], { steps: loading(context, "upscale_models", model_name) })
})

/** How much larger the fake's upscalers make a picture. */
const upscaleFactor = 4

const upscale = FakeNode.define({
  class: "ImageUpscaleWithModel",
  required: { upscale_model: model("UPSCALE_MODEL"), image: FakeNode.image() },
  outputs: ["IMAGE"],
  info: v3("Upscale Image (using Model)", "image/upscaling"),
  run: ({ image }, context) => {
    const tiles = Math.ceil(image.width / 512) * Math.ceil(image.height / 512) * image.batch
    return Plan.returns([
      Picture.scale(image, image.width * upscaleFactor, image.height * upscaleFactor, { smooth: true, center: false })
    ], { steps: Plan.progress({ count: tiles, ms: context.stepMs(512 * 512) }) })
  }
})

export const nodes: ReadonlyArray<FakeNode.FakeNode> = [
  checkpointLoader,
  unetLoader,
  clipLoader,
  dualClipLoader,
  vaeLoader,
  loraLoader,
  loraLoaderModelOnly,
  clipTextEncode,
  emptyLatent,
  kSampler,
  kSamplerAdvanced,
  vaeDecode,
  vaeEncode,
  controlNetLoader,
  controlNetApply,
  upscaleLoader,
  upscale
]
