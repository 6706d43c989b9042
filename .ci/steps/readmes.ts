// The programs in the READMEs, against the packages as they are built: all compile, and those without I/O run.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { packages, root } from "../lib/packages.ts"
import { problems } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"
import { bin } from "./commands.ts"

// Inside the workspace, so that its packages are found by walking up; the build has made their `dist`.
const folder = join(root, ".tsbuildinfo", "readmes")

/** Packages whose programs need no server. */
const pure: ReadonlySet<string> = new Set(["workflow", "protocol", "execution", "profiling"])

interface Program {
  readonly file: string
  readonly text: string
  readonly runs: boolean
}

const programs = (): ReadonlyArray<Program> =>
  ["", ...packages.map((owner) => owner.name)].flatMap((name) => {
    const path = join(root, name === "" ? "" : `packages/${name}`, "README.md")
    if (!existsSync(path)) return []
    const blocks = [...readFileSync(path, "utf8").matchAll(/^```ts\n(.*?)^```$/gms)]
    return blocks.map(([, text = ""], index) => ({
      file: `${name === "" ? "root" : name}-${index + 1}.ts`,
      text,
      runs: pure.has(name)
    }))
  })

const tsconfig = {
  compilerOptions: {
    target: "ES2024",
    lib: ["ESNext", "DOM"],
    module: "NodeNext",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    noEmit: true,
    types: ["node"]
  },
  include: ["*.ts"]
}

export const readmes = async (): Promise<Outcome> => {
  const all = programs()
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { file, text } of all) writeFileSync(join(folder, file), `${text}\nexport {}\n`)
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig))
  const compiled = await problems(process.execPath, [bin("typescript", "tsc"), "-p", folder], { cwd: root })
  if (compiled.length > 0) return { problems: compiled }
  const ran = await Promise.all(
    all.filter(({ runs }) => runs).map(({ file }) => problems(process.execPath, [join(folder, file)], { cwd: root }))
  )
  return { problems: ran.flat(), note: `${all.length} programs` }
}
