// Signatures of the parts that a sampler is put together from. Data only.
import type { Compact } from "./compactSignature.ts"
import { samplers, schedulers } from "./samplerNames.ts"

const maxSeed = 18_446_744_073_709_551_615n

export const commonSamplingSignatures: Readonly<Record<string, Compact>> = {
  KSamplerSelect: {
    title: null,
    category: "model/sampling/samplers",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      sampler_name: ["COMBO", { multiselect: false, options: samplers }]
    },
    output: ["SAMPLER"]
  },
  BasicScheduler: {
    title: null,
    category: "model/sampling/schedulers",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      model: ["MODEL", {}],
      scheduler: ["COMBO", { multiselect: false, options: schedulers }],
      steps: ["INT", { default: 20, min: 1, max: 10000 }],
      denoise: ["FLOAT", { default: 1, min: 0, max: 1, step: 0.01 }]
    },
    output: ["SIGMAS"]
  },
  Flux2Scheduler: {
    title: null,
    category: "model/sampling/schedulers",
    module: "comfy_extras.nodes_flux",
    required: {
      steps: ["INT", { default: 20, min: 1, max: 4096 }],
      width: ["INT", { default: 1024, min: 16, max: 16384, step: 1 }],
      height: ["INT", { default: 1024, min: 16, max: 16384, step: 1 }]
    },
    output: ["SIGMAS"]
  },
  ManualSigmas: {
    title: null,
    category: "model/sampling/sigmas",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      sigmas: ["STRING", { default: "1, 0.5", multiline: false }]
    },
    output: ["SIGMAS"],
    experimental: true,
    aliases: ["custom noise schedule", "define sigmas"]
  },
  SplitSigmas: {
    title: null,
    category: "model/sampling/sigmas",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      sigmas: ["SIGMAS", {}],
      step: ["INT", { default: 0, min: 0, max: 10000 }]
    },
    output: ["SIGMAS", "SIGMAS"],
    names: ["high_sigmas", "low_sigmas"]
  },
  RandomNoise: {
    title: null,
    category: "model/sampling/noise",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      noise_seed: ["INT", { default: 0, min: 0, max: maxSeed, control_after_generate: true }]
    },
    output: ["NOISE"]
  },
  DisableNoise: {
    title: null,
    category: "model/sampling/noise",
    module: "comfy_extras.nodes_custom_sampler",
    required: {},
    output: ["NOISE"],
    aliases: ["zero noise"]
  },
  BasicGuider: {
    title: "Basic Guider",
    category: "model/sampling/guiders",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      model: ["MODEL", {}],
      conditioning: ["CONDITIONING", {}]
    },
    output: ["GUIDER"]
  },
  CFGGuider: {
    title: "CFG Guider",
    category: "model/sampling/guiders",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      model: ["MODEL", {}],
      positive: ["CONDITIONING", {}],
      negative: ["CONDITIONING", {}],
      cfg: ["FLOAT", { default: 8, min: 0, max: 100, step: 0.1, round: 0.01 }]
    },
    output: ["GUIDER"]
  },
  FluxGuidance: {
    title: null,
    category: "model/conditioning/flux",
    module: "comfy_extras.nodes_flux",
    required: {
      conditioning: ["CONDITIONING", {}],
      guidance: ["FLOAT", { default: 3.5, min: 0, max: 100, step: 0.1 }]
    },
    output: ["CONDITIONING"]
  },
  SamplerCustom: {
    title: null,
    category: "model/sampling/custom",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      model: ["MODEL", {}],
      add_noise: ["BOOLEAN", { advanced: true, default: true }],
      noise_seed: ["INT", { default: 0, min: 0, max: maxSeed, control_after_generate: true }],
      cfg: ["FLOAT", { default: 8, min: 0, max: 100, step: 0.1, round: 0.01 }],
      positive: ["CONDITIONING", {}],
      negative: ["CONDITIONING", {}],
      sampler: ["SAMPLER", {}],
      sigmas: ["SIGMAS", {}],
      latent_image: ["LATENT", {}]
    },
    output: ["LATENT", "LATENT"],
    names: ["output", "denoised_output"]
  },
  SamplerCustomAdvanced: {
    title: null,
    category: "model/sampling/custom",
    module: "comfy_extras.nodes_custom_sampler",
    required: {
      noise: ["NOISE", {}],
      guider: ["GUIDER", {}],
      sampler: ["SAMPLER", {}],
      sigmas: ["SIGMAS", {}],
      latent_image: ["LATENT", {}]
    },
    output: ["LATENT", "LATENT"],
    names: ["output", "denoised_output"]
  }
}
