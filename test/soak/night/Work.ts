/** What people want in the night: pictures of some seconds beside videos of twenty minutes, by three tenants. */
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import { NodeClass, Picture, Plan, Workflows } from "@effect-comfyui/testing"
import type { FakeComfy } from "@effect-comfyui/testing"
import { digest, model } from "@effect-comfyui/testing/ModelValue"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"

/** Files and sizes as of well-known models. */
export const models: Readonly<Record<string, ReadonlyArray<FakeComfy.ModelFile>>> = {
  checkpoints: [
    { name: "sd15.safetensors", bytes: 2_132_696_762 },
    { name: "sdxl.safetensors", bytes: 6_938_078_334 },
    { name: "pony.safetensors", bytes: 6_938_041_050 },
    { name: "flux-fp8.safetensors", bytes: 17_246_524_772 }
  ],
  loras: [{ name: "detail.safetensors", bytes: 228_455_584 }],
  diffusion_models: [
    { name: "wan-1.3b.safetensors", bytes: 2_838_303_560 },
    { name: "wan-14b-fp8.safetensors", bytes: 14_291_398_104 },
    { name: "hunyuan-video.safetensors", bytes: 25_642_291_200 }
  ]
}

/** Of a video as many pixels are sampled at once as of this many pictures. */
const videoPictures = 64

/** Samples a video: a frame to the client every 40 s on a middle card, and nothing between. */
export const videoNode: NodeClass.NodeClass = NodeClass.define({
  class: "NightVideo",
  required: {
    model: model("MODEL"),
    seed: NodeClass.int({ default: 0, min: 0, max: Number.MAX_SAFE_INTEGER }),
    steps: NodeClass.int({ default: 30, min: 1, max: 1_000 })
  },
  outputs: ["IMAGE"],
  run: ({ model, seed, steps }, context) => {
    const pixels = 64 * 64
    return Plan.returns([Picture.imagine(64, 64, 1, digest(model.key, seed, steps))], {
      steps: [
        Plan.load([model], context.workBytes(pixels)),
        ...Plan.progress({ count: Number(steps), ms: context.stepMs(pixels) * videoPictures })
      ]
    })
  }
})

const video = (file: string, steps: number) => (seed: number): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "UNETLoader", inputs: { unet_name: file, weight_dtype: "default" } },
    "2": { class_type: "NightVideo", inputs: { model: ["1", 0], seed, steps } },
    "3": { class_type: "SaveImage", inputs: { images: ["2", 0], filename_prefix: "video" } }
  })

const picture = (checkpoint: string) => (seed: number): Workflow.Workflow =>
  Workflows.textToImage({ checkpoint, seed, steps: 8, width: 64, height: 64, filenamePrefix: "picture" })

/** A picture whose model is patched: another affinity than without. */
const patched = (checkpoint: string) => (seed: number): Workflow.Workflow => {
  const { nodes } = picture(checkpoint)(seed)
  const { "3": sampler, ...rest } = nodes
  return Workflow.fromNodes({
    ...rest,
    ...(sampler === undefined ? {} : { "3": { ...sampler, inputs: { ...sampler.inputs, model: ["10", 0] } } }),
    "10": {
      class_type: "LoraLoader",
      inputs: {
        model: ["4", 0],
        clip: ["4", 1],
        lora_name: "detail.safetensors",
        strength_model: 1,
        strength_clip: 1
      }
    }
  })
}

/** One kind of job. */
export interface Kind {
  readonly name: string
  readonly isVideo: boolean
  /** Jobs an hour for each server of the fleet. */
  readonly perServerHour: number
  readonly make: (seed: number) => Workflow.Workflow
  readonly options: JobOptions
}

const kind = (
  name: string,
  perServerHour: number,
  make: Kind["make"],
  options: JobOptions = {}
): Kind => ({ name, isVideo: name.startsWith("video"), perServerHour, make, options })

/** Twenty minutes each on the card that they are for. */
const videos = [
  kind("video, any card", 0.95, video("wan-1.3b.safetensors", 15)),
  kind("video, 24 GB", 0.8, video("wan-14b-fp8.safetensors", 30), { requires: { vramBytes: 20e9 } }),
  kind("video, 80 GB", 0.4, video("hunyuan-video.safetensors", 75), { requires: { tags: ["large"] } })
]

/** Some seconds each. */
export const pictures: ReadonlyArray<Kind> = [
  kind("picture, sdxl", 5, picture("sdxl.safetensors")),
  kind("picture, sd15", 3, picture("sd15.safetensors")),
  kind("picture, sdxl and lora", 2, patched("sdxl.safetensors")),
  kind("picture, sdxl, paid", 1, picture("sdxl.safetensors"), { paid: true }),
  kind("picture, pony", 1, picture("pony.safetensors")),
  kind("picture, flux", 2, picture("flux-fp8.safetensors"), { requires: { vramBytes: 20e9 } })
]

export const kinds: ReadonlyArray<Kind> = [...pictures, ...videos]

const totalOf = (of: ReadonlyArray<Kind>): number => of.reduce((sum, { perServerHour }) => sum + perServerHour, 0)

/** Jobs an hour that a fleet of so many servers is asked for. */
export const jobsPerHour = (servers: number): number => servers * totalOf(kinds)

const fallback = kind("picture", 0, picture("sd15.safetensors"))

/** One of these kinds, each as often as it is wanted. */
export const oneOfKinds = (of: ReadonlyArray<Kind>): Effect.Effect<Kind> =>
  Effect.map(Random.next, (dice) => {
    let rest = dice * totalOf(of)
    for (const one of of) {
      rest -= one.perServerHour
      if (rest < 0) return one
    }
    return of[0] ?? fallback
  })

/** Who asks: the studio for videos most of all, the shop for pictures, the laboratory for everything, with less hurry. */
export const tenantOf = ({ isVideo }: Kind): Effect.Effect<Pick<JobOptions, "tenant" | "priority">> =>
  Effect.map(Random.next, (dice) => {
    if (dice < 0.2) return { tenant: "laboratory", priority: -1 }
    return { tenant: (dice < 0.9) === isVideo ? "studio" : "shop" }
  })

/** Until the next of events that come by chance, so many an hour; whole milliseconds, as clocks want it. */
export const untilNext = (perHour: number): Effect.Effect<number> =>
  Effect.map(Random.next, (dice) => Math.ceil(-Math.log(1 - dice) * 3_600_000 / perHour))
