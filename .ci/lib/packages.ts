// The packages of the workspace as their package.json tells.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

export const root = join(import.meta.dirname, "../..")
export const scope = "@effect-comfyui/"

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly private?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>
}

export interface Package {
  /** The folder's name: `client`. */
  readonly name: string
  readonly folder: string
  readonly manifest: Manifest
  /** Paths of the source files below `src`, posix, sorted. */
  readonly sources: ReadonlyArray<string>
}

const readManifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))

/** Paths of the files below `folder`, posix, sorted; none when it does not exist. */
export const filesBelow = (folder: string): ReadonlyArray<string> =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1).replaceAll("\\", "/"))
      .toSorted()
    : []

export const rootManifest = readManifest(root)

export const packages: ReadonlyArray<Package> = readdirSync(join(root, "packages"))
  .filter((name) => existsSync(join(root, "packages", name, "package.json")))
  .toSorted()
  .map((name) => {
    const folder = join(root, "packages", name)
    const sources = filesBelow(join(folder, "src")).filter((path) => path.endsWith(".ts"))
    return { name, folder, manifest: readManifest(folder), sources }
  })
