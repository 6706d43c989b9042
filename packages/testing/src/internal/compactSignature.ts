// A class's signature, written down shortly, as the entry of object_info that it stands for.
import * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import type * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import type { Json, JsonObject } from "@effect-comfyui/workflow/Json"
import type { NodeClass } from "../NodeClass.ts"
import { classOfEntry } from "./signatureClass.ts"

/** What is left out is what most classes have. */
export interface Compact {
  readonly title: string | null
  readonly category: string
  readonly module: string
  readonly required?: JsonObject
  readonly optional?: JsonObject
  readonly hidden?: Readonly<Record<string, string>>
  readonly output: ReadonlyArray<string>
  /** Names of the outputs; their types, if absent. */
  readonly names?: ReadonlyArray<string>
  readonly lists?: ReadonlyArray<boolean>
  /** By output, the group of inputs whose type it takes. */
  readonly templates?: ReadonlyArray<string | null>
  readonly outputNode?: boolean
  readonly inputIsList?: boolean
  readonly deprecated?: boolean
  readonly experimental?: boolean
  readonly aliases?: ReadonlyArray<string>
  readonly essentials?: string
  /** Written in Python's old way. */
  readonly old?: boolean
}

const sections = (of: Compact, hidden: JsonObject | undefined): Readonly<Record<string, JsonObject>> => ({
  ...of.required === undefined ? {} : { required: of.required },
  ...of.optional === undefined ? {} : { optional: of.optional },
  ...hidden === undefined ? {} : { hidden }
})

const hiddenOf = ({ hidden, old }: Compact): JsonObject | undefined =>
  hidden === undefined || old === true
    ? hidden
    : Object.fromEntries(Object.entries(hidden).map(([name, kind]) => [name, [kind]]))

/** The entry of object_info. */
const entryOf = (name: string, of: Compact): ObjectInfo.NodeInfo => {
  const input = sections(of, hiddenOf(of))
  const order: Record<string, Json> = {}
  for (const [section, members] of Object.entries(input)) order[section] = Object.keys(members)
  return {
    input,
    input_order: order,
    is_input_list: of.inputIsList ?? false,
    output: of.output,
    output_is_list: of.lists ?? of.output.map(() => false),
    output_name: of.names ?? of.output,
    output_tooltips: of.output.map(() => null),
    output_matchtypes: of.templates ?? null,
    name,
    display_name: of.title,
    description: "",
    python_module: of.module,
    category: of.category,
    output_node: of.outputNode ?? false,
    deprecated: of.deprecated ?? false,
    experimental: of.experimental ?? false,
    dev_only: false,
    api_node: false,
    price_badge: null,
    search_aliases: of.aliases ?? null,
    essentials_category: of.essentials ?? null,
    has_intermediate_output: false
  }
}

/** The class that runs by rule. It is shown as its release shows classes, where that can show all of it. */
export const compactClass = (name: string, of: Compact): NodeClass => {
  const entry = entryOf(name, of)
  const { signature, ...node } = classOfEntry(name, entry, NodeInputs.inputs(entry))
  const info = {
    ...node.info,
    style: of.old === true ? "V1" as const : "V3" as const,
    searchAliases: of.aliases,
    essentials: of.essentials
  }
  const whole = node.declare === undefined && of.experimental !== true && of.templates === undefined
  return whole || signature === undefined ? { ...node, info } : { ...node, info, signature }
}
