// The inputs of a class from another server's object_info: as validation wants them, also those that come and go with
// what a prompt holds.
import type * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as Json from "@effect-comfyui/workflow/Json"
import { hasModelExtension, modelInputs } from "@effect-comfyui/workflow/ModelInputs"
import * as Option from "effect/Option"
import type { Combo, Declared, Input } from "../NodeClass.ts"
import { exact } from "./signatureDict.ts"

/** Folders of model files by what inputs of third parties are called. */
const byName: ReadonlyArray<readonly [RegExp, string]> = [
  [/clip_vision/i, "clip_vision"],
  [/ckpt|checkpoint/i, "checkpoints"],
  [/lora/i, "loras"],
  [/(^|_)vae/i, "vae"],
  [/unet|diffusion_model/i, "diffusion_models"],
  [/control_?net/i, "controlnet"],
  [/upscale/i, "upscale_models"],
  [/clip|text_encoder|t5/i, "text_encoders"],
  [/style_model/i, "style_models"]
]

/** The model folder whose files an input offers, if it is one of model files whose folder is known. */
export const folderOf = (classType: string, input: NodeInputs.Input): string | undefined => {
  if (input.kind._tag !== "Combo") return undefined
  const table = Object.hasOwn(modelInputs, classType) ? modelInputs[classType] : undefined
  if (table !== undefined) return Object.hasOwn(table, input.name) ? table[input.name] : undefined
  const { options } = input.kind
  return options.some((option) => typeof option === "string" && hasModelExtension(option))
    ? byName.find(([pattern]) => pattern.test(input.name))?.[1]
    : undefined
}

const uploads = ["image", "animated_image", "audio", "video", "file"] as const

/** What a client may upload for this input. */
export const uploadOf = (input: NodeInputs.Input): (typeof uploads)[number] | undefined =>
  uploads.find((kind) => Json.get(input.options, `${kind}_upload`) === true)

/** Classes that check their choice themselves, as object_info does not show. */
const ownChoice: ReadonlySet<string> = new Set(["CustomCombo"])

const isScalar = (value: Json.Json): value is string | number | boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"

const typeOf = (classType: string, input: NodeInputs.Input): string | Combo => {
  const { kind } = input
  switch (kind._tag) {
    case "Plain":
      return kind.types.join(",")
    case "Combo": {
      if (kind.remote || kind.multiselect || ownChoice.has(classType)) return "COMBO"
      const values = kind.options.filter(isScalar)
      const folder = folderOf(classType, input)
      return folder === undefined
        ? { _tag: "Values", values }
        : { _tag: "Folder", folder, first: values.map(String) }
    }
    case "MatchType":
      return "COMFY_MATCHTYPE_V3"
    case "DynamicSlot":
      return kind.types.join(",")
    case "DynamicCombo":
      return "COMFY_DYNAMICCOMBO_V3"
    default:
      return "*"
  }
}

const isHeldBack = (option: string): boolean => option === "options" || option === "template"

const inputOf = (classType: string, input: NodeInputs.Input): Input<unknown> => ({
  type: typeOf(classType, input),
  options: Object.fromEntries(
    Object.entries(input.options).filter(([name]) => !isHeldBack(name)).map(([name, value]) => [name, exact(value)])
  ),
  decode: Option.some
})

/** What an input stands for in validation and in a run; `template` of those that take each other's type. */
export interface Slot {
  readonly input: Input<unknown>
  readonly template: string | undefined
}

type Slots = Map<string, Slot & { readonly required: boolean }>

const isDynamic = ({ kind }: NodeInputs.Input): boolean =>
  kind._tag === "Autogrow" || kind._tag === "DynamicCombo" || kind._tag === "DynamicSlot"

const grow = (
  classType: string,
  input: NodeInputs.Input,
  at: { readonly name: string; readonly required: boolean },
  given: ReadonlyMap<string, unknown>,
  out: Slots
): void => {
  const { kind } = input
  const { name, required } = at
  switch (kind._tag) {
    case "Autogrow":
      for (const [index, key] of kind.names.entries()) {
        for (const child of kind.template) {
          const needed = child.required && index < kind.min
          grow(classType, child, { name: `${name}.${key}`, required: needed }, given, out)
        }
      }
      return
    case "DynamicCombo": {
      // A choice that is not there, or not known, is as if nothing were declared.
      const branch = kind.branches.find(({ key }) => key === given.get(name))
      if (branch === undefined) return
      out.set(name, { input: inputOf(classType, input), template: undefined, required })
      for (const child of branch.inputs) {
        grow(classType, child, { name: `${name}.${child.name}`, required: child.required }, given, out)
      }
      return
    }
    case "DynamicSlot":
      out.set(name, { input: inputOf(classType, input), template: undefined, required })
      if (!given.has(name)) return
      for (const child of kind.inputs) {
        grow(classType, child, { name: `${name}.${child.name}`, required: child.required }, given, out)
      }
      return
    default:
      out.set(name, {
        input: inputOf(classType, input),
        template: kind._tag === "MatchType" ? kind.template : undefined,
        required
      })
  }
}

/** All inputs that a class has, given those of a prompt. */
export type Slotted = (given: ReadonlyMap<string, unknown>) => ReadonlyMap<string, Slot>

const none: ReadonlyMap<string, unknown> = new Map()

/** How a class declares its inputs: once and for all, or anew for what a prompt holds. */
export const slotsOf = (classType: string, inputs: ReadonlyArray<NodeInputs.Input>): {
  readonly fixed: Declared
  readonly declare: ((given: ReadonlyMap<string, unknown>) => Declared) | undefined
  readonly slots: Slotted
} => {
  const all = (given: ReadonlyMap<string, unknown>): Slots => {
    const out: Slots = new Map()
    for (const input of inputs) grow(classType, input, input, given, out)
    return out
  }
  const declared = (slots: Slots): Declared => {
    const section = (required: boolean) =>
      Object.fromEntries(
        [...slots].filter(([, slot]) => slot.required === required).map(([name, slot]) => [name, slot.input])
      )
    return { required: section(true), optional: section(false) }
  }
  const fixed = all(none)
  return inputs.some(isDynamic)
    ? { fixed: declared(fixed), declare: (given) => declared(all(given)), slots: all }
    : { fixed: declared(fixed), declare: undefined, slots: () => fixed }
}
