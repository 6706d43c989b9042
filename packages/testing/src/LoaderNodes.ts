/** Nodes that read model files, simulated: a loader takes the time that reading its file from disk would take. */
import { Weights } from "./Hardware.ts"
import { digest, Model, model } from "./ModelValue.ts"
import * as NodeClass from "./NodeClass.ts"
import * as Plan from "./Plan.ts"

/** Time to read these files of a folder from disk. */
const loading = (
  context: NodeClass.NodeContext,
  folder: string,
  ...names: ReadonlyArray<string>
): ReadonlyArray<Plan.Step> => [
  Plan.wait(names.reduce((ms, name) => ms + context.diskMs(context.modelBytes(folder, name) ?? 0), 0))
]

/** The weights in these files of a folder, or in a part of them. */
const weights = (
  context: NodeClass.NodeContext,
  folder: string,
  names: ReadonlyArray<string>,
  part: { readonly type: string; readonly share: number } | undefined = undefined
): Weights => {
  const bytes = names.reduce((sum, name) => sum + (context.modelBytes(folder, name) ?? 0), 0)
  return new Weights(
    part === undefined ? names.join(", ") : `${names.join(", ")} ${part.type}`,
    Math.floor(bytes * (part?.share ?? 1))
  )
}

/** What a checkpoint's file holds, and how much of it each is: about as in SDXL's. */
const checkpointParts = [{ type: "MODEL", share: 0.74 }, { type: "CLIP", share: 0.236 }, { type: "VAE", share: 0.024 }]

const v1 = (displayName: string, category: string): Partial<NodeClass.NodeInfo> => ({
  displayName,
  category,
  module: "nodes"
})

const strength = (): NodeClass.Input<number> => NodeClass.float({ default: 1, min: -100, max: 100, step: 0.01 })

const checkpointLoader = NodeClass.define({
  class: "CheckpointLoaderSimple",
  required: { ckpt_name: NodeClass.folder("checkpoints") },
  outputs: ["MODEL", "CLIP", "VAE"],
  info: v1("Load Checkpoint", "model/loaders"),
  run: ({ ckpt_name }, context) =>
    Plan.returns(
      checkpointParts.map((part) =>
        new Model(part.type, ckpt_name, weights(context, "checkpoints", [ckpt_name], part))
      ),
      { steps: loading(context, "checkpoints", ckpt_name) }
    )
})

const unetLoader = NodeClass.define({
  class: "UNETLoader",
  required: {
    unet_name: NodeClass.folder("diffusion_models"),
    weight_dtype: NodeClass.combo(["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"], { advanced: true })
  },
  outputs: ["MODEL"],
  info: v1("Load Diffusion Model", "model/loaders"),
  run: ({ unet_name, weight_dtype }, context) =>
    Plan.returns([
      new Model("MODEL", `${unet_name}.${weight_dtype}`, weights(context, "diffusion_models", [unet_name]))
    ], {
      steps: loading(context, "diffusion_models", unet_name)
    })
})

const device = NodeClass.combo(["default", "cpu"], { advanced: true })

const clipLoader = NodeClass.define({
  class: "CLIPLoader",
  required: {
    clip_name: NodeClass.folder("text_encoders"),
    type: NodeClass.combo([
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
    Plan.returns([new Model("CLIP", `${clip_name}.${type}`, weights(context, "text_encoders", [clip_name]))], {
      steps: loading(context, "text_encoders", clip_name)
    })
})

const dualClipLoader = NodeClass.define({
  class: "DualCLIPLoader",
  required: {
    clip_name1: NodeClass.folder("text_encoders"),
    clip_name2: NodeClass.folder("text_encoders"),
    type: NodeClass.combo(["sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image", "ltxv", "newbie", "ace"])
  },
  optional: { device },
  outputs: ["CLIP"],
  info: v1("Load CLIP (Dual)", "model/loaders"),
  run: ({ clip_name1, clip_name2, type }, context) =>
    Plan.returns([
      new Model(
        "CLIP",
        `${clip_name1}.${clip_name2}.${type}`,
        weights(context, "text_encoders", [clip_name1, clip_name2])
      )
    ], { steps: loading(context, "text_encoders", clip_name1, clip_name2) })
})

const vaeLoader = NodeClass.define({
  class: "VAELoader",
  required: { vae_name: NodeClass.folder("vae", {}, ["pixel_space"]) },
  outputs: ["VAE"],
  info: v1("Load VAE", "model/loaders"),
  run: ({ vae_name }, context) =>
    Plan.returns([new Model("VAE", vae_name, weights(context, "vae", [vae_name]))], {
      steps: loading(context, "vae", vae_name)
    })
})

const loraLoader = NodeClass.define({
  class: "LoraLoader",
  required: {
    model: model("MODEL"),
    clip: model("CLIP"),
    lora_name: NodeClass.folder("loras"),
    strength_model: strength(),
    strength_clip: strength()
  },
  outputs: ["MODEL", "CLIP"],
  info: { ...v1("Load LoRA (Model and CLIP)", "model/loaders"), essentials: "Image Generation" },
  run: ({ clip, lora_name, model: base, strength_clip, strength_model }, context) =>
    Plan.returns([
      new Model("MODEL", digest(base.key, lora_name, strength_model), base.weights),
      new Model("CLIP", digest(clip.key, lora_name, strength_clip), clip.weights)
    ], { steps: loading(context, "loras", lora_name) })
})

const loraLoaderModelOnly = NodeClass.define({
  class: "LoraLoaderModelOnly",
  required: { model: model("MODEL"), lora_name: NodeClass.folder("loras"), strength_model: strength() },
  outputs: ["MODEL"],
  info: v1("Load LoRA", "model/loaders"),
  run: ({ lora_name, model: base, strength_model }, context) =>
    Plan.returns([new Model("MODEL", digest(base.key, lora_name, strength_model), base.weights)], {
      steps: loading(context, "loras", lora_name)
    })
})

const controlNetLoader = NodeClass.define({
  class: "ControlNetLoader",
  required: { control_net_name: NodeClass.folder("controlnet") },
  outputs: ["CONTROL_NET"],
  info: v1("Load ControlNet Model", "model/loaders"),
  run: ({ control_net_name }, context) =>
    Plan.returns([new Model("CONTROL_NET", control_net_name, weights(context, "controlnet", [control_net_name]))], {
      steps: loading(context, "controlnet", control_net_name)
    })
})

const upscaleLoader = NodeClass.define({
  class: "UpscaleModelLoader",
  required: { model_name: NodeClass.folder("upscale_models") },
  outputs: ["UPSCALE_MODEL"],
  info: {
    style: "V3",
    displayName: "Load Upscale Model",
    category: "model/loaders",
    module: "comfy_extras.nodes_upscale_model"
  },
  run: ({ model_name }, context) =>
    Plan.returns([new Model("UPSCALE_MODEL", model_name, weights(context, "upscale_models", [model_name]))], {
      steps: loading(context, "upscale_models", model_name)
    })
})

/** Loaders of checkpoints, diffusion models, text encoders, VAEs, LoRAs, ControlNets and upscalers. */
export const nodes: ReadonlyArray<NodeClass.NodeClass> = [
  checkpointLoader,
  unetLoader,
  clipLoader,
  dualClipLoader,
  vaeLoader,
  loraLoader,
  loraLoaderModelOnly,
  controlNetLoader,
  upscaleLoader
]
