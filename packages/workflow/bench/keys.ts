// What the keys cost beside JSON.stringify and SHA-256 of the same API JSON: CPU per workflow, in interleaved rounds, the
// median of the ratios. Every workflow is read anew, so nothing is known of its objects.
// npm run node -- packages/workflow/bench/keys.ts
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import * as Result from "effect/Result"
import { hash } from "node:crypto"

/** One comparison: microseconds of CPU per workflow, and ours by the reference. */
export interface Case {
  readonly name: string
  readonly ours: number
  readonly reference: number
  readonly ratio: number
}

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

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

const reference = (workflow: Workflow.Workflow): string => hash("sha256", JSON.stringify(workflow.nodes), "hex")

const compare = (
  name: string,
  text: string,
  ours: (workflow: Workflow.Workflow) => unknown,
  size: number
): Case => {
  const fresh = (): ReadonlyArray<Workflow.Workflow> =>
    Array.from({ length: size }, () => Workflow.fromNodes(JSON.parse(text)))
  const round = (index: number): { readonly ours: number; readonly reference: number } => {
    const first = fresh()
    const second = fresh()
    if (index % 2 === 0) return { ours: cost(first, ours), reference: cost(second, reference) }
    const base = cost(first, reference)
    return { ours: cost(second, ours), reference: base }
  }
  for (let index = 0; index < 6; index++) round(index)
  const rounds = Array.from({ length: 30 }, (_, index) => round(index))
  return {
    name,
    ours: median(rounds.map((one) => one.ours)),
    reference: median(rounds.map((one) => one.reference)),
    ratio: median(rounds.map((one) => one.ours / one.reference))
  }
}

const content = (workflow: Workflow.Workflow): unknown => Result.isSuccess(WorkflowKey.content(workflow))
const affinity = (workflow: Workflow.Workflow): unknown => Result.isSuccess(WorkflowKey.affinity(workflow))

/** Measures everything: some seconds. */
export const run = (): ReadonlyArray<Case> =>
  [[7, 800], [50, 150], [500, 15]].flatMap(([count = 0, size = 0]) =>
    [true, false].flatMap((titles) => {
      const text = textOf(count, titles)
      const graph = `${count} nodes${titles ? " with titles" : ""}`
      const goal = (ratio: string): string => count === 50 ? ` (goal ${ratio})` : ""
      return [
        compare(`content, ${graph}${goal("1.2")}`, text, content, size),
        compare(`affinity, ${graph}${goal("1.0")}`, text, affinity, size)
      ]
    })
  )

if (process.argv[1] === import.meta.filename) {
  for (const { name, ours, ratio, reference } of run()) {
    process.stdout.write(
      `${name.padEnd(46)} ${ratio.toFixed(2)} × JSON.stringify + SHA-256 (${ours.toFixed(1)} / ${
        reference.toFixed(1)
      } µs)\n`
    )
  }
}
