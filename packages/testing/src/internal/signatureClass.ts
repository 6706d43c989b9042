// An entry of another server's object_info as a class of the fake: that signature, and a run by rule or by another class.
import type * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Option from "effect/Option"
import type { FileContext, Hidden, Input, NodeClass } from "../NodeClass.ts"
import { folderOf, slotsOf, uploadOf } from "./signatureInputs.ts"
import { type Known, needsOf, simulate } from "./simulate.ts"

const hiddenKinds: ReadonlySet<string> = new Set<Hidden>(["PROMPT", "EXTRA_PNGINFO", "UNIQUE_ID", "DYNPROMPT"])
const isHidden = (kind: unknown): kind is Hidden => typeof kind === "string" && hiddenKinds.has(kind)

const hiddenOf = (info: ObjectInfo.NodeInfo): NodeClass["hidden"] => {
  const out: Array<readonly [string, Hidden]> = []
  for (const [name, spec] of Object.entries(info.input?.hidden ?? {})) {
    const kind = Array.isArray(spec) ? spec[0] : spec
    if (isHidden(kind)) out.push([name, kind])
  }
  return Object.fromEntries(out)
}

const textOf = (value: Json.Json | undefined): string => typeof value === "string" ? value : ""

/** A choice of files to which a client may add: any file of the server is as good as those in the list. */
const uploadCheck = (inputs: ReadonlyArray<NodeInputs.Input>) => {
  const kinds = new Map<string, { readonly kind: string; readonly listed: ReadonlyArray<Json.Json> }>()
  for (const input of inputs) {
    const kind = uploadOf(input)
    if (kind !== undefined && input.kind._tag === "Combo") {
      kinds.set(input.name, { kind: kind === "animated_image" ? "image" : kind, listed: input.kind.options })
    }
  }
  if (kinds.size === 0) return {}
  return {
    validates: [...kinds.keys()],
    validate: (name: string, value: unknown, context: FileContext) => {
      const found = kinds.get(name)
      return found === undefined || found.listed.some((option) => option === value) ||
        (typeof value === "string" && Option.isSome(context.readFile(value))) ||
        `Invalid ${found.kind} file: ${String(value)}`
    },
    changed: (given: ReadonlyMap<string, unknown>, context: FileContext) =>
      [...kinds.keys()].map((name) => {
        const value = given.get(name)
        const bytes = typeof value === "string" ? context.readFile(value) : Option.none()
        return Option.match(bytes, {
          onNone: () => "",
          onSome: (file) => `${file.length}.${file.reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 7)}`
        })
      }).join()
  }
}

/** The class that shows this entry and runs by rule. */
export const classOfEntry = (
  name: string,
  info: ObjectInfo.NodeInfo,
  inputs: ReadonlyArray<NodeInputs.Input>
): NodeClass => {
  const { declare, fixed, slots } = slotsOf(name, inputs)
  const outputs = ObjectInfo.outputs(info)
  const lazy = new Set(inputs.filter(({ options }) => Json.get(options, "lazy") === true).map((input) => input.name))
  const folders = new Map<string, string>()
  for (const input of inputs) {
    const folder = folderOf(name, input)
    if (folder !== undefined) folders.set(input.name, folder)
  }
  const known: Known = {
    class: name,
    category: textOf(info.category),
    outputs,
    outputNode: ObjectInfo.isOutput(info),
    paid: ObjectInfo.isPaid(info),
    inputIsList: info.is_input_list === true,
    slots,
    folders,
    lazy
  }
  return {
    class: name,
    ...fixed,
    ...declare === undefined ? {} : { declare },
    hidden: hiddenOf(info),
    outputs: outputs.map(({ isList, name, type }) => ({ type, name, list: isList })),
    outputNode: known.outputNode,
    inputIsList: known.inputIsList,
    async: known.paid,
    lazy,
    needs: lazy.size === 0 ? undefined : needsOf(known),
    changed: undefined,
    validates: [],
    validate: undefined,
    ...uploadCheck(inputs),
    info: {
      style: Object.hasOwn(info, "price_badge") || Object.hasOwn(info, "output_matchtypes") ? "V3" : "V1",
      displayName: typeof info.display_name === "string" ? info.display_name : null,
      category: known.category,
      module: textOf(info.python_module),
      description: textOf(info.description),
      searchAliases: undefined,
      essentials: undefined,
      deprecated: info.deprecated === true,
      paid: known.paid,
      before: []
    },
    signature: info,
    run: simulate(known)
  }
}

const inputsOf = (node: NodeClass): Readonly<Record<string, Input<unknown>>> => ({ ...node.optional, ...node.required })

/** Files stay those of the server; what the entry lists stands before them. */
const withFolder = (given: Input<unknown>, own: Input<unknown> | undefined): Input<unknown> => {
  if (own === undefined || typeof own.type === "string" || own.type._tag === "Values") return given
  if (typeof given.type === "string") return given
  const first = given.type._tag === "Values" ? given.type.values.map(String) : given.type.first ?? []
  return { ...given, type: { _tag: "Folder", folder: own.type.folder, first } }
}

/** That class with the run of one that the fake computes; undefined where they are not the same class after all. */
export const computedBy = (given: NodeClass, own: NodeClass): NodeClass | undefined => {
  const declared = inputsOf(given)
  const same = own.outputs.length === given.outputs.length &&
    own.outputs.every(({ type }, index) => type === given.outputs[index]?.type) &&
    Object.keys(own.required).every((name) => Object.hasOwn(declared, name)) &&
    own.inputIsList === given.inputIsList && (own.declare === undefined) === (given.declare === undefined)
  if (!same) return undefined
  const known = inputsOf(own)
  const section = (inputs: Readonly<Record<string, Input<unknown>>>) =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, input]) => [
        name,
        withFolder(input, Object.hasOwn(known, name) ? known[name] : undefined)
      ])
    )
  const { async, changed, lazy, needs, run, validate, validates } = own
  return {
    ...given,
    required: section(given.required),
    optional: section(given.optional),
    async,
    changed,
    lazy,
    needs,
    run,
    validate,
    validates
  }
}
