/** The inputs of a node class as values that a program can walk, whatever wrote them. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as ObjectInfo from "./ObjectInfo.ts"

/** `options` are the wire's (default, min, tooltip …), whole; `required` is what the class declares. */
export interface Input {
  readonly name: string
  readonly required: boolean
  readonly kind: InputKind
  readonly options: Json.JsonObject
}

/** A choice of a dynamic combo, and the inputs that it brings. */
export interface Branch {
  readonly key: string
  readonly inputs: ReadonlyArray<Input>
}

/**
 * - `Plain`: a value or a link of one of these types; `*` takes all.
 * - `Combo`: one of `options` (several with `multiselect`); a `remote` one fetches them, its list here is empty.
 * - `Autogrow`: up to `names.length` inputs like `template`, of which the first `min` are needed.
 * - `DynamicCombo`: the key of a branch; `DynamicSlot`: a link; each with the inputs that come with it.
 * - `MatchType`: any of `types` (empty: all), but the same for all inputs and outputs of one `template`.
 * - `Unknown`: what no release writes.
 */
export type InputKind =
  | { readonly _tag: "Plain"; readonly types: ReadonlyArray<string> }
  | {
    readonly _tag: "Combo"
    readonly options: ReadonlyArray<Json.Json>
    readonly multiselect: boolean
    readonly remote: boolean
  }
  | {
    readonly _tag: "Autogrow"
    readonly names: ReadonlyArray<string>
    readonly min: number
    readonly template: ReadonlyArray<Input>
  }
  | { readonly _tag: "DynamicCombo"; readonly branches: ReadonlyArray<Branch> }
  | { readonly _tag: "DynamicSlot"; readonly types: ReadonlyArray<string>; readonly inputs: ReadonlyArray<Input> }
  | { readonly _tag: "MatchType"; readonly template: string; readonly types: ReadonlyArray<string> }
  | { readonly _tag: "Unknown" }

/** Dynamic inputs hold inputs; nothing real nests deeper, and what does is `Unknown`. */
const maxDepth = 8
/** The server's own limit of an autogrow input. */
const maxGrown = 100

const list = (value: Json.Json | undefined): ReadonlyArray<Json.Json> => Array.isArray(value) ? value : []
const record = (value: Json.Json | undefined): Json.JsonObject => Json.isObject(value) ? value : {}
const strings = (value: Json.Json | undefined): ReadonlyArray<string> =>
  list(value).filter((item) => typeof item === "string")
const union = (value: Json.Json | undefined): ReadonlyArray<string> =>
  typeof value === "string" ? value.split(",").map((type) => type.trim()).filter((type) => type !== "") : []
const count = (value: Json.Json | undefined, otherwise: number): number =>
  typeof value === "number" && value >= 0 ? Math.min(Math.floor(value), maxGrown) : otherwise

/** The inputs of an object with `required` and `optional`, as classes, branches and templates have it. */
const group = (groups: Json.JsonObject, order: Json.JsonObject, depth: number): ReadonlyArray<Input> =>
  ["required", "optional"].flatMap((name) => {
    const specs = record(Json.get(groups, name))
    const first = strings(Json.get(order, name)).filter((key) => Object.hasOwn(specs, key))
    return Array.from(
      new Set([...first, ...Object.keys(specs)]),
      (key) => inputOf(key, name === "required", Json.get(specs, key), depth)
    )
  })

const inner = (options: Json.JsonObject, key: string, depth: number): ReadonlyArray<Input> =>
  depth >= maxDepth ? [] : group(record(Json.get(options, key)), {}, depth + 1)

const combo = (values: Json.Json | undefined, options: Json.JsonObject): InputKind => ({
  _tag: "Combo",
  options: list(values),
  multiselect: Json.get(options, "multiselect") === true || Json.isObject(Json.get(options, "multi_select")),
  remote: Json.isObject(Json.get(options, "remote")) || Json.isObject(Json.get(options, "remote_combo"))
})

const autogrow = (options: Json.JsonObject, depth: number): InputKind => {
  const template = record(Json.get(options, "template"))
  const named = strings(Json.get(template, "names")).slice(0, maxGrown)
  const prefix = Json.get(template, "prefix")
  const names = named.length > 0 || typeof prefix !== "string"
    ? named
    : Array.from({ length: count(Json.get(template, "max"), maxGrown) }, (_, index) => `${prefix}${index}`)
  return {
    _tag: "Autogrow",
    names,
    min: count(Json.get(template, "min"), 0),
    template: inner(template, "input", depth)
  }
}

const kindOf = (type: Json.Json | undefined, options: Json.JsonObject, depth: number): InputKind => {
  if (depth >= maxDepth) return { _tag: "Unknown" }
  if (Array.isArray(type)) return combo(type, options)
  switch (type) {
    case "COMBO":
      return combo(Json.get(options, "options"), options)
    case "COMFY_AUTOGROW_V3":
      return autogrow(options, depth)
    case "COMFY_DYNAMICCOMBO_V3":
      return {
        _tag: "DynamicCombo",
        branches: list(Json.get(options, "options")).flatMap((option) => {
          const key = Json.get(record(option), "key")
          return typeof key === "string" ? [{ key, inputs: inner(record(option), "inputs", depth) }] : []
        })
      }
    case "COMFY_DYNAMICSLOT_V3":
      return {
        _tag: "DynamicSlot",
        types: union(Json.get(options, "slotType")),
        inputs: inner(options, "inputs", depth)
      }
    case "COMFY_MATCHTYPE_V3": {
      const template = record(Json.get(options, "template"))
      const id = Json.get(template, "template_id")
      const types = union(Json.get(template, "allowed_types"))
      return { _tag: "MatchType", template: typeof id === "string" ? id : "", types: types.includes("*") ? [] : types }
    }
    default:
      return typeof type === "string" ? { _tag: "Plain", types: union(type) } : { _tag: "Unknown" }
  }
}

/** Custom nodes write a bare type, more than two items, or null for the options; all of it is taken as it is meant. */
const inputOf = (name: string, required: boolean, spec: Json.Json | undefined, depth: number): Input => {
  const [type, declared] = Array.isArray(spec) ? spec : [spec, undefined]
  const options = record(declared)
  return { name, required, kind: kindOf(type, options, depth), options }
}

/** The inputs of a class in the order of its widgets; hidden ones, which the server fills in, are not among them. */
export const inputs = (info: ObjectInfo.NodeInfo): ReadonlyArray<Input> =>
  group(record(info.input), record(info.input_order), 0)

/**
 * Every key that a prompt may use for this input: its name, and the dotted ones of dynamic inputs (`images.image0`,
 * `mode.width`). An autogrow input is never sent under its bare name.
 */
export const keys = ({ kind, name }: Input): ReadonlyArray<string> => {
  const below = (children: ReadonlyArray<Input>): ReadonlyArray<string> =>
    children.flatMap(keys).map((key) => `${name}.${key}`)
  switch (kind._tag) {
    case "Autogrow":
      return kind.names.map((key) => `${name}.${key}`)
    case "DynamicCombo":
      return [...new Set([name, ...kind.branches.flatMap((branch) => below(branch.inputs))])]
    case "DynamicSlot":
      return [name, ...below(kind.inputs)]
    default:
      return [name]
  }
}

const signatureOf = ({ kind, name, required }: Input): Json.Json => [name, required, kindSignature(kind)]

const kindSignature = (kind: InputKind): Json.Json => {
  switch (kind._tag) {
    case "Plain":
      return kind.types.join(",")
    case "Combo":
      return kind.multiselect ? "COMBO*" : "COMBO"
    case "Autogrow":
      return ["autogrow", kind.min, kind.names, kind.template.map(signatureOf)]
    case "DynamicCombo":
      return ["dynamicCombo", ...kind.branches.map(({ inputs, key }) => [key, inputs.map(signatureOf)])]
    case "DynamicSlot":
      return ["dynamicSlot", kind.types.join(","), kind.inputs.map(signatureOf)]
    case "MatchType":
      return ["matchType", kind.template, kind.types.join(",")]
    case "Unknown":
      return null
  }
}

/**
 * Canonical text of what a graph depends on: names, kinds, types and order of inputs and outputs. Two servers whose
 * signatures of a class are equal run the same graphs of it; lists of options, defaults and tooltips do not count.
 */
export const signature = (info: ObjectInfo.NodeInfo): string =>
  Json.stringify([
    inputs(info).map(signatureOf),
    ObjectInfo.outputs(info).map(({ isList, template, type }) => [type, isList, template]),
    ObjectInfo.isOutput(info)
  ])

/** An input whose options are files of the server, by their names there; `upload` if a client may add one. */
export interface FileList {
  readonly name: string
  readonly options: ReadonlyArray<string>
  readonly upload: boolean
}

const uploads = ["image_upload", "animated_image_upload", "audio_upload", "video_upload", "file_upload"]
const fileName =
  /\.(?:safetensors|sft|ckpt|pt2?|pth|bin|pkl|gguf|onnx|ya?ml|json|png|jpe?g|webp|gif|bmp|tiff?|mp4|webm|mkv|mov|avi|mp3|wav|flac|ogg|opus|m4a|glb|gltf|obj|fbx|stl|ply|splat|spz|ksplat|latent|txt|csv|cube)$/i

/** Remote combos fetch anything; those that fetch files ask this endpoint. */
const fetchesFiles = (options: Json.JsonObject): boolean => {
  const route = Json.get(record(Json.get(options, "remote")), "route")
  return typeof route === "string" && route.startsWith("/internal/files/")
}

/**
 * The inputs that choose a file, in order; which folder it is in, the server does not say. Files are guessed: an upload
 * flag, an option that ends like a file, or an empty list (a folder without files; hardly anything else is empty).
 */
export const fileLists = (info: ObjectInfo.NodeInfo): ReadonlyArray<FileList> =>
  inputs(info).flatMap(({ kind, name, options }) => {
    if (kind._tag !== "Combo") return []
    const upload = uploads.some((flag) => Json.get(options, flag) === true)
    const names = strings(kind.options)
    const guessed = kind.remote
      ? fetchesFiles(options)
      : kind.options.length === 0 || names.some((option) => fileName.test(option))
    return upload || guessed ? [{ name, options: names, upload }] : []
  })
