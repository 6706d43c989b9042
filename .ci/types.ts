// Type check by project references. The Effect build of the TypeScript 7 compiler reports Effect mistakes too
// (a floating effect, a missing `return yield*`); where its package does not exist the plain compiler serves.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const require = createRequire(import.meta.url)
const version: string = require("typescript/package.json").version

const effectCompiler = (): string | undefined => {
  try {
    const root = dirname(require.resolve(`@effect/tsgo-${process.platform}-${process.arch}/package.json`))
    const path = join(root, "artifacts/typescript", version, "tsc")
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

const compiler = effectCompiler()
if (compiler === undefined) console.warn("types: no Effect diagnostics on this platform, plain tsc")
const [command, args] = compiler === undefined
  ? [process.execPath, [require.resolve("typescript/bin/tsc")]]
  : [compiler, []]
const result = spawnSync(command, [...args, "-b", ...process.argv.slice(2)], { stdio: "inherit" })
process.exit(result.status ?? 1)
