// `changeset version` in a copy of the manifests: the config, every changeset and the lockstep of the versions.
import { cpSync, existsSync, readFileSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { type Manifest, packages, root } from "../lib/packages.ts"
import { run } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"
import { bin } from "./commands.ts"

export const changeset = async (folder: string): Promise<Outcome> => {
  const manifests = packages.map(({ name }) => `packages/${name}/package.json`)
  for (const path of ["package.json", "package-lock.json", ".changeset", ...manifests]) {
    if (existsSync(join(root, path))) cpSync(join(root, path), join(folder, path), { recursive: true })
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
  const { code, output } = await run(process.execPath, [bin("@changesets/cli", "changeset"), "version"], {
    cwd: folder
  })
  if (code !== 0 || output.includes("Found issues")) return { problems: [output.trim()] }
  const versions = manifests.map((path) => {
    const { version }: Manifest = JSON.parse(readFileSync(join(folder, path), "utf8"))
    return `${path} would be ${version}`
  })
  const distinct = new Set(versions.map((line) => line.split(" ").at(-1)))
  return distinct.size === 1 ? { problems: [], note: `next is ${[...distinct]}` } : { problems: versions }
}
