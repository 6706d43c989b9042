/** What the command prints: a line per case, cases by file, and the count. */
import type { Case, Outcome } from "./Outcome.ts"

const words = { Passed: "ok  ", Failed: "FAIL", Skipped: "skip", Listed: "skip" } as const

/** One case in one line. */
export const caseLine = ({ file, name, outcome }: Case): string => {
  const detail = "reason" in outcome ? outcome.reason : outcome.detail
  return `${words[outcome._tag]}  ${file}  ${name}  ${detail.replaceAll(/\s+/g, " ").slice(0, 400)}`
}

const count = (cases: ReadonlyArray<Case>, ...tags: ReadonlyArray<Outcome["_tag"]>): number =>
  cases.filter(({ outcome }) => tags.includes(outcome._tag)).length

/** `N passed, N failed, N skipped`. */
export const countLine = (cases: ReadonlyArray<Case>): string =>
  `${count(cases, "Passed")} passed, ${count(cases, "Failed")} failed, ${count(cases, "Skipped", "Listed")} skipped`

/** How many of a version's cases were run: the folder of a file is its version. */
export const shares = (cases: ReadonlyArray<Case>): ReadonlyArray<string> =>
  [...Map.groupBy(cases, ({ file }) => file.split("/")[0] ?? "")].map(([version, own]) => {
    const run = count(own, "Passed", "Failed")
    return `${version}: ${run} of ${own.length} cases run (${Math.round((100 * run) / own.length)} %)`
  })

/** Cases by file, then the count of all. */
export const summary = (cases: ReadonlyArray<Case>): ReadonlyArray<string> => [
  ...[...Map.groupBy(cases, ({ file }) => file)].map(([file, own]) => `${file}: ${countLine(own)}`),
  countLine(cases)
]

/** Whether nothing failed. A run without any case has shown nothing. */
export const isFine = (cases: ReadonlyArray<Case>): boolean =>
  count(cases, "Failed") === 0 && count(cases, "Passed") > 0
