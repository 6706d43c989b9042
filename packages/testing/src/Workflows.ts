/**
 * Small workflows of the common kinds, as values. Those of the first part run on any ComfyUI server that has the models
 * they name; a fake server has the defaults. Node ids are stated, so that tests can name them.
 */
import * as Workflow from "@effect-comfyui/workflow/Workflow"

/** The checkpoint that every fake server has. */
export const checkpoint = "v1-5-pruned-emaonly-fp16.safetensors"

/** What to draw, and how. */
export interface TextToImage {
  /** Default: a lighthouse in a storm. */
  readonly prompt?: string
  readonly negativePrompt?: string
  /** A file in `checkpoints`. */
  readonly checkpoint?: string
  /** Pixels. Default 512. */
  readonly width?: number
  readonly height?: number
  /** Pictures. Default 1. */
  readonly batch?: number
  /** Default 20. */
  readonly steps?: number
  readonly cfg?: number
  /** −1: another one at each run. Default 1. */
  readonly seed?: number | bigint
  readonly sampler?: string
  readonly scheduler?: string
  /** Default `ComfyUI`. */
  readonly filenamePrefix?: string
}

/** Text to image, in the shape and with the ids of the editor's default workflow: samples in `3`, saves in `9`. */
export const textToImage = (options: TextToImage = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "3": {
      class_type: "KSampler",
      inputs: {
        seed: options.seed ?? 1,
        steps: options.steps ?? 20,
        cfg: options.cfg ?? 8,
        sampler_name: options.sampler ?? "euler",
        scheduler: options.scheduler ?? "normal",
        denoise: 1,
        model: ["4", 0],
        positive: ["6", 0],
        negative: ["7", 0],
        latent_image: ["5", 0]
      }
    },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: options.checkpoint ?? checkpoint } },
    "5": {
      class_type: "EmptyLatentImage",
      inputs: { width: options.width ?? 512, height: options.height ?? 512, batch_size: options.batch ?? 1 }
    },
    "6": {
      class_type: "CLIPTextEncode",
      inputs: { clip: ["4", 1], text: options.prompt ?? "a lighthouse in a storm" }
    },
    "7": {
      class_type: "CLIPTextEncode",
      inputs: { clip: ["4", 1], text: options.negativePrompt ?? "text, watermark" }
    },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": {
      class_type: "SaveImage",
      inputs: { images: ["8", 0], filename_prefix: options.filenamePrefix ?? "ComfyUI" }
    }
  })

/** What to do with a picture. */
export interface ImageEdit {
  /** A file in the server's input folder. Default: a name for an attachment to replace. */
  readonly image?: string
  /** Pixels of the result. Default 128. */
  readonly width?: number
  readonly height?: number
  /** Default `edited`. */
  readonly filenamePrefix?: string
}

/** A picture of the input folder, inverted and scaled: loads in `1` (input `image`), saves in `4`. */
export const imageEdit = (options: ImageEdit = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "LoadImage", inputs: { image: options.image ?? "uploaded with the run" } },
    "2": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
    "3": {
      class_type: "ImageScale",
      inputs: {
        image: ["2", 0],
        upscale_method: "bicubic",
        width: options.width ?? 128,
        height: options.height ?? 128,
        crop: "disabled"
      }
    },
    "4": {
      class_type: "SaveImage",
      inputs: { images: ["3", 0], filename_prefix: options.filenamePrefix ?? "edited" }
    }
  })

/** What to enlarge, and with which model. */
export interface Upscale {
  /** A file in the server's input folder. Default: a name for an attachment to replace. */
  readonly image?: string
  /** A file in `upscale_models`. Default `4x-UltraSharp.pth`. */
  readonly model?: string
  /** Default `upscaled`. */
  readonly filenamePrefix?: string
}

/** A picture of the input folder, enlarged by a model: loads in `1` (input `image`), saves in `4`. */
export const upscale = (options: Upscale = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "LoadImage", inputs: { image: options.image ?? "uploaded with the run" } },
    "2": { class_type: "UpscaleModelLoader", inputs: { model_name: options.model ?? "4x-UltraSharp.pth" } },
    "3": { class_type: "ImageUpscaleWithModel", inputs: { upscale_model: ["2", 0], image: ["1", 0] } },
    "4": {
      class_type: "SaveImage",
      inputs: { images: ["3", 0], filename_prefix: options.filenamePrefix ?? "upscaled" }
    }
  })

/** One picture of one colour, saved in `2`: no model, no time. */
export const picture = (
  options: { readonly color?: number; readonly width?: number; readonly height?: number } = {}
): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": {
      class_type: "EmptyImage",
      inputs: {
        width: options.width ?? 64,
        height: options.height ?? 64,
        batch_size: 1,
        color: options.color ?? 0x336699
      }
    },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "picture" } }
  })

/** Passes validation and fails in its last node, `2`, on any server: none saves outside of its folder. */
export const failing: Workflow.Workflow = Workflow.fromNodes({
  "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
  "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "../../outside" } }
})

/** Is refused before it runs: its only node, `1`, is of a class that no server has. */
export const rejected: Workflow.Workflow = Workflow.fromNodes({
  "1": { class_type: "NoServerHasThisClass", inputs: {} }
})

/** What a slow run is like. */
export interface Slow {
  /** Default 600. */
  readonly seconds?: number
  /** Whether an interrupt ends it at once; else only when the time is over. Default true. */
  readonly watches?: boolean
}

/** A picture that takes its time in node `2` and is saved in `3`. Needs `TestNodes`. */
export const slow = (options: Slow = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 0xff8800 } },
    "2": {
      class_type: "FakeSleep",
      inputs: { seconds: options.seconds ?? 600, watches: options.watches ?? true, value: ["1", 0] }
    },
    "3": { class_type: "SaveImage", inputs: { images: ["2", 0], filename_prefix: "slow" } }
  })

/** Counts to `steps` in node `1`, with a progress frame each. Needs `TestNodes`. */
export const counting = (
  options: { readonly steps?: number; readonly stepMs?: number; readonly previews?: boolean } = {}
): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": {
      class_type: "FakeSteps",
      inputs: { count: options.steps ?? 10, milliseconds: options.stepMs ?? 100, preview: options.previews ?? false }
    }
  })

/** Raises a Python exception in node `1`. Needs `TestNodes`. */
export const raising = (options: { readonly type?: string; readonly message?: string } = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": {
      class_type: "FakeRaise",
      inputs: { type: options.type ?? "ValueError", message: options.message ?? "it does not fit" }
    }
  })

/** Runs out of memory in node `1`, after `seconds`. Needs `TestNodes`. */
export const outOfMemory = (options: { readonly seconds?: number } = {}): Workflow.Workflow =>
  Workflow.fromNodes({ "1": { class_type: "FakeOutOfMemory", inputs: { seconds: options.seconds ?? 0 } } })
