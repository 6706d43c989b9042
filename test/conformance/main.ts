// `npm run conformance -- --recordings DIR --workflows DIR`: what real servers said, and what people really run, against
// this library. With `--fake` the recordings are played against the fake server instead. New recordings and workflows
// are cases as they are.
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { parseArgs } from "node:util"
import { fakeCases, readSkips } from "./FakeCase.ts"
import { filesIn } from "./Files.ts"
import type { Case } from "./Outcome.ts"
import { recordingCases } from "./RecordingCases.ts"
import { caseLine, isFine, shares, summary } from "./Report.ts"
import { workflowCases } from "./WorkflowCase.ts"

const usage = "npm run conformance -- [--recordings DIR]… [--fake] [--workflows DIR]…"

const { values } = parseArgs({
  options: {
    recordings: { type: "string", multiple: true, default: [] },
    fake: { type: "boolean", default: false },
    workflows: { type: "string", multiple: true, default: [] }
  }
})

const program = Effect.gen(function*() {
  const all: Array<Case> = []
  const tell = (cases: ReadonlyArray<Case>) => {
    all.push(...cases)
    return Effect.forEach(cases, (one) => Console.log(caseLine(one)), { discard: true })
  }
  const skips = values.fake ? readSkips() : {}
  for (const folder of values.recordings) {
    for (const { name, text } of filesIn(folder, ".jsonl")) {
      yield* tell(values.fake ? fakeCases(name, text, skips) : yield* recordingCases(name, text))
    }
  }
  if (values.fake) { for (const line of shares(all)) yield* Console.log(line) }
  for (const folder of values.workflows) {
    for (const { name, text } of filesIn(folder, ".json")) yield* tell(workflowCases(name, text))
  }
  for (const line of summary(all)) yield* Console.log(line)
  return isFine(all)
})

if (values.recordings.length + values.workflows.length === 0) {
  process.stderr.write(`${usage}\n`)
  process.exitCode = 2
} else if (!(await Effect.runPromise(program))) process.exitCode = 1
