/**
 * Nodes that need models, simulated: samplers send a frame per step and take their time, and the picture that comes out
 * is a pure function of everything that went in.
 */
import { samplers, schedulers } from "./internal/samplerNames.ts"
import { Conditioning, conditioning, digest, Latent, latent, type Model, model, pictureKey } from "./ModelValue.ts"
import * as NodeClass from "./NodeClass.ts"
import * as Picture from "./Picture.ts"
import * as Plan from "./Plan.ts"

const v1 = (displayName: string, category: string): Partial<NodeClass.NodeInfo> => ({
  displayName,
  category,
  module: "nodes"
})

/** Samplers that ask the model twice a step. */
const twice: ReadonlySet<string> = new Set(["heun", "dpm_2", "dpm_2_ancestral", "dpmpp_2s_ancestral", "dpmpp_sde"])

const maxSeed = 18_446_744_073_709_551_615n
const seed = (): NodeClass.Input<number | bigint> =>
  NodeClass.int({ default: 0, min: 0, max: maxSeed, control_after_generate: true })
/** What encoding a text takes, milliseconds. */
const encodeMs = 20

const clipTextEncode = NodeClass.define({
  class: "CLIPTextEncode",
  required: { text: NodeClass.string({ multiline: true, dynamicPrompts: true }), clip: model("CLIP") },
  outputs: ["CONDITIONING"],
  info: v1("CLIP Text Encode (Prompt)", "model/conditioning"),
  run: ({ clip, text }) =>
    Plan.returns([new Conditioning(digest(clip.key, text))], { steps: [Plan.load([clip]), Plan.wait(encodeMs)] })
})

const emptyLatent = NodeClass.define({
  class: "EmptyLatentImage",
  required: {
    width: NodeClass.int({ default: 512, min: 16, max: 16384, step: 8 }),
    height: NodeClass.int({ default: 512, min: 16, max: 16384, step: 8 }),
    batch_size: NodeClass.int({ default: 1, min: 1, max: 4096 })
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
  readonly sampler: string
  readonly models: ReadonlyArray<Model>
}

/** The picture that a sampler ends with, and the noisy ones on its way. */
const sample = (
  { count, denoise, key, models, sampler, start }: Sampling,
  context: NodeClass.NodeContext
): Plan.Plan => {
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
  const pixels = width * height * batch
  const ms = context.stepMs(pixels) * (twice.has(sampler) ? 2 : 1)
  return Plan.returns([new Latent(start, digest(key, start.key), result)], {
    steps: [Plan.load(models, context.workBytes(pixels)), ...Plan.progress({ count, ms, preview })]
  })
}

const samplerInputs = {
  steps: NodeClass.int({ default: 20, min: 1, max: 10000 }),
  cfg: NodeClass.float({ default: 8, min: 0, max: 100, step: 0.1, round: 0.01 }),
  sampler_name: NodeClass.combo(samplers),
  scheduler: NodeClass.combo(schedulers),
  positive: conditioning,
  negative: conditioning,
  latent_image: latent
}

const kSampler = NodeClass.define({
  class: "KSampler",
  required: {
    model: model("MODEL"),
    seed: seed(),
    ...samplerInputs,
    denoise: NodeClass.float({ default: 1, min: 0, max: 1, step: 0.01 })
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
    const models = [given.model, ...positive.controls, ...negative.controls]
    return sample(
      { key, start: latent_image, count: Number(steps), denoise, sampler: sampler_name, models },
      context
    )
  }
})

const kSamplerAdvanced = NodeClass.define({
  class: "KSamplerAdvanced",
  required: {
    model: model("MODEL"),
    add_noise: NodeClass.combo(["enable", "disable"], { advanced: true }),
    noise_seed: seed(),
    ...samplerInputs,
    start_at_step: NodeClass.int({ default: 0, min: 0, max: 10000, advanced: true }),
    end_at_step: NodeClass.int({ default: 10000, min: 0, max: 10000, advanced: true }),
    return_with_leftover_noise: NodeClass.combo(["disable", "enable"], { advanced: true })
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
    return sample({
      key,
      start: given.latent_image,
      count,
      denoise: start === 0 ? 1 : count / total,
      sampler: given.sampler_name,
      models: [given.model, ...given.positive.controls, ...given.negative.controls]
    }, context)
  }
})

const vaeDecode = NodeClass.define({
  class: "VAEDecode",
  required: { samples: latent, vae: model("VAE") },
  outputs: ["IMAGE"],
  info: v1("VAE Decode", "model/latent"),
  run: ({ samples, vae }, context) => {
    const { batch, height, width } = samples
    const picture = samples.picture ?? Picture.imagine(width, height, batch, digest(samples.key, vae.key))
    const pixels = width * height * batch
    return Plan.returns([picture], {
      steps: [Plan.load([vae], context.workBytes(pixels)), Plan.wait(context.stepMs(pixels))]
    })
  }
})

const vaeEncode = NodeClass.define({
  class: "VAEEncode",
  required: { pixels: NodeClass.image(), vae: model("VAE") },
  outputs: ["LATENT"],
  info: v1("VAE Encode", "model/latent"),
  run: ({ pixels, vae }, context) => {
    const shape = {
      width: Math.max(8, Math.floor(pixels.width / 8) * 8),
      height: Math.max(8, Math.floor(pixels.height / 8) * 8),
      batch: pixels.batch
    }
    const samples = Picture.scale(Picture.rgb(pixels), shape.width, shape.height, { smooth: true, center: true })
    const size = shape.width * shape.height * shape.batch
    return Plan.returns([new Latent(shape, digest(vae.key, shape.width, shape.height, pictureKey(samples)), samples)], {
      steps: [Plan.load([vae], context.workBytes(size)), Plan.wait(context.stepMs(size))]
    })
  }
})

const controlNetApply = NodeClass.define({
  class: "ControlNetApplyAdvanced",
  required: {
    positive: conditioning,
    negative: conditioning,
    control_net: model("CONTROL_NET"),
    image: NodeClass.image(),
    strength: NodeClass.float({ default: 1, min: 0, max: 10, step: 0.01 }),
    start_percent: NodeClass.float({ default: 0, min: 0, max: 1, step: 0.001 }),
    end_percent: NodeClass.float({ default: 1, min: 0, max: 1, step: 0.001 })
  },
  optional: { vae: model("VAE") },
  outputs: [{ type: "CONDITIONING", name: "positive" }, { type: "CONDITIONING", name: "negative" }],
  info: v1("Apply ControlNet", "model/conditioning/controlnet"),
  run: ({ control_net, end_percent, image, negative, positive, start_percent, strength }) => {
    const control = digest(control_net.key, pictureKey(image), strength, start_percent, end_percent)
    return Plan.returns([
      new Conditioning(digest(positive.key, control), [...positive.controls, control_net]),
      new Conditioning(digest(negative.key, control), [...negative.controls, control_net])
    ])
  }
})

/** How much larger the fake's upscalers make a picture. */
const upscaleFactor = 4

const upscale = NodeClass.define({
  class: "ImageUpscaleWithModel",
  required: { upscale_model: model("UPSCALE_MODEL"), image: NodeClass.image() },
  outputs: ["IMAGE"],
  info: {
    style: "V3",
    displayName: "Upscale Image (using Model)",
    category: "image/upscaling",
    module: "comfy_extras.nodes_upscale_model"
  },
  run: ({ image, upscale_model }, context) => {
    const tiles = Math.ceil(image.width / 512) * Math.ceil(image.height / 512) * image.batch
    return Plan.returns([
      Picture.scale(image, image.width * upscaleFactor, image.height * upscaleFactor, { smooth: true, center: false })
    ], {
      steps: [
        Plan.load([upscale_model], context.workBytes(512 * 512)),
        ...Plan.progress({ count: tiles, ms: context.stepMs(512 * 512) })
      ]
    })
  }
})

/** CLIPTextEncode, latents, KSamplers, VAEs, ControlNet, ImageUpscaleWithModel. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  clipTextEncode,
  emptyLatent,
  kSampler,
  kSamplerAdvanced,
  vaeDecode,
  vaeEncode,
  controlNetApply,
  upscale
]
