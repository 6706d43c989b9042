/**
 * What a run produced, node by node: every file, text and raw value, in one shape whether it was learnt from the socket
 * or from the history.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Schema from "effect/Schema"

/** What a file is, told by its extension, else by the key it came under. */
export const FileKind = Schema.Literals(["image", "gif", "video", "audio", "3d", "latent", "text", "file"])
export type FileKind = typeof FileKind.Type

/**
 * A file on the server. Name and subfolder are the server's words and hostile until checked: never join them to a local
 * path. `type` is `output`, `temp` or `input`; `format` a MIME type where the node gave one; `raw` all members.
 */
export const OutputFile = Schema.Struct({
  kind: FileKind,
  filename: Schema.String,
  subfolder: Schema.String,
  type: Schema.String,
  format: Schema.NullOr(Schema.String),
  raw: Json.JsonFromText
})
export type OutputFile = typeof OutputFile.Type

/** What one node produced; `raw` is the whole record as the node gave it. */
export const NodeOutput = Schema.Struct({
  files: Schema.Array(OutputFile),
  texts: Schema.Array(Schema.String),
  raw: Json.JsonFromText
})
export type NodeOutput = typeof NodeOutput.Type

/** Outputs by node id; ids of expanded nodes (`4.0.0.5`) occur beside those of the prompt. */
export const Outputs = Schema.Record(Schema.String, NodeOutput)
export type Outputs = typeof Outputs.Type

/** No node produced anything. */
export const empty: Outputs = {}

const extensions: ReadonlyArray<readonly [FileKind, ReadonlyArray<string>]> = [
  ["image", ["png", "jpg", "jpeg", "webp", "avif", "bmp", "tif", "tiff", "exr", "hdr", "jxl", "svg", "heic"]],
  ["gif", ["gif"]],
  ["video", ["mp4", "webm", "mov", "mkv", "avi", "m4v"]],
  ["audio", ["flac", "mp3", "wav", "opus", "ogg", "m4a", "aac"]],
  ["3d", ["glb", "gltf", "obj", "fbx", "stl", "ply", "usdz", "splat", "ksplat", "spz"]],
  ["latent", ["latent"]],
  ["text", ["txt", "json", "csv", "md", "srt", "vtt"]]
]

const kindOfExtension: ReadonlyMap<string, FileKind> = new Map(
  extensions.flatMap(([kind, names]) => names.map((name) => [name, kind] as const))
)

const kindOfKey: ReadonlyMap<string, FileKind> = new Map([
  ["images", "image"],
  ["gifs", "gif"],
  ["video", "video"],
  ["videos", "video"],
  ["audio", "audio"],
  ["3d", "3d"],
  ["latents", "latent"]
])

const extensionOf = (filename: string): string => filename.slice(filename.lastIndexOf(".") + 1).toLowerCase()

/** The kind of a file by its name, with the key of the node's record as second source. */
export const fileKind = (filename: string, key: string): FileKind =>
  kindOfExtension.get(extensionOf(filename)) ?? kindOfKey.get(key) ?? "file"

const textOr = (value: Json.Json | undefined, otherwise: string): string =>
  typeof value === "string" ? value : otherwise

const toFile = (key: string, item: Json.Json): OutputFile | undefined => {
  // 3D nodes name their file by a bare path below the output folder; `/view` wants its folder apart.
  if (typeof item === "string") {
    if (kindOfExtension.get(extensionOf(item)) !== "3d" || !item.includes(".")) return undefined
    const slash = item.lastIndexOf("/")
    const subfolder = item.slice(0, Math.max(0, slash))
    return { kind: "3d", filename: item.slice(slash + 1), subfolder, type: "output", format: null, raw: item }
  }
  if (!Json.isObject(item)) return undefined
  const filename = Json.get(item, "filename")
  if (typeof filename !== "string" || filename === "") return undefined
  const format = Json.get(item, "format")
  return {
    kind: fileKind(filename, key),
    filename,
    subfolder: textOr(Json.get(item, "subfolder"), ""),
    type: textOr(Json.get(item, "type"), "output"),
    format: typeof format === "string" ? format : null,
    raw: item
  }
}

/** One node's record as the server sends it; whatever is no file and no text stays in `raw` alone. */
export const nodeOutput = (record: Json.JsonObject): NodeOutput => {
  const files: Array<OutputFile> = []
  const texts: Array<string> = []
  for (const [key, values] of Object.entries(record)) {
    if (!Array.isArray(values)) {
      if (key === "text" && typeof values === "string") texts.push(values)
      continue
    }
    for (const item of values) {
      const file = toFile(key, item)
      if (file !== undefined) files.push(file)
      else if (key === "text" && typeof item === "string") texts.push(item)
    }
  }
  return { files, texts, raw: record }
}

/** All records of a run, as history and jobs list them; nodes without a record (`null`) are left out. */
export const fromRecords = (records: Json.JsonObject): Outputs =>
  Object.fromEntries(
    Object.entries(records).flatMap(([nodeId, record]) => Json.isObject(record) ? [[nodeId, nodeOutput(record)]] : [])
  )

/** Every file of a run, or only those of one kind, in the order of the nodes. */
export const files = (outputs: Outputs, kind?: FileKind): ReadonlyArray<OutputFile> =>
  Object.values(outputs).flatMap((output) => output.files.filter((file) => kind === undefined || file.kind === kind))

/** Every text of a run, in the order of the nodes. */
export const texts = (outputs: Outputs): ReadonlyArray<string> =>
  Object.values(outputs).flatMap((output) => output.texts)

/** What one node produced, if it did. */
export const get = (outputs: Outputs, nodeId: string): NodeOutput | undefined =>
  Object.hasOwn(outputs, nodeId) ? outputs[nodeId] : undefined
