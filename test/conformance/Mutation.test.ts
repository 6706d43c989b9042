import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { join } from "node:path"
import { acceptedCase, run } from "./ClientCase.ts"
import { ofSubmission } from "./Expectation.ts"
import { filesIn } from "./Files.ts"
import { judge } from "./Judge.ts"
import { dropEnd, mutate, type Mutation, renameOutputs, swapEnd } from "./Mutation.ts"
import * as Recording from "./Recording.ts"
import { find } from "./Submissions.ts"

const mutations: Readonly<Record<string, Mutation>> = { dropEnd, swapEnd, renameOutputs }

const fixtures = [...filesIn(join(import.meta.dirname, "../fixtures/recordings"), ".jsonl")]
  .map(({ name, text }) => ({ name, found: find(Result.getOrThrow(Recording.parse(name, text))) }))

const told = (value: unknown): string => JSON.stringify(value) ?? ""

describe("a mutated recording", () => {
  for (const { found, name } of fixtures) {
    if (found.accepted.every((submission) => ofSubmission(found, submission).expectation === undefined)) continue
    it.live(`${name} demands another ending`, () =>
      Effect.gen(function*() {
        for (const submission of found.accepted) {
          const original = ofSubmission(found, submission)
          if (original.expectation === undefined || submission.workflow === undefined) continue
          const { events } = yield* run({ found, submission, holdAt: original.holdAt }, submission.workflow)
          assert.isUndefined(judge(original.expectation, events), submission.promptId)
          for (const [what, mutation] of Object.entries(mutations)) {
            const mutated = mutate(mutation, found, submission)
            if (mutated === undefined) continue
            const { expectation } = ofSubmission(mutated.found, mutated.submission)
            // A partial refusal stands in the answer to the POST, whatever comes of the accepted part.
            if (original.expectation._tag === "Refused") continue
            const where = `${submission.promptId} ${what}`
            assert.notStrictEqual(told(expectation), told(original.expectation), where)
            if (expectation === undefined) continue
            assert.isDefined(judge(expectation, events), `the old ending passes: ${where}`)
            // Without an end a client waits for an hour of virtual time: once a file is enough.
            if (expectation._tag === "WorkerStuck" && submission !== found.accepted[0]) continue
            const outcome = yield* acceptedCase(mutated.found, mutated.submission)
            assert.strictEqual(outcome._tag, "Passed", `${where}: ${told(outcome)}`)
          }
        }
      }))
  }

  it("reaches every kind of ending", () => {
    const all = fixtures.flatMap(({ found }) => found.accepted.map((submission) => ({ found, submission })))
    const tags = new Set(all.map(({ found, submission }) => ofSubmission(found, submission).expectation?._tag))
    for (const tag of ["Completed", "NodeFailed", "Cancelled", "Lost", "Unreachable", "WorkerStuck"] as const) {
      assert.isTrue(tags.has(tag), tag)
    }
    for (const [what, mutation] of Object.entries(mutations)) {
      const applied = all.filter(({ found, submission }) => mutate(mutation, found, submission) !== undefined)
      assert.isAbove(applied.length, all.length / 3, what)
    }
  })
})
