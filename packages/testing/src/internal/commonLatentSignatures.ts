// Signatures of common classes for latents, conditionings and models. Data only.
import type { Compact } from "./compactSignature.ts"

export const commonLatentSignatures: Readonly<Record<string, Compact>> = {
  LatentUpscale: {
    title: "Upscale Latent",
    category: "model/latent",
    module: "nodes",
    required: {
      samples: ["LATENT"],
      upscale_method: [["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]],
      width: ["INT", { default: 512, min: 0, max: 16384, step: 8 }],
      height: ["INT", { default: 512, min: 0, max: 16384, step: 8 }],
      crop: [["disabled", "center"]]
    },
    output: ["LATENT"],
    aliases: ["enlarge latent", "resize latent"],
    old: true
  },
  LatentUpscaleBy: {
    title: "Upscale Latent By",
    category: "model/latent",
    module: "nodes",
    required: {
      samples: ["LATENT"],
      upscale_method: [["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]],
      scale_by: ["FLOAT", { default: 1.5, min: 0.01, max: 8, step: 0.01 }]
    },
    output: ["LATENT"],
    aliases: ["enlarge latent", "resize latent", "scale latent"],
    old: true
  },
  EmptySD3LatentImage: {
    title: null,
    category: "model/latent/stable diffusion",
    module: "comfy_extras.nodes_sd3",
    required: {
      width: ["INT", { default: 1024, min: 16, max: 16384, step: 16 }],
      height: ["INT", { default: 1024, min: 16, max: 16384, step: 16 }],
      batch_size: ["INT", { default: 1, min: 1, max: 4096 }]
    },
    output: ["LATENT"]
  },
  EmptyFlux2LatentImage: {
    title: "Empty Flux 2 Latent",
    category: "model/latent/flux",
    module: "comfy_extras.nodes_flux",
    required: {
      width: ["INT", { default: 1024, min: 16, max: 16384, step: 16 }],
      height: ["INT", { default: 1024, min: 16, max: 16384, step: 16 }],
      batch_size: ["INT", { default: 1, min: 1, max: 4096 }]
    },
    output: ["LATENT"]
  },
  EmptyHunyuanLatentVideo: {
    title: "Empty HunyuanVideo 1.0 Latent",
    category: "model/latent/hunyuan video",
    module: "comfy_extras.nodes_hunyuan",
    required: {
      width: ["INT", { default: 848, min: 16, max: 16384, step: 16 }],
      height: ["INT", { default: 480, min: 16, max: 16384, step: 16 }],
      length: ["INT", { default: 25, min: 1, max: 16384, step: 4 }],
      batch_size: ["INT", { default: 1, min: 1, max: 4096 }]
    },
    output: ["LATENT"]
  },
  EmptyLatentAudio: {
    title: "Empty Latent Audio",
    category: "model/latent",
    module: "comfy_extras.nodes_audio",
    required: {
      seconds: ["FLOAT", { default: 47.6, min: 1, max: 1000, step: 0.1 }],
      batch_size: ["INT", { default: 1, min: 1, max: 4096 }]
    },
    output: ["LATENT"],
    essentials: "Audio"
  },
  ModelSamplingSD3: {
    title: "ModelSamplingSD3",
    category: "model/patch/stable diffusion",
    module: "comfy_extras.nodes_model_advanced",
    required: {
      model: ["MODEL"],
      shift: ["FLOAT", { default: 3, min: 0, max: 100, step: 0.01 }]
    },
    output: ["MODEL"],
    old: true
  },
  ModelSamplingFlux: {
    title: "ModelSamplingFlux",
    category: "model/patch/flux",
    module: "comfy_extras.nodes_model_advanced",
    required: {
      model: ["MODEL"],
      max_shift: ["FLOAT", { default: 1.15, min: 0, max: 100, step: 0.01, advanced: true }],
      base_shift: ["FLOAT", { default: 0.5, min: 0, max: 100, step: 0.01, advanced: true }],
      width: ["INT", { default: 1024, min: 16, max: 16384, step: 8 }],
      height: ["INT", { default: 1024, min: 16, max: 16384, step: 8 }]
    },
    output: ["MODEL"],
    old: true
  },
  ModelSamplingAuraFlow: {
    title: "ModelSamplingAuraFlow",
    category: "model/patch",
    module: "comfy_extras.nodes_model_advanced",
    required: {
      model: ["MODEL"],
      shift: ["FLOAT", { default: 1.73, min: 0, max: 100, step: 0.01 }]
    },
    output: ["MODEL"],
    old: true
  },
  ConditioningZeroOut: {
    title: "Conditioning Zero Out",
    category: "model/conditioning/transform",
    module: "nodes",
    required: {
      conditioning: ["CONDITIONING"]
    },
    output: ["CONDITIONING"],
    aliases: ["null conditioning", "clear conditioning"],
    old: true
  },
  ConditioningCombine: {
    title: "Conditioning (Combine)",
    category: "model/conditioning/transform",
    module: "nodes",
    required: {
      conditioning_1: ["CONDITIONING"],
      conditioning_2: ["CONDITIONING"]
    },
    output: ["CONDITIONING"],
    aliases: ["combine", "merge conditioning", "combine prompts", "merge prompts", "mix prompts", "add prompt"],
    essentials: "Image Generation",
    old: true
  },
  ConditioningConcat: {
    title: "Conditioning (Concat)",
    category: "model/conditioning/transform",
    module: "nodes",
    required: {
      conditioning_to: ["CONDITIONING"],
      conditioning_from: ["CONDITIONING"]
    },
    output: ["CONDITIONING"],
    old: true
  },
  ReferenceLatent: {
    title: "Set Reference Latent",
    category: "model/conditioning",
    module: "comfy_extras.nodes_edit_model",
    required: {
      conditioning: ["CONDITIONING", {}]
    },
    optional: {
      latent: ["LATENT", {}]
    },
    output: ["CONDITIONING"]
  },
  CLIPSetLastLayer: {
    title: "CLIP Set Last Layer",
    category: "model/conditioning",
    module: "nodes",
    required: {
      clip: ["CLIP"],
      stop_at_clip_layer: ["INT", { default: -1, min: -24, max: -1, step: 1, advanced: true }]
    },
    output: ["CLIP"],
    old: true
  },
  CLIPVisionLoader: {
    title: "Load CLIP Vision",
    category: "model/loaders",
    module: "nodes",
    required: {
      clip_name: [[]]
    },
    output: ["CLIP_VISION"],
    old: true
  },
  CLIPVisionEncode: {
    title: "CLIP Vision Encode",
    category: "model/conditioning",
    module: "nodes",
    required: {
      clip_vision: ["CLIP_VISION"],
      image: ["IMAGE"],
      crop: [["center", "none"]]
    },
    output: ["CLIP_VISION_OUTPUT"],
    old: true
  },
  VAEDecodeTiled: {
    title: "VAE Decode (Tiled)",
    category: "model/latent",
    module: "nodes",
    required: {
      samples: ["LATENT"],
      vae: ["VAE"],
      tile_size: ["INT", { default: 512, min: 64, max: 4096, step: 32, advanced: true }],
      overlap: ["INT", { default: 64, min: 0, max: 4096, step: 32, advanced: true }],
      temporal_size: ["INT", { default: 64, min: 8, max: 4096, step: 4, advanced: true }],
      temporal_overlap: ["INT", { default: 8, min: 4, max: 4096, step: 4, advanced: true }]
    },
    output: ["IMAGE"],
    old: true
  },
  VAEEncodeForInpaint: {
    title: "VAE Encode (for Inpainting)",
    category: "model/latent",
    module: "nodes",
    required: {
      pixels: ["IMAGE"],
      vae: ["VAE"],
      mask: ["MASK"],
      grow_mask_by: ["INT", { default: 6, min: 0, max: 64, step: 1 }]
    },
    output: ["LATENT"],
    old: true
  },
  SetLatentNoiseMask: {
    title: "Set Latent Noise Mask",
    category: "model/latent",
    module: "nodes",
    required: {
      samples: ["LATENT"],
      mask: ["MASK"]
    },
    output: ["LATENT"],
    old: true
  },
  VAEDecodeAudio: {
    title: "VAE Decode Audio",
    category: "model/latent",
    module: "comfy_extras.nodes_audio",
    required: {
      samples: ["LATENT", {}],
      vae: ["VAE", {}]
    },
    output: ["AUDIO"],
    aliases: ["latent to audio"]
  },
  VAEEncodeAudio: {
    title: "VAE Encode Audio",
    category: "model/latent",
    module: "comfy_extras.nodes_audio",
    required: {
      audio: ["AUDIO", {}],
      vae: ["VAE", {}]
    },
    output: ["LATENT"],
    aliases: ["audio to latent"]
  }
}
