// The steps that are another program's: it says nothing when all is well.
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { root } from "../lib/packages.ts"
import { problems } from "../lib/process.ts"
import type { Outcome } from "../lib/schedule.ts"

const require = createRequire(import.meta.url)

/** The script of a package's command, to be run by this very Node. */
export const bin = (name: string, command = name): string => {
  const path = require.resolve(`${name}/package.json`)
  const { bin }: { readonly bin: string | Readonly<Record<string, string>> } = require(path)
  return join(dirname(path), typeof bin === "string" ? bin : bin[command] ?? "")
}

const node = (...args: ReadonlyArray<string>) => async (): Promise<Outcome> => ({
  problems: await problems(process.execPath, args, { cwd: root })
})

export const types = node(".ci/types.ts", "tsconfig.json")
export const lint = node(bin("oxlint"), "--deny-warnings")
export const format = node(bin("dprint"), "check")
/** Cycles of values; a cycle of types alone costs nothing at run time. */
export const circular = node(
  bin("dpdm"),
  "--exit-code=circular:1",
  "--transform",
  "--no-tree",
  "--no-warning",
  "--no-progress",
  "packages/*/src/**/*.ts"
)
