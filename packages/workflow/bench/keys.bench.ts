// What the keys cost beside JSON.stringify and SHA-256 of the same API JSON of 50 nodes: CPU per workflow, in turns. Every
// workflow is read anew, so nothing is known of its objects.
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as Result from "effect/Result"
import { hash } from "node:crypto"

const prose = "a lighthouse on a cliff at dusk, long exposure, \"silver\" sea, volumetric light, film grain, 35 mm"

/** Ten nodes of one branch of a graph: loaders, prompts, a sampler and an output. */
const branch = (at: number): ReadonlyArray<readonly [classType: string, title: string, inputs: object]> => {
  const id = (offset: number): string => String(at + offset)
  const seed = 1_000_000_007 * (at + 3)
  return [
    ["CheckpointLoaderSimple", "Load Checkpoint", { ckpt_name: `base-${at % 20}.safetensors` }],
    ["LoraLoader", "Load LoRA", {
      lora_name: `styles/detail-${at}.safetensors`,
      strength_model: 0.8,
      strength_clip: 1,
      model: [id(0), 0],
      clip: [id(0), 1]
    }],
    ["CLIPTextEncode", "CLIP Text Encode (Prompt)", { text: `${prose}, ${at}`, clip: [id(1), 1] }],
    ["CLIPTextEncode", "CLIP Text Encode (Prompt)", { text: "blurry, text, watermark", clip: [id(1), 1] }],
    ["EmptyLatentImage", "Empty Latent Image", { width: 1024, height: 1024 + at, batch_size: 1 }],
    ["KSampler", "KSampler", {
      seed,
      steps: 28,
      cfg: 6.5,
      sampler_name: "dpmpp_2m",
      scheduler: "karras",
      denoise: 1,
      model: [id(1), 0],
      positive: [id(2), 0],
      negative: [id(3), 0],
      latent_image: [id(4), 0]
    }],
    ["LatentUpscaleBy", "Upscale Latent By", { upscale_method: "nearest-exact", scale_by: 1.5, samples: [id(5), 0] }],
    ["KSamplerAdvanced", "KSampler (Advanced)", {
      add_noise: "enable",
      noise_seed: seed + 1,
      steps: 20,
      cfg: 5.5,
      sampler_name: "euler",
      scheduler: "normal",
      start_at_step: 8,
      end_at_step: 10000,
      return_with_leftover_noise: "disable",
      model: [id(1), 0],
      positive: [id(2), 0],
      negative: [id(3), 0],
      latent_image: [id(6), 0]
    }],
    ["VAEDecode", "VAE Decode", { samples: [id(7), 0], vae: [id(0), 2] }],
    ["SaveImage", "Save Image", { filename_prefix: `out/${at}/picture`, images: [id(8), 0] }]
  ]
}

/** API JSON of so many nodes, as the editor exports it: with titles, or without. */
const textOf = (count: number, titles: boolean): string => {
  const branches = Array.from({ length: Math.ceil(count / 10) }, (_, index) => branch(index * 10 + 1)).flat()
  const nodes = branches.slice(0, count).map(([class_type, title, inputs], index) =>
    [String(index + 1), titles ? { inputs, class_type, _meta: { title } } : { inputs, class_type }] as const
  )
  return JSON.stringify(Object.fromEntries(nodes))
}

/** CPU per workflow in microseconds. */
const cost = (workflows: ReadonlyArray<Workflow.Workflow>, run: (workflow: Workflow.Workflow) => unknown): number => {
  const start = process.cpuUsage()
  for (const workflow of workflows) run(workflow)
  const used = process.cpuUsage(start)
  return (used.user + used.system) / workflows.length
}

const reference = (workflow: Workflow.Workflow): string => hash("sha256", JSON.stringify(workflow.nodes), "hex")

const size = 100
const batches = 12

const samples = (text: string, ours: (workflow: Workflow.Workflow) => unknown) => () => {
  const fresh = (): ReadonlyArray<Workflow.Workflow> =>
    Array.from({ length: size }, () => Workflow.fromNodes(JSON.parse(text)))
  /** Small batches by turns: what the collector does with the texts read before falls on both sides alike. */
  const round = () => {
    const sum = { ours: 0, reference: 0 }
    for (let batch = 0; batch < batches; batch++) {
      if (batch % 2 === 0) sum.ours += cost(fresh(), ours)
      sum.reference += cost(fresh(), reference)
      if (batch % 2 === 1) sum.ours += cost(fresh(), ours)
    }
    return { ours: sum.ours / batches, reference: sum.reference / batches, ratio: sum.ours / sum.reference }
  }
  for (let warm = 0; warm < 4; warm++) round()
  return Array.from({ length: 30 }, round)
}

const content = (workflow: Workflow.Workflow): unknown => Result.isSuccess(WorkflowKey.content(workflow))
const affinity = (workflow: Workflow.Workflow): unknown => Result.isSuccess(WorkflowKey.affinity(workflow))

const titled = textOf(50, true)
const bare = textOf(50, false)
const common = { noise: "close", measure: "samples", unit: "µs/workflow" }

/** With titles, as the editor exports a prompt; `-bare`: without, so that the reference has less to write. */
export const cases = [
  { name: "content-key", goal: { max: 1.2 }, ...common, samples: samples(titled, content) },
  { name: "content-key-bare", goal: { max: 1.2 }, ...common, samples: samples(bare, content) },
  { name: "affinity-key", goal: { max: 1 }, ...common, samples: samples(titled, affinity) }
]
