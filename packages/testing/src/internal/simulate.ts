// How a class runs of which only the signature is known: by rules, from its types and names.
import type * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import { namesModel } from "@effect-comfyui/workflow/ModelInputs"
import * as Result from "effect/Result"
import { Weights } from "../Hardware.ts"
import { digest, Latent, Simulated, type Traits } from "../ModelValue.ts"
import type { NodeContext } from "../NodeClass.ts"
import * as Picture from "../Picture.ts"
import * as Plan from "../Plan.ts"
import { isInt } from "./py.ts"
import type { Slotted } from "./signatureInputs.ts"
import { save } from "./simulatedSave.ts"
import { type Given, keyOf, modelsOf, numberOf, outputValue, type Source } from "./simulatedValue.ts"

/** A class as its signature shows it. */
export interface Known {
  readonly class: string
  readonly category: string
  readonly outputs: ReadonlyArray<ObjectInfo.Output>
  readonly outputNode: boolean
  readonly paid: boolean
  readonly inputIsList: boolean
  readonly slots: Slotted
  /** By input, the folder that its files are in. */
  readonly folders: ReadonlyMap<string, string>
  /** Names of the lazy inputs. */
  readonly lazy: ReadonlySet<string>
}

/** Bytes of a model file that the real server has and this one was not told of. */
const someBytes = 100_000_000
/** What anything else takes, milliseconds; and a partner's service. */
const smallMs = 5
const partnerMs = 2_000
const maxSteps = 10_000
const maxSide = 16_384
/** Samples of one simulated batch: three of them per pixel. */
const maxPixels = 300_000_000

const givenOf = (known: Known, inputs: ReadonlyMap<string, unknown>): ReadonlyArray<Given> => {
  const out: Array<Given> = []
  for (const [name, slot] of known.slots(inputs)) {
    const value = inputs.get(name)
    if (value === undefined) continue
    out.push({ name, slot, values: known.inputIsList && Array.isArray(value) ? value : [value] })
  }
  return out
}

const chooser = /^(switch|condition|boolean|bool|select|index|input|choice|value|on)$/i
const truths = /(^|_|\.)(on_)?(true|yes|then|a|1)$/i
const falsehoods = /(^|_|\.)(on_)?(false|no|else|b|0)$/i

/** Which of several inputs a switch lets through, by what it says: a truth or a number from 0 or 1 on. */
const pickOf = (given: ReadonlyArray<Given>, candidates: ReadonlyArray<string>): string | undefined => {
  if (candidates.length < 2) return candidates[0]
  for (const { name, values: [value] } of given) {
    if (!chooser.test(name) || candidates.includes(name)) continue
    if (typeof value === "boolean") {
      return candidates.find((candidate) => (value ? truths : falsehoods).test(candidate)) ?? candidates[value ? 0 : 1]
    }
    if (!isInt(value)) continue
    const number = Number(value)
    const named = candidates.find((candidate) => Number(/(\d+)$/.exec(candidate)?.[1] ?? "NaN") === number)
    return named ?? candidates[Math.min(candidates.length - 1, Math.max(0, number))]
  }
  return undefined
}

const passing = /switch|reroute|primitive|pass.?through|if.?else|any_?(select|index|input)/i

const isPassing = ({ category, class: name, outputs }: Known): boolean =>
  passing.test(name) || /primitive|logic/i.test(category) ||
  outputs.some(({ type }) => type === "COMFY_MATCHTYPE_V3" || type === "*")

/** Inputs that a switch chooses among: lazy ones, or those of the type that goes through. */
const candidatesOf = (known: Known, given: ReadonlyArray<Given>): ReadonlyArray<string> =>
  known.lazy.size > 0
    ? given.filter(({ name }) => known.lazy.has(name)).map(({ name }) => name)
    : given.filter(({ slot }) =>
      slot.template !== undefined || slot.input.type === "*" || slot.input.type === known.outputs[0]?.type
    ).map(({ name }) => name)

/** The lazy inputs that a class wants: the one that its switch chooses, or all of them. */
export const needsOf = (known: Known) => (inputs: ReadonlyMap<string, unknown>): ReadonlyArray<string> => {
  const given = givenOf(known, inputs)
  const candidates = candidatesOf(known, given)
  const chosen = pickOf(given, candidates)
  return chosen === undefined ? candidates : [chosen]
}

interface Size {
  readonly width: number
  readonly height: number
  readonly batch: number
}

const sizeIn = (value: unknown): Pick<Traits, "width" | "height" | "batch"> =>
  value instanceof Picture.Picture || value instanceof Latent ? value : value instanceof Simulated ? value.traits : {}

const clamp = (value: number | undefined): number | undefined =>
  value === undefined || value < 1 ? undefined : Math.min(maxSide, value)

/** How large what comes out is: as the inputs say, else as the first picture, else 512×512. */
const sizeOf = (given: ReadonlyArray<Given>): Size => {
  let from: Pick<Traits, "width" | "height" | "batch"> = {}
  for (const { values: [value] } of given) if (from.width === undefined) from = sizeIn(value)
  const width = clamp(numberOf(given, ["width", "target_width"])) ?? from.width ?? 512
  const height = clamp(numberOf(given, ["height", "target_height"])) ?? from.height ?? 512
  const batch = numberOf(given, ["length", "num_frames", "frames", "batch_size"]) ?? from.batch ?? 1
  return { width, height, batch: Math.max(1, Math.min(batch, Math.floor(maxPixels / (width * height)))) }
}

/** Numbers of a text of sigmas: one step between each two. */
const stepsInText = (value: unknown): number | undefined =>
  typeof value !== "string"
    ? undefined
    : Math.max(0, value.split(/[\s,;]+/).filter((part) => part !== "" && Number.isFinite(Number(part))).length - 1)

const stepsOf = (given: ReadonlyArray<Given>): number | undefined => {
  const asked = numberOf(given, ["steps", "num_steps", "num_inference_steps", "sampling_steps"])
  if (asked !== undefined) return Math.max(0, Math.min(maxSteps, asked))
  for (const { name, values: [value] } of given) {
    if (value instanceof Simulated && value.traits.steps !== undefined) return value.traits.steps
    if (name === "sigmas") {
      const steps = stepsInText(value)
      if (steps !== undefined) return Math.min(maxSteps, steps)
    }
  }
  return undefined
}

/** Whether it samples: it has steps, and what they are made with. */
const samples = (known: Known, given: ReadonlyArray<Given>): boolean =>
  !known.paid && known.outputs.some(({ type }) => type !== "SIGMAS" && type !== "SAMPLER" && type !== "GUIDER") &&
  modelsOf(given).length > 0 && !known.outputs.every(({ type }) => type === "MODEL")

/** The model files that inputs name, with what they weigh. */
const filesOf = (known: Known, given: ReadonlyArray<Given>, context: NodeContext) =>
  given.flatMap(({ name, slot, values: [value] }) => {
    if (typeof slot.input.type === "string" && slot.input.type !== "COMBO") return []
    if (typeof value !== "string" || !namesModel(known.class, name, value)) return []
    const folder = known.folders.get(name)
    const bytes = folder === undefined ? undefined : context.modelBytes(folder, value)
    return [{ name: value, bytes: bytes ?? someBytes }]
  })

const sampling = (known: Known, source: Source, steps: number, context: NodeContext): ReadonlyArray<Plan.Step> => {
  const { batch, given, height, key, width } = source
  const pixels = width * height * batch
  const preview = (step: number): Plan.Preview | undefined =>
    context.previews.enabled && known.outputs.some(({ type }) => type === "LATENT" || type === "IMAGE")
      ? {
        format: "JPEG",
        picture: Picture.imagine(Math.ceil(width / 8), Math.ceil(height / 8), 1, key, 1 - step / steps)
      }
      : undefined
  return [
    Plan.load(modelsOf(given), context.workBytes(pixels)),
    ...Plan.progress({ count: steps, ms: context.stepMs(pixels), preview })
  ]
}

/** One run: reads files, samples, saves, lets through or makes up, as the signature suggests. */
export const simulate = (known: Known) => (inputs: ReadonlyMap<string, unknown>, context: NodeContext): Plan.Plan => {
  const given = givenOf(known, inputs)
  const files = filesOf(known, given, context)
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const steps = stepsOf(given)
  const shows = known.outputNode && !known.paid
  const passes = shows || isPassing(known)
  const chosen = passes && !shows ? pickOf(given, candidatesOf(known, given)) : undefined
  const source: Source = {
    class: known.class,
    given,
    key: digest(known.class, ...given.map(({ name, values }) => `${name}=${values.map(keyOf).join("\u0001")}`)),
    ...sizeOf(given),
    steps,
    shows,
    chosen: given.find(({ name }) => name === chosen),
    weights: files.length === 0
      ? undefined
      : new Weights(files.map(({ name }) => name).join(", "), Math.floor(bytes / Math.max(1, known.outputs.length)))
  }
  const used = modelsOf(given)
  const work: ReadonlyArray<Plan.Step> = files.length > 0
    ? [Plan.wait(context.diskMs(bytes))]
    : steps !== undefined && samples(known, given)
    ? sampling(known, source, steps, context)
    : known.outputs.some(({ type }) => type === "MODEL" || type === "CLIP" || type === "VAE") || used.length === 0
    ? [Plan.wait(known.paid ? partnerMs : smallMs)]
    : [Plan.load(used, context.workBytes(source.width * source.height)), Plan.wait(smallMs)]
  const saved = shows ? save(source, context) : Result.succeed(undefined)
  if (Result.isFailure(saved)) return saved.failure
  const outputs = known.outputs.map((output, index) => outputValue(output, index, source, passes))
  return Plan.returns(outputs, saved.success === undefined ? { steps: work } : { steps: work, ui: saved.success })
}
