import type { Json, JsonObject } from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowError, WorkflowReason } from "@effect-comfyui/workflow/WorkflowError"
import * as Result from "effect/Result"
import * as fc from "fast-check"

export const get = <A, E>(result: Result.Result<A, E>): A => Result.getOrThrow(result)

export const reasonOf = <A>(result: Result.Result<A, WorkflowError>): WorkflowReason =>
  Result.getOrThrow(Result.flip(result)).reason

/**
 * A value that has canonical text: lone surrogates, NaN and infinities have none. It survives its own text, too: integers
 * beyond 2^53 are bigints.
 */
const hashable = (big: boolean): fc.Arbitrary<Json> =>
  fc.letrec<{ json: Json }>((tie) => ({
    json: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.oneof(
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) =>
          !Number.isInteger(value) || Number.isSafeInteger(value)
        ),
        fc.string({ unit: "binary" }),
        fc.constantFrom("\"quoted\"", "a\\b\n\t\r", "\u007f", "é", "漢字", "🎨", ""),
        ...(big ? [fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n })] : [])
      ),
      fc.array(tie("json"), { maxLength: 4 }),
      fc.dictionary(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("10", "9", "a")), tie("json"), {
        maxKeys: 4
      })
    )
  })).json

export const json: fc.Arbitrary<Json> = hashable(true)

const inputName = fc.oneof(
  fc.constantFrom("model", "clip", "images.image0", "seed", "10", "9", "toString"),
  fc.string({ unit: "binary", minLength: 1 }).filter((name) => !Workflow.isForbidden(name))
)

const nodeId = fc.oneof(
  fc.nat({ max: 99 }).map(String),
  fc.constantFrom("57:8", "57:8:1", "4.0.0.3", "hasOwnProperty", "a b"),
  fc.string({ unit: "binary", minLength: 1 }).filter((name) => !Workflow.isForbidden(name))
)

const classTypes = ["CheckpointLoaderSimple", "KSampler", "CLIPTextEncode", "VAEDecode", "SaveImage", "constructor"]

/** A graph without circles whose every link leads to a node: each node takes from nodes before it. */
const graphOf = (value: fc.Arbitrary<Json>): fc.Arbitrary<Workflow.Workflow> =>
  fc.uniqueArray(nodeId, { minLength: 1, maxLength: 8 }).chain((ids) =>
    fc.tuple(...ids.map((_, index) =>
      fc.record({
        class_type: fc.constantFrom(...classTypes),
        inputs: fc.dictionary(
          inputName,
          index === 0
            ? value
            : fc.oneof(
              value,
              fc.tuple(fc.nat({ max: index - 1 }).map((at) => ids[at] ?? ""), fc.nat({ max: 3 }))
            ),
          { maxKeys: 5 }
        )
      })
    )).map((nodes) => Workflow.fromNodes(Object.fromEntries(ids.map((id, index) => [id, nodes[index] ?? empty]))))
  ).filter((workflow) => Result.isSuccess(Workflow.check(workflow)))

const empty: Workflow.Node = { class_type: "", inputs: {} }

export const workflow: fc.Arbitrary<Workflow.Workflow> = graphOf(hashable(true))
/** Without integers beyond 2^53, so that other canonicalisers can write it. */
export const plainWorkflow: fc.Arbitrary<Workflow.Workflow> = graphOf(hashable(false))

export const node = (class_type: string, inputs: JsonObject = {}): Workflow.Node => ({ class_type, inputs })

/** Freezes a value to its leaves: whoever writes to it throws. */
export const freeze = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const member of Object.values(value)) freeze(member)
  }
  return value
}

/** The usual text-to-image graph, written with these values. */
export const textToImage = (values: {
  readonly checkpoint?: string
  readonly seed?: Json
  readonly text?: string
  readonly width?: number
} = {}): Workflow.Workflow =>
  Workflow.fromNodes({
    "4": node("CheckpointLoaderSimple", { ckpt_name: values.checkpoint ?? "base.safetensors" }),
    "5": node("EmptyLatentImage", { width: values.width ?? 512, height: 512, batch_size: 1 }),
    "6": node("CLIPTextEncode", { text: values.text ?? "a lighthouse", clip: ["4", 1] }),
    "7": node("CLIPTextEncode", { text: "blurry", clip: ["4", 1] }),
    "3": node("KSampler", {
      seed: values.seed ?? 1,
      steps: 20,
      cfg: 8,
      sampler_name: "euler",
      scheduler: "normal",
      denoise: 1,
      model: ["4", 0],
      positive: ["6", 0],
      negative: ["7", 0],
      latent_image: ["5", 0]
    }),
    "8": node("VAEDecode", { samples: ["3", 0], vae: ["4", 2] }),
    "9": node("SaveImage", { filename_prefix: "out", images: ["8", 0] })
  })
