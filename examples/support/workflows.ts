// The three workflows of the quick start, as a program would load them from JSON files.
import * as Workflow from "@effect-comfyui/workflow/Workflow"

/** Text to image, in the shape of the editor's default workflow. */
export const textToImage = (checkpoint: string): Workflow.Workflow =>
  Workflow.fromNodes({
    "3": {
      class_type: "KSampler",
      inputs: {
        seed: -1,
        steps: 20,
        cfg: 8,
        sampler_name: "euler",
        scheduler: "normal",
        denoise: 1,
        model: ["4", 0],
        positive: ["6", 0],
        negative: ["7", 0],
        latent_image: ["5", 0]
      }
    },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: checkpoint } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: 512, height: 512, batch_size: 1 } },
    "6": { class_type: "CLIPTextEncode", inputs: { clip: ["4", 1], text: "a lighthouse in a storm" } },
    "7": { class_type: "CLIPTextEncode", inputs: { clip: ["4", 1], text: "text, watermark" } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { images: ["8", 0], filename_prefix: "lighthouse" } }
  })

/** An edit of a picture that is uploaded with the run: inverted, and twice as large. */
export const imageEdit: Workflow.Workflow = Workflow.fromNodes({
  "1": { class_type: "LoadImage", inputs: { image: "uploaded with the run" } },
  "2": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
  "3": {
    class_type: "ImageScale",
    inputs: { image: ["2", 0], upscale_method: "bicubic", width: 128, height: 128, crop: "disabled" }
  },
  "4": { class_type: "SaveImage", inputs: { images: ["3", 0], filename_prefix: "edited" } }
})

/** Passes validation and fails in its last node: a server saves nothing outside its folder. */
export const failing: Workflow.Workflow = Workflow.fromNodes({
  "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
  "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "../../outside" } }
})
