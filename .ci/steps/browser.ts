// The client in a browser: bundled from the packed packages, without Node and without its socket and HTTP packages.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { build, type Plugin } from "vite"
import { isBuiltin, packageOf } from "../lib/modules.ts"
import type { Outcome } from "../lib/schedule.ts"

const forbidden = new Set(["ws", "undici", "@effect/platform-node", "@effect/platform-node-shared"])

/** Collects imports that no browser can follow, before the bundler hides them behind a stub. */
const guard = (found: Set<string>): Plugin => ({
  name: "browser-guard",
  enforce: "pre",
  resolveId(specifier, importer) {
    if (!isBuiltin(specifier) && !forbidden.has(packageOf(specifier))) return null
    found.add(`${specifier} imported by ${importer?.split("node_modules/").at(-1) ?? "the entry"}`)
    return { id: specifier, external: true }
  }
})

/** `folder` is the installed bare consumer. */
export const browser = async (folder: string): Promise<Outcome> => {
  const entry = join(folder, "browser.js")
  writeFileSync(entry, `import { ComfyClient } from "@effect-comfyui/client"\nglobalThis.comfy = ComfyClient\n`)
  const found = new Set<string>()
  const result = await build({
    root: folder,
    configFile: false,
    logLevel: "silent",
    plugins: [guard(found)],
    build: { write: false, minify: true, rolldownOptions: { input: entry } }
  })
  const outputs = "output" in result ? result.output : Array.isArray(result) ? result.flatMap((one) => one.output) : []
  const code = outputs.map((chunk) => chunk.type === "chunk" ? chunk.code : "").join("\n")
  const kilobytes = (gzipSync(code).byteLength / 1024).toFixed(1)
  return {
    problems: [...found, ...code === "" ? ["the bundle is empty"] : []],
    note: `${kilobytes} KiB gzip`
  }
}
