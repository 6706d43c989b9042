// npm run node -- packages/testing/test/support/compareMain.ts DIR [case] : one line per recording.
import { readdirSync, readFileSync } from "node:fs"
import { compare } from "./compare.ts"
import { recNodes } from "./recNodes.ts"
import { parseLines } from "./recording.ts"

const [dir = "/work/shared/recordings", only = "", verbose = ""] = process.argv.slice(2)
for (const version of readdirSync(dir).filter((name) => /^[0-9]/.test(name))) {
  for (const file of readdirSync(`${dir}/${version}`).filter((name) => name.endsWith(".jsonl"))) {
    if (only !== "" && !`${version}/${file}`.includes(only)) continue
    const lines = parseLines(readFileSync(`${dir}/${version}/${file}`, "utf8"))
    const report = compare(lines, { nodes: recNodes })
    const verdict = report.differences.length === 0 ? "pass" : "FAIL"
    process.stdout.write(
      `${verdict} ${version}/${file} ${report.answers} answers, ${report.frames} frames, ${report.differences.length} differences, ${report.races} races\n`
    )
    if (only !== "" || verbose !== "") {
      for (const one of report.differences.slice(0, Number(verbose || 5))) {
        let i = 0
        while (i < one.recorded.length && one.recorded[i] === one.fake[i]) i++
        const from = Math.max(0, i - 120)
        process.stdout.write(
          `  ${one.where}\n    recorded ${from > 0 ? "…" : ""}${one.recorded.slice(from, i + 300)}\n    fake     ${
            from > 0 ? "…" : ""
          }${one.fake.slice(from, i + 300)}`
        )
      }
    }
  }
}
