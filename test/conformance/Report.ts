/** What the command prints: a line per case, cases by file, and the count. */
import type { Case, Outcome } from "./Outcome.ts"

const words = { Passed: "ok  ", Failed: "FAIL", Skipped: "skip" } as const

/** One case in one line. */
export const caseLine = ({ file, name, outcome }: Case): string => {
  const detail = outcome._tag === "Skipped" ? outcome.reason : outcome.detail
  return `${words[outcome._tag]}  ${file}  ${name}  ${detail.replaceAll(/\s+/g, " ").slice(0, 400)}`
}

const count = (cases: ReadonlyArray<Case>, tag: Outcome["_tag"]): number =>
  cases.filter(({ outcome }) => outcome._tag === tag).length

/** `N passed, N failed, N skipped`. */
export const countLine = (cases: ReadonlyArray<Case>): string =>
  `${count(cases, "Passed")} passed, ${count(cases, "Failed")} failed, ${count(cases, "Skipped")} skipped`

/** Cases by file, then the count of all. */
export const summary = (cases: ReadonlyArray<Case>): ReadonlyArray<string> => [
  ...[...Map.groupBy(cases, ({ file }) => file)].map(([file, own]) => `${file}: ${countLine(own)}`),
  countLine(cases)
]

/** Whether nothing failed. A run without any case has shown nothing. */
export const isFine = (cases: ReadonlyArray<Case>): boolean =>
  count(cases, "Failed") === 0 && count(cases, "Passed") > 0
