import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import { assert, describe, it } from "@effect/vitest"
import { canonical } from "./Exact.ts"
import { disorder, judge } from "./Judge.ts"
import type { Case } from "./Outcome.ts"
import { isFine, summary } from "./Report.ts"

const common = (sequence: number) => ({
  runId: RunId.make("00000000-0000-4000-8000-000000000000"),
  backend: BackendId.make("recorded"),
  sequence,
  at: 0,
  elapsed: 0
})
const submitted: ExecutionEvent = { _tag: "Submitted", ...common(0), promptId: "1", number: 1, seeds: [] }
const completed = (sequence: number, text = "a"): ExecutionEvent => ({
  _tag: "Completed",
  ...common(sequence),
  via: "socket",
  outputs: Outputs.fromRecords({ "2": { text: [text] } }),
  executions: { atLeast: 1, atMost: 1 }
})
const failed: ExecutionEvent = {
  _tag: "Failed",
  ...common(1),
  via: "http",
  error: new ExecutionError({ reason: { _tag: "Lost", evidence: "" }, runId: null, backend: null })
}
const records = (text: string) => ({ "2": canonical(JSON.stringify({ text: [text] })) ?? "" })

describe("the order of events", () => {
  it("is one ending, last, and no hole", () => {
    assert.isUndefined(disorder([submitted, completed(1)]))
    const wrong = {
      nothing: [],
      "no ending": [submitted],
      "two endings": [submitted, completed(1), completed(2)],
      "an event after the ending": [completed(0), { ...submitted, sequence: 1 }],
      "a hole": [submitted, completed(2)],
      "a number twice": [submitted, completed(0)]
    } satisfies Record<string, ReadonlyArray<ExecutionEvent>>
    for (const [what, events] of Object.entries(wrong)) assert.isDefined(disorder(events), what)
  })
})

describe("the verdict", () => {
  it("takes the stated ending and no other", () => {
    const events = [submitted, completed(1)]
    assert.isUndefined(judge({ _tag: "Completed", outputs: records("a") }, events))
    assert.isUndefined(judge({ _tag: "Completed", outputs: undefined }, events))
    assert.isDefined(judge({ _tag: "Completed", outputs: records("b") }, events))
    assert.isDefined(judge({ _tag: "Completed", outputs: {} }, events))
    assert.isDefined(judge({ _tag: "Completed", outputs: { ...records("a"), "3": "{}" } }, events))
    assert.isDefined(judge({ _tag: "Cancelled" }, events))
    assert.isDefined(judge({ _tag: "NodeFailed", nodeId: "2", exceptionType: "ValueError" }, events))
  })

  it("tells the ways of being lost apart", () => {
    const events = [submitted, failed]
    assert.isUndefined(judge({ _tag: "Lost" }, events))
    for (const _tag of ["Unreachable", "WorkerStuck"] as const) assert.isDefined(judge({ _tag }, events))
    assert.isDefined(judge({ _tag: "NotSent", type: "Cycle" }, events))
    assert.isDefined(judge({ _tag: "Refused", type: undefined, nodeIds: [], classes: [] }, events))
  })
})

describe("the report", () => {
  const one = (outcome: Case["outcome"]): Case => ({ file: "a.jsonl", name: "decode", outcome })
  const passed = one({ _tag: "Passed", detail: "" })

  it("counts by file and ends with the count of all", () => {
    const cases = [passed, one({ _tag: "Failed", detail: "x" }), one({ _tag: "Skipped", reason: "no-accepted-prompt" })]
    assert.deepStrictEqual(summary(cases), [
      "a.jsonl: 1 passed, 1 failed, 1 skipped",
      "1 passed, 1 failed, 1 skipped"
    ])
    assert.isFalse(isFine(cases))
    assert.isTrue(isFine([passed]))
    assert.isFalse(isFine([]))
  })
})
