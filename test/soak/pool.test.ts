import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { FakeComfy } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Accounts from "./pool/Accounts.ts"
import { isFine, lines, run } from "./pool/PoolSoak.ts"
import { playFor } from "./pool/sequences.ts"

it.live(
  "300 jobs on processes that are killed again and again end once, and run as often as they say",
  () =>
    Effect.gen(function*() {
      const report = yield* run({ seconds: 60, seed: 3, jobs: 300, servers: 4 })
      assert.deepStrictEqual(report.complaints, [])
      assert.isTrue(isFine(report))
      assert.isAbove(report.jobs, 100)
      assert.isAbove(report.kills, 0)
      assert.isAbove(report.endings.get("JobSucceeded") ?? 0, report.jobs / 3)
      assert.strictEqual([...report.endings.values()].reduce((sum, times) => sum + times, 0), report.jobs)
      assert.include(lines(report).join("\n"), "processes left behind")
    }),
  { timeout: 200_000 }
)

it(
  "the model of the pool is played for as long as is wanted",
  { timeout: 60_000 },
  () =>
    Effect.runPromise(Effect.gen(function*() {
      const { count, wrong } = yield* playFor({ seconds: 1, seed: 1 })
      assert.deepStrictEqual(wrong, [])
      assert.isAbove(count, 0)
    }))
)

const runId = RunId.make("00000000-0000-4000-8000-000000000001")
const common = { jobId: JobId.make("job"), at: 0 }

const succeeded = (sequence: number, atMost: number): JobEvent => ({
  ...common,
  _tag: "JobSucceeded",
  sequence,
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: [],
  executions: { atLeast: 1, atMost }
})

const began: JobEvent = {
  ...common,
  _tag: "Attempt",
  sequence: 0,
  number: 1,
  event: { _tag: "Started", runId, backend: BackendId.make("a"), sequence: 0, at: 0, elapsed: 0, serverAt: null }
}

const ledger = (outcome: FakeComfy.PromptOutcome, ...numbers: ReadonlyArray<number>): FakeComfy.Ledger => ({
  prompts: numbers.map((number) => ({
    promptId: runId,
    number,
    acceptedAt: number,
    startedAt: number,
    endedAt: number,
    outcome
  })),
  nodes: [],
  dropped: 0
})

const judged = (events: ReadonlyArray<JobEvent>, ...ledgers: ReadonlyArray<FakeComfy.Ledger>) => {
  const job = Accounts.heard("job")
  const ended = new Set<number>()
  for (const event of events) Accounts.hear(job, event, ended)
  const book: Accounts.Book = new Map()
  for (const one of ledgers) Accounts.write(book, "a", one)
  const verdict = Accounts.judge(job, book)
  return Accounts.wrongs.filter((wrong) => verdict[wrong])
}

it("what was told of a job is held against what processes did", () => {
  assert.deepStrictEqual(judged([began, succeeded(1, 1)], ledger("success", 1)), [])
  assert.deepStrictEqual(judged([began], ledger("success", 1)), ["lost", "hung"])
  assert.deepStrictEqual(judged([began, succeeded(1, 1), succeeded(2, 1)], ledger("success", 1)), ["lost"])
  assert.deepStrictEqual(judged([began, succeeded(2, 1)], ledger("success", 1)), ["repeated"])
  assert.deepStrictEqual(judged([began, succeeded(1, 1)], ledger("success", 1, 2)), ["doubled"])
  assert.deepStrictEqual(judged([began, succeeded(1, 2)], ledger("success", 1, 2)), [])
  assert.deepStrictEqual(judged([began, succeeded(1, 1)], ledger("error", 1)), ["untrue"])
  // What a ledger said before is not said again.
  assert.deepStrictEqual(judged([began, succeeded(1, 1)], ledger("success", 1), ledger("lost", 1)), [])
})
