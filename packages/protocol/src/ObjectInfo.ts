/**
 * `GET /object_info`: the node classes of a server. Old-style (V1) classes leave out what they do not
 * set, V3 ones write null, and custom nodes write what they like; so nothing but the frame is checked here, and
 * `NodeInputs` makes sense of the inputs.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { splitter } from "./internal/members.ts"
import * as Wire from "./Wire.ts"

/** Inputs by name: normally `[type]` or `[type, options]`, where a type may be an array of options (an old combo). */
const inputs = Wire.nullish(Schema.Record(Schema.String, Wire.json))

const nodeInfo = Schema.Struct({
  input: Wire.nullish(Schema.Struct({ required: inputs, optional: inputs, hidden: inputs })),
  input_order: Wire.nullish(Schema.Record(Schema.String, Wire.json)),
  is_input_list: Schema.optionalKey(Wire.json),
  output: Schema.optionalKey(Wire.json),
  output_is_list: Schema.optionalKey(Wire.json),
  output_name: Schema.optionalKey(Wire.json),
  output_tooltips: Schema.optionalKey(Wire.json),
  output_matchtypes: Schema.optionalKey(Wire.json),
  name: Wire.nullish(Schema.String),
  display_name: Schema.optionalKey(Wire.json),
  description: Schema.optionalKey(Wire.json),
  python_module: Schema.optionalKey(Wire.json),
  category: Schema.optionalKey(Wire.json),
  output_node: Schema.optionalKey(Wire.json),
  has_intermediate_output: Schema.optionalKey(Wire.json),
  deprecated: Schema.optionalKey(Wire.json),
  experimental: Schema.optionalKey(Wire.json),
  dev_only: Schema.optionalKey(Wire.json),
  api_node: Schema.optionalKey(Wire.json),
  price_badge: Schema.optionalKey(Wire.json),
  search_aliases: Schema.optionalKey(Wire.json),
  essentials_category: Schema.optionalKey(Wire.json)
})

/** One class; its inputs are read with `NodeInputs.inputs`, its outputs with {@link outputs}. */
export const NodeInfo = Wire.make("node info", nodeInfo)
export type NodeInfo = Wire.Type<typeof NodeInfo>

/**
 * `GET /object_info` (megabytes) and `GET /object_info/{class}` (`{}` for an unknown one): classes by name. Classes
 * whose inputs cannot be listed are left out by the server.
 */
export const ObjectInfo = Wire.make("object info", Schema.Record(Schema.String, nodeInfo))
export type ObjectInfo = Wire.Type<typeof ObjectInfo>

/** Reads classes out of text that comes in pieces. */
export interface ClassReader {
  /** The next piece; false: what was read is not what it should be, and no more is wanted. */
  readonly feed: (piece: string) => boolean
  /** After the last piece. */
  readonly end: () => Result.Result<void, Wire.DecodeProblem>
}

/**
 * Reads the same a class at a time: `/object_info` of a server with many packs is 20 MB of text, and several times that as
 * values. `take` gets the name of each class and its text, to be read with {@link NodeInfo}, and says what is wrong with
 * it. Of a class that is sent twice the last counts; what breaks off fails, after the classes before.
 */
export const classReader = (take: (name: string, text: string) => Wire.DecodeProblem | undefined): ClassReader => {
  let problem: Wire.DecodeProblem | undefined
  let start = ""
  const { feed, isWhole } = splitter((key, value) => {
    const name = Json.parse(key)
    if (Result.isFailure(name) || typeof name.success !== "string") return false
    problem = take(name.success, value)
    if (problem !== undefined) problem = { ...problem, path: [name.success, ...problem.path] }
    return problem === undefined
  })
  return {
    feed: (piece) => {
      if (start.length < 200) start += piece.slice(0, 200)
      return feed(piece)
    },
    end: () =>
      isWhole() ? Result.void : Result.fail(problem ?? { path: [], expected: "JSON", excerpt: Wire.excerpt(start) })
  }
}

/** The class of that name, if the server has it. */
export const find = (info: ObjectInfo, classType: string): NodeInfo | undefined =>
  Object.hasOwn(info, classType) ? info[classType] : undefined

/** One output slot. A type that is a list of options is "COMBO"; `template` names the group of a match type. */
export interface Output {
  readonly name: string
  readonly type: string
  readonly isList: boolean
  readonly template: string | null
}

const at = (list: unknown, index: number): unknown => Array.isArray(list) ? list[index] : undefined

/** The output slots in order; what a class leaves out or gets wrong becomes its type's name, or false. */
export const outputs = (info: NodeInfo): ReadonlyArray<Output> => {
  const types = Array.isArray(info.output) ? info.output : []
  return types.map((declared, index) => {
    const type = typeof declared === "string" ? declared : Array.isArray(declared) ? "COMBO" : "*"
    const name = at(info.output_name, index)
    const template = at(info.output_matchtypes, index)
    return {
      name: typeof name === "string" ? name : type,
      type,
      isList: at(info.output_is_list, index) === true,
      template: typeof template === "string" ? template : null
    }
  })
}

/** Whether the class makes a graph worth running: at least one such node is needed. */
export const isOutput = (info: NodeInfo): boolean => info.output_node === true

/** Whether the class calls a paid service. */
export const isPaid = (info: NodeInfo): boolean => info.api_node === true
