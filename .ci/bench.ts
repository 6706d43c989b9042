// `npm run bench`, `npm run bench -- frames links`, `npm run --silent bench -- --json`: every case in a fresh process,
// one after the other. It fails when a goal is not reached.
import { join } from "node:path"
import type { Case, Goal } from "./bench/contract.ts"
import { findCases, type Found } from "./bench/find.ts"
import type { Verdict } from "./bench/statistics.ts"
import { root } from "./lib/packages.ts"
import { run } from "./lib/process.ts"

const limitMs = 300_000
const flags = ["--expose-gc", "--conditions=@effect-comfyui/source", join(root, ".ci/benchCase.ts")]

/** The verdict of the fresh process, or what it said instead. */
const measured = async ({ file, one }: Found): Promise<Verdict | string> => {
  const { code, output, stdout } = await run(process.execPath, [...flags, file, one.name], { cwd: root, limitMs })
  return code === 0 ? JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "") : `ended with ${code}\n${output}`
}

const figure = (value: number): string => value.toPrecision(4)
const goalText = (goal: Goal): string => {
  if ("max" in goal) return `≤ ${goal.max}`
  if ("min" in goal) return `≥ ${goal.min}`
  return "maxAbsolute" in goal ? `ours ≤ ${goal.maxAbsolute}` : `ours ≥ ${goal.minAbsolute}`
}

const row = ({ name, noise, unit }: Case, { goal, interval, ok, ours, ratio, reference }: Verdict): string =>
  [
    ok ? "ok  " : "FAIL",
    name.padEnd(20),
    figure(ours).padStart(10),
    figure(reference).padStart(10),
    (unit ?? "").padEnd(8),
    figure(ratio).padStart(8),
    (noise === "close" ? `[${interval.map(figure).join(", ")}]` : "").padEnd(16),
    goalText(goal)
  ].join(" ")

const args = process.argv.slice(2)
const json = args.includes("--json")
const found = await findCases(args.filter((arg) => !arg.startsWith("--")))
const results: Record<string, unknown> = {}
let failed = 0
if (!json) console.log(`     ${"case".padEnd(20)} ${"ours".padStart(10)}  reference ${" ".repeat(8)}    ratio`)
for (const each of found) {
  const verdict = await measured(each)
  if (typeof verdict === "string") {
    console.error(`${each.one.name} ${verdict}`)
    results[each.one.name] = { ours: null, reference: null, ratio: null, goal: each.one.goal, ok: false }
    failed++
    continue
  }
  const { goal, ok, ours, ratio, reference } = verdict
  results[each.one.name] = { ours, reference, ratio, goal, ok }
  if (!ok) failed++
  if (!json) console.log(row(each.one, verdict))
}
if (json) console.log(JSON.stringify(results))
process.exitCode = failed === 0 ? 0 : 1
