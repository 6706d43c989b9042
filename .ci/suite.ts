// Everything that `.ci/run` runs after `npm ci`, each as a user would start it, and the count of all of it.
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { root } from "./lib/packages.ts"
import { type Finished, run } from "./lib/process.ts"

interface Count {
  readonly passed: number
  readonly failed: number
}

const work = mkdtempSync(join(tmpdir(), "effect-comfyui-suite-"))
process.on("exit", () => rmSync(work, { recursive: true, force: true }))

// npm puts these first on the PATH of its scripts; a user's shell does not have them.
const path = process.env["PATH"]?.split(delimiter).filter((folder) => !/node_modules|node-gyp-bin/.test(folder))
const env = { ...process.env, PATH: path?.join(delimiter), NO_COLOR: "1" }

const hang = performance.now() + 570_000

const fine = ({ code, left }: Finished): boolean => code === 0 && !left

/** A failure that no count speaks of counts as one: a crash, a hang, a process left behind. */
const honest = (count: Count, finished: Finished): Count => ({
  passed: count.passed,
  failed: Math.max(count.failed, fine(finished) ? 0 : 1)
})

const npm = async (args: ReadonlyArray<string>, limitMs: number, count: (finished: Finished) => Count) => {
  console.log(`\n$ npm ${args.join(" ")}`)
  const limit = Math.max(1000, Math.min(limitMs, hang - performance.now()))
  const finished = await run("npm", args, { cwd: root, env, echo: true, limitMs: limit, graceMs: 10_000 })
  if (finished.code === 124) console.log(`stopped after ${Math.round(limit / 1000)} s`)
  if (finished.left) console.log("it left a process behind")
  return honest(count(finished), finished)
}

const none: Count = { passed: 0, failed: 0 }

/** The last line of the form `… N passed, N failed`. */
const spoken = ({ stdout }: Finished): Count => {
  const [, passed, failed] = [...stdout.matchAll(/(\d+) passed, (\d+) failed/g)].at(-1) ?? []
  return { passed: Number(passed ?? 0), failed: Number(failed ?? 0) }
}

const report = join(work, "vitest.json")

interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: ReadonlyArray<{ readonly status: string; readonly assertionResults: ReadonlyArray<unknown> }>
}

/** A file that could not even be loaded has no tests; it counts as one that failed. */
const tested = (): Count => {
  if (!existsSync(report)) return none
  const { numFailedTests, numPassedTests, testResults }: Report = JSON.parse(readFileSync(report, "utf8"))
  const broken = testResults.filter(({ assertionResults, status }) =>
    status === "failed" && assertionResults.length === 0
  )
  return { passed: numPassedTests, failed: numFailedTests + broken.length }
}

const conformance = ["test/conformance/main.ts", "test/fixtures/recordings", "test/fixtures/workflows"]
const replay = ["--recordings", "test/fixtures/recordings", "--workflows", "test/fixtures/workflows"]
// A test runs `npm start`, and looks at what it says and writes.
const examples = globSync("examples/[0-9][0-9]-*.ts", { cwd: root, exclude: ["**/*.test.ts", "examples/08-fleet.ts"] })
  .toSorted()
const minute = 60_000

const counts: Array<Count> = [
  await npm(["run", "--silent", "check"], 5 * minute, spoken),
  await npm(["test", "--", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`], 8 * minute, tested)
]
if (conformance.every((path) => existsSync(join(root, path)))) {
  counts.push(await npm(["run", "--silent", "conformance", "--", ...replay], 3 * minute, spoken))
}
for (const example of examples) {
  const one = (finished: Finished): Count => ({ passed: fine(finished) ? 1 : 0, failed: 0 })
  counts.push(await npm(["run", "--silent", "node", "--", example], minute, one))
}

const passed = counts.reduce((sum, count) => sum + count.passed, 0)
const failed = counts.reduce((sum, count) => sum + count.failed, 0)
console.log(`\n${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
