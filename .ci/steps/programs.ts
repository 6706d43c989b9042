// The programs in the READMEs and in docs/, against the packages as they are built: all compile, and those that need no
// server outside of them run, as do those of the front page, beside a fake one. Tests and contract suites run as tests; what a `text` block below a program says is what it
// prints.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { filesBelow, packages, root } from "../lib/packages.ts"
import { problems, run } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"
import { bin } from "./commands.ts"

// Inside the workspace, so that its packages are found by walking up; the build has made their `dist`.
const folder = join(root, ".tsbuildinfo", "programs")

/** Packages whose programs need no server. */
const pure: ReadonlySet<string> = new Set(["workflow", "protocol", "execution", "profiling"])

/** Runs a program beside a fake server. */
const besideFake = ["--conditions=@effect-comfyui/source", join(root, "examples", "support", "besideFake.ts")]

/** Ample for a program that ends by itself. */
const limitMs = 60_000

interface Page {
  readonly path: string
  /** What its programs are called. */
  readonly name: string
  readonly runs: boolean
  /** Its programs want a server. */
  readonly wantsServer?: boolean
}

const pages = (): ReadonlyArray<Page> => [
  { path: "README.md", name: "root", runs: true, wantsServer: true },
  ...packages.map(({ name }) => ({ path: `packages/${name}/README.md`, name, runs: pure.has(name) })),
  ...filesBelow(join(root, "docs")).filter((path) => path.endsWith(".md"))
    .map((path) => ({ path: `docs/${path}`, name: `docs-${path.slice(0, -3).replaceAll("/", "-")}`, runs: true }))
]

interface Program {
  readonly file: string
  readonly text: string
  readonly runs: boolean
  readonly isTest: boolean
  readonly wantsServer: boolean
  /** Undefined where the page does not say. */
  readonly prints: string | undefined
}

const test = /from "(@effect\/vitest|@effect-comfyui\/testing\/\w+Contract)"/

const block = /^```ts\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?/gms

const programsOf = ({ name, path, runs, wantsServer = false }: Page): ReadonlyArray<Program> => {
  if (!existsSync(join(root, path))) return []
  return [...readFileSync(join(root, path), "utf8").matchAll(block)].map(([, text = "", prints], index) => {
    const isTest = test.test(text)
    const file = `${name}-${index + 1}${isTest ? ".test" : ""}.ts`
    return { file, text, runs: runs || isTest, isTest, wantsServer, prints }
  })
}

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

// Nobody's terminal, whatever the environment says of it.
const options = { cwd: folder, limitMs, env: { ...process.env, FORCE_COLOR: "0" } }

const ran = async ({ file, prints, wantsServer }: Program): Promise<ReadonlyArray<string>> => {
  const args = [...wantsServer ? besideFake : [], join(folder, file)]
  const { code, output, stdout } = await run(process.execPath, args, options)
  if (code !== 0) return [`${file}: ${output.trim() || `ended with ${code}`}`]
  return prints === undefined || stdout === prints
    ? []
    : [`${file}: its page says\n${prints}\nand it prints\n${stdout}`]
}

const tested = (): Promise<ReadonlyArray<string>> =>
  problems(process.execPath, [bin("vitest"), "run", "--root", folder, `--testTimeout=${limitMs / 2}`], options)

export const programs = async (): Promise<Outcome> => {
  const all = pages().flatMap(programsOf)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const { file, text } of all) writeFileSync(join(folder, file), `${text}\nexport {}\n`)
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(tsconfig))
  const compiled = await problems(process.execPath, [bin("typescript", "tsc"), "-p", folder], { cwd: root })
  if (compiled.length > 0) return { problems: compiled }
  const running = all.filter(({ runs }) => runs)
  const found = await Promise.all([tested(), ...running.filter(({ isTest }) => !isTest).map(ran)])
  return { problems: found.flat(), note: `${all.length} programs, ${running.length} of them run` }
}
