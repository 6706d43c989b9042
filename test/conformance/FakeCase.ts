/** The client's side of a recording against the fake server of its version: every answer and every frame must match. */
import * as Schema from "effect/Schema"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseLines } from "../../packages/testing/test/support/recording.ts"
import { type Difference, replay } from "../../packages/testing/test/support/replay.ts"
import type { Case, Outcome } from "./Outcome.ts"

/** Case ids (`0.33.0/57-assets`) with the reason why the fake is not compared there. */
export type Skips = Readonly<Record<string, string>>

const skipFile = join(import.meta.dirname, "../../conformance.skip.json")

/** What `conformance.skip.json` lists; throws where that is something else. */
export const readSkips = (path = skipFile): Skips =>
  Schema.decodeSync(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))(
    readFileSync(path, "utf8")
  )

/** The place where two texts part, with a little before it. */
const excerpt = (text: string, other: string): string => {
  let at = 0
  while (at < text.length && text[at] === other[at]) at++
  const from = Math.max(0, at - 60)
  return `${from > 0 ? "…" : ""}${text.slice(from, at + 100)}`
}

const told = ({ fake, recorded, where }: Difference): string =>
  `${where}: recorded ${excerpt(recorded, fake)} fake ${excerpt(fake, recorded)}`

const compared = (id: string, text: string, skips: Skips): Outcome | undefined => {
  const { answers, differences, frames } = replay(parseLines(text))
  // Figures only: there is nothing to compare.
  if (answers.all + frames.all === 0) return undefined
  const reason = skips[id]
  const [first] = differences
  if (reason !== undefined) {
    return first === undefined
      ? { _tag: "Failed", detail: "listed in conformance.skip.json, and there is no difference" }
      : { _tag: "Listed", reason }
  }
  return first === undefined
    ? { _tag: "Passed", detail: `${answers.all} answers, ${frames.all} frames` }
    : { _tag: "Failed", detail: `${differences.length} differences; ${told(first)}` }
}

/** A file of recordings as one case, or as none where it holds nothing to compare. */
export const fakeCases = (file: string, text: string, skips: Skips): ReadonlyArray<Case> => {
  const id = file.replace(/\.jsonl$/, "")
  const outcome = compared(id, text, skips)
  return outcome === undefined ? [] : [{ file, name: "fake", outcome }]
}
