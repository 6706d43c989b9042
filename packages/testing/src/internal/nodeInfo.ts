// object_info: how a class is described, in the shape of its release and its style.
import type { Combo, Input, NodeClass } from "../NodeClass.ts"
import { type Dict, dict, fromJs, isDict, isList, type Py } from "./py.ts"
import { signatureDict } from "./signatureDict.ts"
import type { State } from "./state.ts"

const floatOptions = new Set(["default", "min", "max", "step", "round"])

const optionsDict = (input: Input<unknown>): Dict => {
  const out: Dict = new Map()
  for (const [key, value] of Object.entries(input.options)) {
    if (value === undefined) continue
    out.set(key, fromJs(value, input.type === "FLOAT" && floatOptions.has(key)))
  }
  return out
}

/** The files of a folder: `input`, or one with models. */
export const folderNames = (state: State, folder: string): ReadonlyArray<string> =>
  folder === "input"
    ? state.files.list("input", false).map((file) => file.name).toSorted()
    : [...state.settings.models.get(folder)?.keys() ?? []].toSorted()

export const comboValues = (state: State, combo: Combo): ReadonlyArray<Py> =>
  combo._tag === "Values"
    ? combo.values.map((value) => fromJs(value))
    : [...new Set([...combo.first ?? [], ...folderNames(state, combo.folder)])]

/** What the class says about an input: `[type, options]`, as errors show it too. */
export const inputConfig = (state: State, node: NodeClass, input: Input<unknown>): readonly [Py, Dict] => {
  const options = optionsDict(input)
  if (typeof input.type === "string") return [input.type, options]
  const values = comboValues(state, input.type)
  if (node.info.style === "V1") return [values, options]
  const out: Dict = new Map<string, Py>([["multiselect", false], ...options, ["options", values]])
  return ["COMBO", out]
}

const inputDict = (state: State, node: NodeClass, inputs: Readonly<Record<string, Input<unknown>>>): Dict => {
  const out: Dict = new Map()
  for (const [name, input] of Object.entries(inputs)) {
    const [type, options] = inputConfig(state, node, input)
    const bare = options.size === 0 && node.info.style === "V1" && input.bare !== false
    out.set(name, bare ? [type] : [type, options])
  }
  return out
}

/** A combo of files as given, with those that the server has besides. */
const withFiles = (spec: Py, files: ReadonlyArray<Py>): Py => {
  if (!isList(spec)) return spec
  const [type = null, options = null] = spec
  if (isList(type)) return type.length < files.length ? [files, ...spec.slice(1)] : spec
  const listed = isDict(options) ? options.get("options") : undefined
  return isDict(options) && isList(listed) && listed.length < files.length
    ? [type, new Map(options).set("options", files), ...spec.slice(2)]
    : spec
}

/** An entry of another server's object_info, as it was given but for lists of files. */
const shownSignature = (state: State, node: NodeClass, signature: object): Dict => {
  const given = signatureDict(signature)
  const inputs = given.get("input")
  if (!isDict(inputs)) return given
  const out: Dict = new Map(inputs)
  for (const section of ["required", "optional"] as const) {
    const specs = inputs.get(section)
    if (!isDict(specs)) continue
    const shown: Dict = new Map(specs)
    for (const [name, input] of Object.entries(node[section])) {
      if (typeof input.type === "string" || input.type._tag === "Values") continue
      shown.set(name, withFiles(specs.get(name) ?? null, comboValues(state, input.type)))
    }
    out.set(section, shown)
  }
  return new Map(given).set("input", out)
}

const nodeInfo = (state: State, node: NodeClass): Dict => {
  if (node.signature !== undefined) return shownSignature(state, node, node.signature)
  const { objectInfo } = state.profile
  const v3 = node.info.style === "V3"
  const input: Dict = new Map()
  const order: Dict = new Map()
  const section = (name: string, inputs: Dict, always: boolean): void => {
    if (inputs.size === 0 && !always) return
    input.set(name, inputs)
    order.set(name, [...inputs.keys()])
  }
  section("required", inputDict(state, node, node.required), v3 || Object.keys(node.optional).length === 0)
  section("optional", inputDict(state, node, node.optional), false)
  const hidden: Dict = new Map()
  for (const [name, kind] of Object.entries(node.hidden)) hidden.set(name, v3 ? [kind] : kind)
  section("hidden", hidden, false)
  const { info } = node
  const out: Dict = new Map()
  out.set("input", input)
  out.set("input_order", order)
  if (objectInfo.inputList) out.set("is_input_list", node.inputIsList)
  out.set("output", node.outputs.map((output) => output.type))
  out.set("output_is_list", node.outputs.map((output) => output.list ?? false))
  out.set("output_name", node.outputs.map((output) => output.name ?? output.type))
  if (v3) {
    out.set("output_tooltips", node.outputs.map(() => null))
    if (objectInfo.searchAliases) out.set("output_matchtypes", null)
  }
  out.set("name", node.class)
  out.set("display_name", info.displayName)
  out.set("description", info.description)
  out.set("python_module", info.module)
  out.set("category", info.category)
  out.set("output_node", node.outputNode)
  if (v3) {
    out.set("deprecated", info.deprecated)
    out.set("experimental", false)
    if (objectInfo.searchAliases) out.set("dev_only", false)
    out.set("api_node", info.paid)
    if (objectInfo.searchAliases) {
      out.set("price_badge", null)
      out.set("search_aliases", info.searchAliases === undefined ? null : [...info.searchAliases])
    }
    if (objectInfo.essentials) out.set("essentials_category", info.essentials ?? null)
    if (objectInfo.intermediateOutput) out.set("has_intermediate_output", false)
    return out
  }
  if (objectInfo.intermediateOutput) out.set("has_intermediate_output", false)
  if (info.deprecated) out.set("deprecated", true)
  if (info.paid) out.set("api_node", true)
  if (objectInfo.searchAliases) out.set("search_aliases", [...info.searchAliases ?? []])
  if (objectInfo.essentials && info.essentials !== undefined) out.set("essentials_category", info.essentials)
  return out
}

const parts = (version: string): ReadonlyArray<number> => version.split(".").map(Number)

/** Compares numerically: 0.3.77 is older than 0.12.1. */
const older = (a: string, b: string): boolean => {
  const x = parts(a)
  const y = parts(b)
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0)
    if (difference !== 0) return difference < 0
  }
  return false
}

/** The class as this release has it. */
export const nodeOf = (node: NodeClass, version: string): NodeClass => {
  const then = node.info.before.find((entry) => older(version, entry.version))
  if (then === undefined) return node
  return {
    ...node,
    outputs: then.outputs ?? node.outputs,
    info: {
      ...node.info,
      displayName: then.displayName === undefined ? node.info.displayName : then.displayName,
      category: then.category ?? node.info.category,
      style: then.style ?? node.info.style
    }
  }
}

export const objectInfo = (state: State): Dict => {
  const out: Dict = new Map()
  for (const [name, node] of state.nodes) out.set(name, nodeInfo(state, node))
  return out
}

export const objectInfoOf = (state: State, name: string): Dict => {
  const node = state.nodes.get(name)
  return node === undefined ? dict({}) : new Map([[name, nodeInfo(state, node)]])
}
