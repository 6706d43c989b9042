// A project as a user has it: the packed packages installed outside the workspace, checked and run.
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { nodeModule, nodePackages } from "../imports.ts"
import { type Package, packages, rootManifest } from "../lib/packages.ts"
import { problems } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"
import { bin } from "./commands.ts"
import { tarballOf } from "./pack.ts"

/** The barrel and every deep module that `exports` opens. */
const specifiers = (owner: Package, withNode: boolean): ReadonlyArray<string> =>
  owner.sources
    .filter((path) => !path.startsWith("internal/") && (withNode || !nodeModule.test(path)))
    .map((path) => path === "index.ts" ? owner.manifest.name : `${owner.manifest.name}/${path.slice(0, -".ts".length)}`)

const pinned = (names: ReadonlyArray<string>): Record<string, string> =>
  Object.fromEntries(names.map((name) => [name, rootManifest.devDependencies?.[name] ?? "*"]))

const compilerOptions = {
  target: "ES2023",
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true
}

const resolutions = {
  nodenext: { module: "NodeNext", moduleResolution: "NodeNext" },
  bundler: { module: "ESNext", moduleResolution: "Bundler" }
}

/** Installs the tarballs with what `names` says beside them. */
const install = async (folder: string, tarballs: string, names: ReadonlyArray<string>) => {
  const ours = packages.map((owner) => [owner.manifest.name, `file:${tarballOf(owner, tarballs)}`])
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ type: "module", private: true, dependencies: { ...Object.fromEntries(ours), ...pinned(names) } })
  )
  const flags = [
    "--prefer-offline",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--ignore-scripts",
    "--loglevel=error"
  ]
  return problems("npm", ["install", ...flags], { cwd: folder })
}

interface Globals {
  readonly lib: ReadonlyArray<string>
  readonly types: ReadonlyArray<string>
}

const typeCheck = async (folder: string, imports: ReadonlyArray<string>, globals: Globals) => {
  const lines = imports.map((specifier, index) => `export * as m${index} from "${specifier}"`)
  writeFileSync(join(folder, "modules.ts"), lines.join("\n"))
  const found: Array<string> = []
  for (const [name, resolution] of Object.entries(resolutions)) {
    const path = join(folder, `tsconfig.${name}.json`)
    const options = { ...compilerOptions, ...resolution, ...globals }
    writeFileSync(path, JSON.stringify({ compilerOptions: options, files: ["modules.ts"] }))
    found.push(...await problems(process.execPath, [bin("typescript", "tsc"), "--project", path], { cwd: folder }))
  }
  return found
}

const runBarrels = (folder: string) => {
  const barrels = packages.map(({ manifest }) => manifest.name)
  const program = barrels.map((name) => `if (Object.keys(await import("${name}")).length === 0) throw "${name}"`)
  writeFileSync(join(folder, "main.js"), program.join("\n"))
  return problems(process.execPath, ["main.js"], { cwd: folder })
}

/** A project with our packages and `effect` alone. */
export const installBare = async (folder: string, tarballs: string): Promise<Outcome> => ({
  problems: await install(folder, tarballs, ["effect"])
})

/** In it every module that does not need Node type-checks, and every barrel runs. */
export const bareConsumer = async (folder: string): Promise<Outcome> => {
  const imports = packages.flatMap((owner) => specifiers(owner, false))
  return {
    problems: [...await typeCheck(folder, imports, { lib: ["ES2023", "DOM"], types: [] }), ...await runBarrels(folder)],
    note: `${imports.length} modules`
  }
}

/**
 * With the optional peers: the `*Node` modules too, and no DOM. Effect's own declarations need the DOM for their
 * cryptography; ours have to do with what Node's bring.
 */
export const nodeConsumer = async (folder: string, tarballs: string): Promise<Outcome> => {
  const installed = await install(folder, tarballs, ["effect", ...nodePackages, "@types/node", "@types/ws"])
  if (installed.length > 0) return { problems: installed }
  const imports = packages.flatMap((owner) => specifiers(owner, true))
  const found = await typeCheck(folder, imports, { lib: ["ES2023"], types: ["node"] })
  const ours = found.flatMap((text) => text.split(/\n(?=\S)/)).filter((line) =>
    !line.startsWith("node_modules/effect/")
  )
  return { problems: ours, note: `${imports.length} modules` }
}
