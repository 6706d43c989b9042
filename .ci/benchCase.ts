// One case in a process of its own: `benchCase.ts FILE NAME`. The last line of its output is the verdict.
import { readCases } from "./bench/find.ts"
import { measure } from "./bench/measure.ts"
import { judge } from "./bench/statistics.ts"

const [file = "", name] = process.argv.slice(2)
const one = (await readCases(file)).find((one) => one.name === name)
if (one === undefined) throw new Error(`${file} has no case ${name}`)
const verdict = judge(one, await measure(one))
process.stdout.write(`\n${JSON.stringify(verdict)}\n`, () => process.exit(0))
