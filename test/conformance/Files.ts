/** Files below a folder. */
import { readdirSync, readFileSync } from "node:fs"
import { join, relative } from "node:path"

/** A file by its path below the folder. */
export interface TextFile {
  readonly name: string
  readonly text: string
}

/** All files of that extension, also in sub-folders, in the order of their names; read one at a time. */
export function* filesIn(folder: string, extension: string): Iterable<TextFile> {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => join(entry.parentPath, entry.name))
  for (const path of found.toSorted()) yield { name: relative(folder, path), text: readFileSync(path, "utf8") }
}
