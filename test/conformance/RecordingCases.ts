/** The cases of one recording. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { acceptedCase, refusedCase } from "./ClientCase.ts"
import { decodeCase } from "./DecodeCase.ts"
import { type Case, SkipReason } from "./Outcome.ts"
import * as Recording from "./Recording.ts"
import { find, type Submission } from "./Submissions.ts"

const nameOf = ({ occurrence, promptId }: Submission): string =>
  occurrence === 0 ? promptId || "\"\"" : `${promptId}#${occurrence + 1}`

/** Decodes a recording, and runs each of its prompts that a client can send. */
export const recordingCases = Effect.fnUntraced(function*(
  file: string,
  text: string
): Effect.fn.Return<ReadonlyArray<Case>> {
  const recording = Recording.parse(file, text)
  if (Result.isFailure(recording)) {
    return [{ file, name: "decode", outcome: { _tag: "Failed", detail: recording.failure } }]
  }
  const found = find(recording.success)
  const cases: Array<Case> = [{ file, name: "decode", outcome: decodeCase(recording.success) }]
  for (const submission of found.accepted) {
    cases.push({ file, name: nameOf(submission), outcome: yield* acceptedCase(found, submission) })
  }
  for (const refused of found.refused) {
    const { exchange, workflow } = refused
    if (workflow === undefined) continue
    const name = `refused at line ${exchange.endAt + 1}`
    cases.push({ file, name, outcome: yield* refusedCase(found, refused, workflow) })
  }
  if (cases.length === 1) {
    cases.push({ file, name: "client", outcome: { _tag: "Skipped", reason: SkipReason.noAcceptedPrompt } })
  }
  return cases
})
