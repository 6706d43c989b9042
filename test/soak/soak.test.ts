import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { FakeComfy } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { idOf } from "../fire/World.ts"
import * as Audit from "./Audit.ts"
import { run } from "./Soak.ts"
import { strikes } from "./Strike.ts"
import * as Tally from "./Tally.ts"
import { isFine, lines } from "./Tally.ts"

it.live("a soak of some seconds loses nothing, and its table adds up", () =>
  Effect.gen(function*() {
    const report = yield* run({ seconds: 4, servers: 1, seed: 7 })
    const { tally } = report
    assert.deepStrictEqual(tally.complaints, [])
    assert.deepStrictEqual(tally.accidents, [])
    assert.isTrue(isFine(report))
    assert.isAbove(tally.runs, 0)
    assert.strictEqual([...tally.endings.values()].reduce((sum, each) => sum + each, 0), tally.runs)
    const faults = [...tally.faults.values()]
    assert.strictEqual(faults.length, strikes.length)
    assert.isAbove(faults.reduce((sum, { struck }) => sum + struck, 0), 0)
    assert.isTrue(faults.every(({ struck, tried }) => struck <= tried))
    assert.deepInclude(lines(report), `${"runs".padEnd(34)}${String(tally.runs).padStart(10)}`)
  }), { timeout: 120_000 })

it("every kind of fault has a name of its own", () => {
  assert.strictEqual(new Set(strikes.map(({ name }) => name)).size, strikes.length)
})

const runId = idOf(0)

const completed: ExecutionEvent = {
  _tag: "Completed",
  runId,
  backend: BackendId.make("a"),
  sequence: 0,
  at: 0,
  elapsed: 0,
  via: "http",
  outputs: {},
  executions: { atLeast: 1, atMost: 1 }
}

const taken = (outcome: FakeComfy.PromptOutcome): FakeComfy.Ledger["prompts"][number] => ({
  promptId: runId,
  number: 0,
  acceptedAt: 0,
  startedAt: 0,
  endedAt: 1,
  outcome
})

/** What is counted of one run of a node that fails, which told these events, on a server that did this. */
const audited = (
  events: ReadonlyArray<ExecutionEvent>,
  prompts: FakeComfy.Ledger["prompts"],
  hasEnded = true
) =>
  Effect.gen(function*() {
    const tally = Tally.make([])
    const host = { ledger: Effect.succeed({ prompts, nodes: [], dropped: 0 }), forget: () => {} }
    const audit = Audit.make(host, "a", tally)
    audit.end({
      run: {
        job: { kind: "raising", size: 1, startMs: 0, cancelMs: undefined, attachMs: undefined },
        runId,
        seen: { events, exit: hasEnded ? Exit.void : undefined },
        others: [],
        endedAt: 0,
        wasCancelled: false,
        wasLeft: false
      },
      wasKilled: false,
      wasShuffled: false
    })
    yield* audit.look
    return { lost: tally.lost, doubled: tally.doubled, hung: tally.hung }
  })

it.effect("a lie, a second execution and a run without an end are counted", () =>
  Effect.gen(function*() {
    const fine = { lost: 0, doubled: 0, hung: 0 }
    assert.deepStrictEqual(yield* audited([completed], [taken("success")]), fine)
    assert.deepStrictEqual(yield* audited([completed], []), { ...fine, lost: 1 })
    assert.deepStrictEqual(yield* audited([completed], [taken("error")]), { ...fine, lost: 1 })
    assert.deepStrictEqual(yield* audited([completed], [taken("success"), taken("success")]), { ...fine, doubled: 1 })
    assert.deepStrictEqual(yield* audited([], [taken("success")], false), { ...fine, hung: 1 })
  }))
