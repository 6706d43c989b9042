/** The verdict of a night, as a table. */
import * as Rows from "../Rows.ts"
import { type Figures, quantile, type Wrong, wrongs } from "./Judge.ts"
import type { Report } from "./Night.ts"

/** More requests than these, per server and second, are a burden: fifteen seconds between probes make 0.067. */
export const beyondLimit = 0.1

/** Whether all went as it must. */
export const isFine = ({ beyond, figures }: Report): boolean =>
  Object.values(figures.wrongs).every((found) => found.length === 0) && beyond <= beyondLimit

const row = Rows.row(46)

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`

const seconds = (ms: number): string => (ms / 1_000).toFixed(1)

const wait = (name: string, values: ReadonlyArray<number>): string =>
  row(
    `wait of ${name} (s), p50 / p95 / p99`,
    [0.5, 0.95, 0.99].map((q) => seconds(quantile(values, q))).join(" / ")
  )

const maxTexts = 20

const wrongRows = (found: Figures["wrongs"]): ReadonlyArray<string> => {
  const names: ReadonlyArray<Wrong> = [
    "lost",
    "falselyLost",
    "healthy",
    "doubled",
    "untrue",
    "interrupted",
    "paidTwice"
  ]
  return names.map((name) => row(wrongs[name], found[name].length))
}

/** The table, line by line. */
export const lines = (report: Report): ReadonlyArray<string> => {
  const { beyond, cpuSeconds, faults, figures, options, requests, virtualSeconds, wallSeconds } = report
  return [
    row("seed", options.seed),
    row("servers", options.servers),
    row("virtual hours", (virtualSeconds / 3_600).toFixed(2)),
    row("jobs", report.jobs),
    ...Rows.counted(figures.endings, row),
    row("attempts that did not complete", [...figures.attempts.values()].reduce((sum, times) => sum + times, 0)),
    ...Rows.counted(figures.attempts, row),
    row("executions that servers began", figures.executions),
    row("executions that jobs declared, at most", figures.declared),
    row("given up, though the server ran it to its end", figures.ranOn),
    row("prompts of others", figures.foreign),
    row("leases that ended", figures.leases),
    row("runs cut by the end of a lease", figures.cut),
    row("paid jobs", figures.paid),
    row("fleet busy while jobs came", percent(figures.busy)),
    row("placed where it was warm", percent(figures.warm)),
    wait("pictures", figures.waits.pictures),
    wait("videos", figures.waits.videos),
    ...wrongRows(figures.wrongs),
    row("requests", [...requests.values()].reduce((sum, times) => sum + times, 0)),
    ...Rows.counted(requests, row),
    row("beyond the runs' own, per server and second", beyond.toFixed(4)),
    row("faults", "struck"),
    ...[...faults].map(([name, { struck, tried }]) => `${row(`  ${name}`, struck)}  of ${tried}`),
    row("virtual seconds a second", Math.round(virtualSeconds / wallSeconds)),
    row("wall clock (s)", wallSeconds.toFixed(1)),
    row("processor (s)", cpuSeconds.toFixed(1)),
    ...Object.entries(figures.wrongs).flatMap(([name, texts]) =>
      texts.slice(0, maxTexts).map((text) => `${name}: ${text}`)
    )
  ]
}
