// Signatures of common classes for videos. Data only.
import type { JsonObject } from "@effect-comfyui/workflow/Json"
import type { Compact } from "./compactSignature.ts"

/** An input that brings others with it, by what is chosen. */
const choice = "COMFY_DYNAMICCOMBO_V3"

const auto: JsonObject = { key: "auto", inputs: { required: {} } }

/** A codec with its constant rate factors. */
const codec = (key: string, crf: number, worstCrf: number): JsonObject => ({
  key,
  inputs: {
    required: {},
    optional: {
      encoding: [choice, {
        display_name: "encoding mode",
        options: [auto, {
          key: "re-encode",
          inputs: {
            required: {
              crf: ["FLOAT", { default: crf, min: 0, max: worstCrf, step: 1 }],
              color_space: ["COMBO", {
                display_name: "color space",
                default: "auto",
                multiselect: false,
                options: ["auto", "sRGB", "HDR", "HDR PQ"]
              }]
            }
          }
        }]
      }]
    }
  }
})

const h264 = codec("h264", 23, 51)
const av1 = codec("av1", 30, 63)

const container = (key: string, ...codecs: ReadonlyArray<JsonObject>): JsonObject => ({
  key,
  inputs: { required: { codec: [choice, { options: [auto, ...codecs] }] } }
})

export const commonVideoSignatures: Readonly<Record<string, Compact>> = {
  CreateVideo: {
    title: "Create Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      images: ["IMAGE", {}],
      fps: ["FLOAT", { default: 30, min: 1, max: 120, step: 1 }]
    },
    optional: {
      audio: ["AUDIO", {}],
      bit_depth: ["INT", { default: 8, min: 8, max: 10, step: 2, display: "number" }]
    },
    output: ["VIDEO"],
    aliases: ["images to video"],
    essentials: "Video Tools"
  },
  SaveVideo: {
    title: "Save Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      video: ["VIDEO", {}],
      filename_prefix: ["STRING", { default: "video/ComfyUI", multiline: false }],
      format: [choice, {
        options: [
          container("auto", h264, av1),
          container("mp4", h264, av1),
          container("mkv", h264, av1),
          container("webm", av1)
        ]
      }]
    },
    optional: {
      codec: [choice, { hidden: true, options: [auto, h264, av1] }]
    },
    hidden: { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" },
    output: ["VIDEO"],
    names: ["video"],
    outputNode: true,
    aliases: ["export video"],
    essentials: "Basics"
  },
  LoadVideo: {
    title: "Load Video",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      file: ["COMBO", { multiselect: false, options: [], video_upload: true }]
    },
    output: ["VIDEO"],
    aliases: ["import video", "open video", "video file"],
    essentials: "Basics"
  },
  GetVideoComponents: {
    title: "Get Video Components",
    category: "video",
    module: "comfy_extras.nodes_video",
    required: {
      video: ["VIDEO", {}]
    },
    output: ["IMAGE", "AUDIO", "FLOAT", "INT", "COMBO"],
    names: ["images", "audio", "fps", "bit_depth", "color_space"],
    aliases: ["extract frames", "split video", "video to images", "demux"]
  }
}
