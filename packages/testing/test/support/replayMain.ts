// npm run node -- packages/testing/test/support/replayMain.ts FOLDER [part of a file's name] [differences to show]
// Plays recordings of real servers against the pure server: a line for each, and a sum.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { parseLines } from "./recording.ts"
import { replay } from "./replay.ts"
import { whyUnplayed } from "./worlds.ts"

const print = (line: string): void => void process.stdout.write(`${line}\n`)

const [folder = "", only = "", shown = "0"] = process.argv.slice(2)

/** The place where two texts part, with a little before it. */
const excerpt = (text: string, other: string): string => {
  let at = 0
  while (at < text.length && text[at] === other[at]) at++
  const from = Math.max(0, at - 120)
  return `${from > 0 ? "…" : ""}${text.slice(from, at + 300)}`
}

const sums = new Map<
  string,
  { files: number; whole: number; answers: number; right: number; all: number; same: number }
>()
for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }).toSorted()) {
  if (!path.endsWith(".jsonl") || !path.includes(only)) continue
  const lines = parseLines(readFileSync(join(folder, path), "utf8"))
  const { answers, differences, frames, races } = replay(lines)
  // Figures only: there is nothing to compare.
  if (answers.all + frames.all === 0) continue
  const [head] = lines
  const why = head?.kind === "case" ? whyUnplayed(head.version, head.case) : undefined
  const verdict = differences.length === 0 ? "same" : why === undefined ? "DIFFERS" : "unplayed"
  const version = head?.kind === "case" ? head.version : ""
  const sum = sums.get(version) ?? { files: 0, whole: 0, answers: 0, right: 0, all: 0, same: 0 }
  sum.files++
  if (differences.length === 0) sum.whole++
  sum.answers += answers.all
  sum.right += answers.same
  sum.all += frames.all
  sum.same += frames.same
  sums.set(version, sum)
  print(
    `${verdict.padEnd(8)} ${path}: ${answers.same} of ${answers.all} answers, ${frames.same} of ${frames.all} frames` +
      (races > 0 ? `, order of ${races} sockets' status` : "") + (verdict === "unplayed" ? ` (${why})` : "")
  )
  for (const one of differences.slice(0, Number(shown))) {
    print(
      `  ${one.where}\n    recorded ${excerpt(one.recorded, one.fake)}\n    fake     ${excerpt(one.fake, one.recorded)}`
    )
  }
}
for (const [version, sum] of sums) {
  print(
    `${version}: ${sum.whole} of ${sum.files} files, ${sum.right} of ${sum.answers} answers, ${sum.same} of ${sum.all} frames`
  )
}
