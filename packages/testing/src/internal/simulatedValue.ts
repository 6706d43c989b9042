// What a simulated node gives for an output: something of its type that follows from all of its inputs.
import type * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import { Conditioning, digest, Latent, Model, pictureKey, Simulated } from "../ModelValue.ts"
import * as NodeClass from "../NodeClass.ts"
import * as Picture from "../Picture.ts"
import { valueText } from "./failure.ts"
import { isInt, numeric } from "./py.ts"
import type { Slot } from "./signatureInputs.ts"

/** One input as it came: items of a list stand one after the other. */
export interface Given {
  readonly name: string
  readonly slot: Slot
  readonly values: ReadonlyArray<unknown>
}

/** What the outputs of one run are made from. */
export interface Source {
  readonly class: string
  readonly given: ReadonlyArray<Given>
  readonly key: string
  readonly width: number
  readonly height: number
  readonly batch: number
  /** How many steps a sampler makes with what comes out. */
  readonly steps: number | undefined
  /** Whose value goes through, where the class does nothing but choose or hold one. */
  readonly chosen: Given | undefined
  /** An output node gives on what it shows: the input of the output's type. */
  readonly shows: boolean
  /** The weights in files that the class read. */
  readonly weights: Model["weights"]
}

/** Types whose values have weights. */
const models: ReadonlySet<string> = new Set(["MODEL", "CLIP", "VAE", "CONTROL_NET", "UPSCALE_MODEL", "CLIP_VISION"])

/** A text that says what a value is. */
export const keyOf = (value: unknown): string => {
  if (value instanceof Picture.Picture) return pictureKey(value)
  if (
    value instanceof Model || value instanceof Conditioning || value instanceof Latent || value instanceof Simulated
  ) return value.key
  return Array.isArray(value) ? value.map(keyOf).join("\u0001") : valueText(value)
}

/** Every model among the inputs and within them. */
export const modelsOf = (given: ReadonlyArray<Given>): ReadonlyArray<Model> =>
  given.flatMap(({ values }) =>
    values.flatMap((value) =>
      value instanceof Model
        ? [value]
        : value instanceof Conditioning
        ? value.controls
        : value instanceof Simulated
        ? value.traits.models ?? []
        : []
    )
  )

const typesOf = ({ slot }: Given): ReadonlyArray<string> =>
  typeof slot.input.type === "string" ? slot.input.type.split(",") : ["COMBO"]

/** The first value of an input that is declared with this type. */
const firstOf = (type: string, given: ReadonlyArray<Given>): unknown =>
  given.find((one) => typesOf(one).includes(type) && one.values[0] !== null && one.values[0] !== undefined)?.values[0]

/** The first whole number of an input of one of these names. */
export const numberOf = (given: ReadonlyArray<Given>, names: ReadonlyArray<string>): number | undefined => {
  for (const name of names) {
    const value = given.find((one) => one.name === name || one.name.endsWith(`.${name}`))?.values[0]
    const found = isInt(value) ? numeric(value) : undefined
    if (found !== undefined) return Number(found)
  }
  return undefined
}

/** A value that goes through as it is: of the chosen input, else of the first that takes the same type. */
const through = (output: ObjectInfo.Output, { chosen, given, shows }: Source): unknown =>
  shows
    ? firstOf(output.type, given)
    : chosen?.values[0] ??
      given.find(({ slot }) => output.template !== null && slot.template === output.template)?.values[0] ??
      firstOf(output.type, given) ?? firstOf("*", given) ?? firstOf("COMFY_MATCHTYPE_V3", given)

const pictureOf = (source: Source, key: string): Picture.Picture => {
  const imagined = Picture.imagine(source.width, source.height, source.batch, key)
  const from = source.given.flatMap(({ values }) => values).find((value) =>
    value instanceof Picture.Picture && value.channels !== 1
  )
  return from instanceof Picture.Picture && from.width === source.width && from.height === source.height
    ? Picture.mix(from, imagined, 0.25)
    : imagined
}

const integer = (output: ObjectInfo.Output, source: Source, key: string): unknown => {
  const name = output.name.toLowerCase()
  if (name.includes("width")) return source.width
  if (name.includes("height")) return source.height
  if (name.includes("batch") || name.includes("frames")) return source.batch
  return firstOf("INT", source.given) ?? Picture.hash(key) % 1000
}

const valueOfType = (type: string, output: ObjectInfo.Output, index: number, source: Source): unknown => {
  const { batch, given, height, width } = source
  const key = digest(source.key, index, type)
  switch (type) {
    case "IMAGE":
      return pictureOf(source, key)
    case "MASK":
      return Picture.channel(Picture.imagine(width, height, batch, key), 0, false)
    case "LATENT":
      return new Latent({ width, height, batch }, key, undefined)
    case "CONDITIONING":
      return new Conditioning(key, modelsOf(given).filter((model) => model.type === "CONTROL_NET"))
    case "INT":
      return integer(output, source, key)
    case "FLOAT":
      return firstOf("FLOAT", given) ?? NodeClass.asFloat(Picture.hash(key) / 2 ** 32)
    case "BOOLEAN":
      return firstOf("BOOLEAN", given) ?? false
    case "STRING":
      return firstOf("STRING", given) ?? `${source.class} ${key}`
    case "COMBO":
      return firstOf("COMBO", given) ?? `${source.class} ${key}`
    case "*":
    case "COMFY_MATCHTYPE_V3":
      return through(output, source) ?? new Simulated(type, key)
  }
  if (models.has(type) || source.weights !== undefined) {
    const base = modelsOf(given).find((model) => model.type === type)
    return new Model(type, key, base?.weights ?? source.weights)
  }
  return new Simulated(type, key, { width, height, batch, steps: stepsAt(index, source), models: modelsOf(given) })
}

/** What splits SIGMAS at a step gives the steps before it, then those after it. */
const stepsAt = (index: number, { given, steps }: Source): number | undefined => {
  const split = numberOf(given, ["step"])
  if (steps === undefined || split === undefined) return steps
  return index === 0 ? Math.min(steps, split) : Math.max(0, steps - split)
}

/** The value of one output; of a type that is one of several, of the first of them. */
export const outputValue = (output: ObjectInfo.Output, index: number, source: Source, passes: boolean): unknown => {
  const type = output.type.split(",")[0] ?? "*"
  const value = (passes ? through(output, source) : undefined) ?? valueOfType(type, output, index, source)
  return output.isList ? [value] : value
}
