// The server's input, output and temp folders, in memory. A picture is written when somebody reads it.
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { encodePng } from "../ImageFile.ts"
import type { SavedFile, SaveRequest } from "../NodeClass.ts"
import { dateParts } from "./time.ts"

export type FolderType = "input" | "output" | "temp"

interface StoredFile {
  bytes: Uint8Array | (() => Uint8Array)
  /** Wall clock, milliseconds. */
  readonly modified: number
}

/** A path without `.`, `..` and doubled slashes; `..` above the root stays. */
export const normalize = (path: string): string => {
  const out: Array<string> = []
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue
    if (part === ".." && out.length > 0 && out.at(-1) !== "..") out.pop()
    else out.push(part)
  }
  return out.join("/")
}

/** Where `path` leads from a folder: undefined if out of it. */
export const inside = (path: string): string | undefined => {
  if (path.startsWith("/")) return undefined
  const normal = normalize(path)
  return normal === ".." || normal.startsWith("../") ? undefined : normal
}

/** The absolute path that the server would print for `path` below `base`. */
const absolute = (base: string, path: string): string => {
  const out: Array<string> = base.split("/").filter((part) => part !== "")
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue
    if (part === "..") out.pop()
    else out.push(part)
  }
  return `/${out.join("/")}`
}

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1)
const dirName = (path: string): string => (path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : "")

const annotations: ReadonlyArray<FolderType> = ["output", "input", "temp"]

/** `name [temp]` says its own folder. */
export const annotated = (name: string): { readonly name: string; readonly type: FolderType | undefined } => {
  for (const type of annotations) {
    if (name.endsWith(`[${type}]`)) return { name: name.slice(0, -(type.length + 3)), type }
  }
  return { name, type: undefined }
}

const common = (a: string, b: string): string => {
  const other = b.split("/")
  const parts: Array<string> = []
  for (const [index, part] of a.split("/").entries()) {
    if (part !== other[index]) break
    parts.push(part)
  }
  return parts.length <= 1 ? "/" : parts.join("/")
}

export class Files {
  readonly #files = new Map<string, StoredFile>()
  readonly #counters = new Map<string, number>()
  readonly #max: number
  readonly #base: string

  /** Beyond `max` files the oldest one is forgotten. */
  constructor(max: number, base: string) {
    this.#max = max
    this.#base = base
  }

  get count(): number {
    return this.#files.size
  }

  put(type: FolderType, path: string, bytes: Uint8Array | (() => Uint8Array), modified: number): void {
    const key = `${type}/${path}`
    this.#files.delete(key)
    this.#files.set(key, { bytes, modified })
    if (this.#files.size > this.#max) {
      for (const oldest of this.#files.keys()) {
        this.#files.delete(oldest)
        break
      }
    }
  }

  /** An upload: numbers of saved files are counted anew afterwards. */
  write(type: FolderType, path: string, bytes: Uint8Array, modified: number): void {
    this.put(type, path, bytes.slice(), modified)
    this.#counters.clear()
  }

  has(type: FolderType, path: string): boolean {
    return this.#files.has(`${type}/${path}`)
  }

  get(type: FolderType, path: string): Option.Option<{ readonly bytes: Uint8Array; readonly modified: number }> {
    const file = this.#files.get(`${type}/${path}`)
    if (file === undefined) return Option.none()
    if (typeof file.bytes === "function") file.bytes = file.bytes()
    return Option.some({ bytes: file.bytes, modified: file.modified })
  }

  /** Removes one file: as an operator would behind the server's back. */
  remove(type: FolderType, path: string): boolean {
    return this.#files.delete(`${type}/${path}`)
  }

  /** Removes all of a folder. */
  clear(type: FolderType): void {
    for (const key of this.#files.keys()) if (key.startsWith(`${type}/`)) this.#files.delete(key)
    this.#counters.clear()
  }

  /** Names below a folder, without those in subfolders unless asked for. */
  list(type: FolderType, deep: boolean): ReadonlyArray<{ readonly name: string; readonly modified: number }> {
    const out: Array<{ readonly name: string; readonly modified: number }> = []
    for (const [key, file] of this.#files) {
      const name = key.slice(type.length + 1)
      if (key.startsWith(`${type}/`) && (deep || !name.includes("/"))) out.push({ name, modified: file.modified })
    }
    return out
  }

  read(name: string): Option.Option<Uint8Array> {
    const at = annotated(name)
    const path = inside(at.name)
    return path === undefined
      ? Option.none()
      : Option.map(this.get(at.type ?? "input", path), (file) => file.bytes)
  }

  #next(type: FolderType, folder: string, prefix: string): number {
    const key = `${type}/${folder}/${prefix}`
    let last = this.#counters.get(key)
    if (last === undefined) {
      last = 0
      const start = folder === "" ? `${type}/` : `${type}/${folder}/`
      for (const path of this.#files.keys()) {
        if (!path.startsWith(`${start}${prefix}_`)) continue
        const name = path.slice(start.length)
        if (name.includes("/")) continue
        const digits = Number.parseInt(name.slice(prefix.length + 1).split("_")[0] ?? "", 10)
        if (Number.isSafeInteger(digits) && digits > last) last = digits
      }
      if (this.#counters.size >= this.#max) this.#counters.clear()
    }
    this.#counters.set(key, last + 1)
    return last + 1
  }

  /** Saves as SaveImage and PreviewImage do: placeholders, the next free number, one file per image. */
  save(request: SaveRequest, wallMs: number, commonPath: boolean): Result.Result<ReadonlyArray<SavedFile>, string> {
    const { folder: type, picture } = request
    let filled = request.prefix
      .replaceAll("%width%", String(picture.width))
      .replaceAll("%height%", String(picture.height))
    if (filled.includes("%")) {
      for (const [name, value] of Object.entries(dateParts(wallMs))) filled = filled.replaceAll(`%${name}%`, value)
    }
    const normal = filled.startsWith("/") ? filled : normalize(filled)
    const subfolder = dirName(normal)
    const name = baseName(normal)
    if (inside(subfolder) === undefined) {
      const folder = absolute(this.#base, subfolder.startsWith("/") ? "" : `${type}/${subfolder}`)
      const full = subfolder.startsWith("/") ? absolute("", subfolder) : folder
      return Result.fail(
        "**** ERROR: Saving image outside the output folder is not allowed.\n" +
          ` full_output_folder: ${full}\n         output_dir: ${this.#base}/${type}${
            commonPath ? `\n         commonpath: ${common(full, this.#base)}` : ""
          }`
      )
    }
    const files: Array<SavedFile> = []
    const { file } = request
    for (let index = 0; index < (file === undefined ? picture.batch : 1); index++) {
      const numbered = name.replaceAll("%batch_num%", String(index))
      const counter = this.#next(type, subfolder, name)
      const filename = `${numbered}_${String(counter).padStart(5, "0")}_.${file?.extension ?? "png"}`
      this.put(
        type,
        subfolder === "" ? filename : `${subfolder}/${filename}`,
        file?.bytes ?? (() => encodePng(picture, index, request.text)),
        wallMs
      )
      files.push({ filename, subfolder, type })
    }
    return Result.succeed(files)
  }
}
