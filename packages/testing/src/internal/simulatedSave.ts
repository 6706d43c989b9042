// What simulated output nodes write and show: files of their kind, and the ui that such classes have.
import * as Result from "effect/Result"
import { digest } from "../ModelValue.ts"
import type { NodeContext, SavedFile } from "../NodeClass.ts"
import * as Picture from "../Picture.ts"
import * as Plan from "../Plan.ts"
import { fileBytes } from "./fileBytes.ts"
import { encode } from "./pyJson.ts"
import { type Given, keyOf, type Source } from "./simulatedValue.ts"

type Ui = Readonly<Record<string, unknown>>

/** What an output node does besides its outputs: nothing, or it shows something, or it cannot. */
type Saved = Result.Result<Ui | undefined, Plan.Plan>

/** Texts in `ui` are no longer than this. */
const maxText = 100_000

const threeD = /^(MESH|VOXEL|SPLAT|POINT_CLOUD|FILE_3D)/

const textOf = (source: Source, ...names: ReadonlyArray<string>): string | undefined => {
  for (const name of names) {
    const value = source.given.find((one) => one.name === name)?.values[0]
    if (typeof value === "string") return value
  }
  return undefined
}

const inputOfType = (source: Source, test: (type: string) => boolean): Given | undefined =>
  source.given.find(({ slot, values }) =>
    typeof slot.input.type === "string" && slot.input.type.split(",").some(test) && values[0] !== null &&
    values[0] !== undefined
  )

/** Formats that an input names, the extension that a file of them has. */
const extensions: Readonly<Record<string, string>> = {
  mp4: "mp4",
  mkv: "mkv",
  webm: "webm",
  mov: "mov",
  gif: "gif",
  webp: "webp",
  flac: "flac",
  mp3: "mp3",
  opus: "opus",
  wav: "wav",
  txt: "txt",
  csv: "csv",
  md: "md",
  json: "json",
  png: "png",
  jpg: "jpg",
  jpeg: "jpg",
  exr: "exr",
  glb: "glb",
  gltf: "gltf",
  obj: "obj",
  fbx: "fbx",
  stl: "stl",
  ply: "ply",
  splat: "splat",
  spz: "spz"
}

const asked = (source: Source): string | undefined => {
  const format = textOf(source, "format", "file_format", "container")
  if (format === undefined) return undefined
  const last = format.slice(format.lastIndexOf("/") + 1).toLowerCase()
  return extensions[Object.keys(extensions).find((name) => last === name || last.includes(name)) ?? ""]
}

/** The extension that the name of a class tells, as SaveAudioMP3 does; else the one given. */
const told = (source: Source, names: ReadonlyArray<string>, otherwise: string): string =>
  names.find((name) => source.class.toLowerCase().includes(name)) ?? asked(source) ?? otherwise

/** Where the class writes: its prefix, and the temp folder if it only shows something. */
const target = (source: Source, context: NodeContext) => {
  const prefix = textOf(source, "filename_prefix", "filename", "prefix")
  const drops = source.given.some(({ name, values }) => name === "save_output" && values[0] === false)
  const folder = drops || (prefix === undefined && !/save/i.test(source.class)) ? "temp" as const : "output" as const
  return { folder, prefix: prefix ?? (folder === "temp" ? `ComfyUI_temp_${context.letters}` : "ComfyUI") }
}

const write = (
  source: Source,
  context: NodeContext,
  extension: string,
  bytes: Uint8Array = fileBytes(extension, digest(source.key, extension))
): Result.Result<ReadonlyArray<SavedFile>, Plan.Plan> =>
  Result.mapError(
    context.save({
      picture: Picture.solid(source.width, source.height, 1, 0),
      ...target(source, context),
      file: { extension, bytes }
    }),
    (message) => Plan.raises("Exception", message)
  )

const shows = (
  files: Result.Result<ReadonlyArray<SavedFile>, Plan.Plan>,
  ui: (files: ReadonlyArray<SavedFile>) => Ui | undefined
): Saved => Result.map(files, ui)

const png = (
  source: Source,
  context: NodeContext,
  { values }: Given
): Result.Result<ReadonlyArray<SavedFile>, Plan.Plan> => {
  const files: Array<SavedFile> = []
  for (const value of values) {
    if (!(value instanceof Picture.Picture)) continue
    const saved = context.save({ picture: Picture.rgb(value), ...target(source, context) })
    if (Result.isFailure(saved)) return Result.fail(Plan.raises("Exception", saved.failure))
    files.push(...saved.success)
  }
  return Result.succeed(files)
}

const relative = (file: SavedFile): string =>
  file.subfolder === "" ? file.filename : `${file.subfolder}/${file.filename}`

/** The core's viewers of 3D models get a path and a camera; its savers show files. */
const threeDUi = (source: Source) => (files: ReadonlyArray<SavedFile>): Ui =>
  /^preview/i.test(source.class)
    ? { result: [`${relative(files[0] ?? noFile)} [temp]`, null, null] }
    : { "3d": files }

const noFile: SavedFile = { filename: "", subfolder: "", type: "temp" }

/** VideoHelperSuite's way, which tools look for under `gifs`. */
const gifs = (source: Source) => (files: ReadonlyArray<SavedFile>): Ui => ({
  gifs: files.map((file) => ({
    ...file,
    format: textOf(source, "format") ?? "video/h264-mp4",
    frame_rate: source.given.find(({ name }) => name === "frame_rate")?.values[0] ?? 8,
    fullpath: `/data/${file.type}/${relative(file)}`
  }))
})

const images = (source: Source, context: NodeContext, given: Given): Saved => {
  if (/videocombine/i.test(source.class)) return shows(write(source, context, asked(source) ?? "mp4"), gifs(source))
  if (/webm|webp|anim|gif|video/i.test(source.class)) {
    const extension = told(source, ["webm", "webp", "gif", "png"], "mp4")
    return shows(write(source, context, extension), (files) => ({ images: files, animated: [true] }))
  }
  const files = png(source, context, given)
  return /compare/i.test(source.class)
    ? shows(files, (saved) => ({ a_images: saved, b_images: [] }))
    : shows(files, (saved) => ({ images: saved }))
}

const text = (source: Source, context: NodeContext, given: Given): Saved => {
  const shown = given.values.map((value) => keyOf(value).slice(0, maxText))
  if (textOf(source, "filename_prefix") === undefined) return Result.succeed({ text: shown })
  return shows(
    write(source, context, asked(source) ?? "txt", encode(shown.join("\n"))),
    (files) => ({ text: shown, files })
  )
}

/** Writes what an output node gets, and says what it shows. */
export const save = (source: Source, context: NodeContext): Saved => {
  const of = (...types: ReadonlyArray<string>) => inputOfType(source, (type) => types.includes(type))
  if (of("VIDEO") !== undefined) {
    return shows(
      write(source, context, asked(source) ?? "mp4"),
      (files) => ({ images: files, animated: [true] })
    )
  }
  const pictures = of("IMAGE")
  if (pictures !== undefined) return images(source, context, pictures)
  if (of("AUDIO") !== undefined) {
    return shows(write(source, context, told(source, ["mp3", "opus", "wav"], "flac")), (audio) => ({ audio }))
  }
  if (inputOfType(source, (type) => threeD.test(type)) !== undefined) {
    return shows(write(source, context, asked(source) ?? "glb"), threeDUi(source))
  }
  if (of("SVG") !== undefined) return shows(write(source, context, "svg"), (files) => ({ images: files }))
  if (of("LATENT") !== undefined) return shows(write(source, context, "latent"), (latents) => ({ latents }))
  const mask = of("MASK")
  if (mask !== undefined) return shows(png(source, context, mask), (saved) => ({ images: saved }))
  if (of("MODEL", "CLIP", "VAE", "CLIP_VISION", "LORA_MODEL") !== undefined) {
    return shows(write(source, context, "safetensors"), () => undefined)
  }
  const shown = of("STRING", "*", "INT", "FLOAT", "BOOLEAN")
  return shown === undefined ? Result.succeed(undefined) : text(source, context, shown)
}
