// The gate, `npm run check`: every step is run, each says one line, any failure fails all.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Module, readModules } from "./lib/modules.ts"
import { packages } from "./lib/packages.ts"
import { runAll, type Step } from "./lib/schedule.ts"
import { browser } from "./steps/browser.ts"
import { changeset } from "./steps/changeset.ts"
import { circular, format, lint, types } from "./steps/commands.ts"
import { bareConsumer, installBare, nodeConsumer } from "./steps/consumer.ts"
import { direction } from "./steps/direction.ts"
import { build, content, lintPackage, pack } from "./steps/pack.ts"
import { parity } from "./steps/parity.ts"
import { programs } from "./steps/programs.ts"
import { declared, length, usedInternals } from "./steps/sources.ts"

// Outside the repository, where nothing finds the workspace's own packages by walking up.
const work = mkdtempSync(join(tmpdir(), "effect-comfyui-check-"))
process.on("exit", () => rmSync(work, { recursive: true, force: true }))
const tarballs = work
const bare = join(work, "bare")

// Read by the first step that asks; a file that does not parse fails those that ask, not the gate.
let parsed: ReadonlyArray<Module> | undefined
const modules = () => parsed ??= readModules(packages)

const steps: ReadonlyArray<Step> = [
  { name: "build", run: build },
  { name: "import directions", run: () => direction(packages, modules()) },
  { name: "declared dependencies", run: () => declared(packages, modules()) },
  { name: "used internals", run: () => usedInternals(modules()) },
  { name: "file length", run: () => length(modules()) },
  { name: "pack", needs: ["build"], run: () => pack(tarballs) },
  { name: "tarballs", needs: ["pack"], run: () => content(tarballs) },
  { name: "publint", needs: ["pack"], run: () => lintPackage(tarballs) },
  { name: "install", needs: ["pack"], run: () => installBare(bare, tarballs) },
  { name: "consumer", needs: ["install"], run: () => bareConsumer(bare) },
  { name: "browser bundle", needs: ["install"], run: () => browser(bare) },
  { name: "consumer on node", needs: ["pack"], run: () => nodeConsumer(join(work, "node"), tarballs) },
  { name: "programs of the pages", needs: ["build"], run: programs },
  { name: "tests named on pages", run: parity },
  { name: "types", needs: ["build"], run: types },
  { name: "lint", run: lint },
  { name: "format", run: format },
  { name: "circular imports", run: circular },
  { name: "changesets", run: () => changeset(join(work, "changesets")) }
]

const { failed, passed } = await runAll(steps, 2)
console.log(`check: ${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
