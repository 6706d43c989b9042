// From sources to tarballs, and whether these hold what they should.
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { publint } from "publint"
import { formatMessage } from "publint/utils"
import { filesBelow, type Package, packages, root } from "../lib/packages.ts"
import { problems, run } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"

/** What the compiler makes of one source file. */
const built = (source: string): ReadonlyArray<string> => {
  const stem = source.slice(0, -".ts".length)
  return [`${stem}.js`, `${stem}.js.map`, `${stem}.d.ts`, `${stem}.d.ts.map`]
}

const compile = (...flags: ReadonlyArray<string>) =>
  problems(process.execPath, [".ci/types.ts", "tsconfig.build.json", ...flags], { cwd: root })

/** Compiles to `dist`, and drops there what a source file of an earlier day left. */
export const build = async (): Promise<Outcome> => {
  const found = await compile()
  if (found.length > 0) return { problems: found }
  let whole = true
  for (const { folder, sources } of packages) {
    const expected = new Set(sources.flatMap(built))
    const present = filesBelow(join(folder, "dist"))
    for (const stale of present.filter((path) => !expected.has(path))) rmSync(join(folder, "dist", stale))
    whole &&= present.filter((path) => expected.has(path)).length === expected.size
  }
  return { problems: whole ? [] : await compile("--force") }
}

interface Packed {
  readonly name: string
  readonly size: number
  readonly files: ReadonlyArray<{ readonly path: string }>
}

const listing = "packed.json"

export const tarballOf = (owner: Package, folder: string): string =>
  join(folder, `${owner.manifest.name.replace("@", "").replace("/", "-")}-${owner.manifest.version}.tgz`)

/** Packs every package into `folder`. */
export const pack = async (folder: string): Promise<Outcome> => {
  const workspaces = packages.map(({ name }) => `--workspace=packages/${name}`)
  const flags = ["--json", "--ignore-scripts", "--loglevel=error", `--pack-destination=${folder}`]
  const { code, output, stdout } = await run("npm", ["pack", ...workspaces, ...flags], { cwd: root })
  if (code !== 0) return { problems: [output] }
  writeFileSync(join(folder, listing), stdout)
  const absent = packages.filter((owner) => !existsSync(tarballOf(owner, folder)))
  return { problems: absent.map(({ name }) => `${name} was not packed`) }
}

const check = ({ files, name }: Packed): ReadonlyArray<string> => {
  const sources = packages.find(({ manifest }) => manifest.name === name)?.sources ?? []
  const made = sources.flatMap((path) => [`src/${path}`, ...built(path).map((file) => `dist/${file}`)])
  const expected = ["package.json", "README.md", "LICENSE", ...made]
  const allowed = new Set([...expected, "CHANGELOG.md"])
  const present = new Set(files.map(({ path }) => path))
  return [
    ...expected.filter((path) => !present.has(path)).map((path) => `${name}: ${path} is missing`),
    ...[...present].filter((path) => !allowed.has(path)).map((path) => `${name}: ${path} does not belong there`)
  ]
}

/** A tarball holds the sources, what the compiler made of them, README and LICENSE; nothing else. */
export const content = (folder: string): Outcome => {
  const packed: ReadonlyArray<Packed> = JSON.parse(readFileSync(join(folder, listing), "utf8"))
  const sizes = packed.map(({ name, size }) => `${basename(name)} ${Math.round(size / 1024)}`)
  return { problems: packed.flatMap(check), note: `KiB: ${sizes.join(", ")}` }
}

/** What a bundler or a runtime would stumble over in a packed package. */
export const lintPackage = async (folder: string): Promise<Outcome> => {
  const found = packages.map(async (owner) => {
    const bytes = readFileSync(tarballOf(owner, folder))
    const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
    const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
    return messages.map((message) => `${owner.name}: ${formatMessage(message, pkg ?? {}, { color: false })}`)
  })
  return { problems: (await Promise.all(found)).flat() }
}
