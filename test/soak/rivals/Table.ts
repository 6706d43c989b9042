/** What rivals cost each other, as a table. */
import type { Figures } from "./Rivals.ts"

/** What is compared. */
export interface Compared {
  readonly one: Figures
  readonly three: Figures
  /** Of the waits of 95 of 100 jobs: three pools to one. */
  readonly ratio: number
}

/** Three pools may keep jobs waiting so much longer than one. */
export const ratioLimit = 1.3

/** Whether nothing was lost or interrupted, and nobody waited too long. */
export const isFine = ({ one, ratio, three }: Compared): boolean =>
  [one, three].every(({ interrupted, lost }) => lost === 0 && interrupted === 0) && ratio <= ratioLimit

const row = (name: string, one: number | string, three: number | string): string =>
  `${name.padEnd(40)}${String(one).padStart(12)}${String(three).padStart(12)}`

const seconds = (ms: number): string => (ms / 1_000).toFixed(2)

/** The table, line by line. */
export const lines = ({ one, ratio, three }: Compared): ReadonlyArray<string> => {
  const both = (name: string, of: (figures: Figures) => number | string): string => row(name, of(one), of(three))
  return [
    row("", "one pool", "three pools"),
    both("jobs", ({ jobs }) => jobs),
    both("succeeded", ({ succeeded }) => succeeded),
    both("jobs without exactly one ending", ({ lost }) => lost),
    both("foreign interrupts", ({ interrupted }) => interrupted),
    both("prompts taken back before they ran", ({ removed }) => removed),
    both("servers busy", ({ busy }) => `${(100 * busy).toFixed(1)} %`),
    both("wait until the first node (s), p50", ({ p50 }) => seconds(p50)),
    both("wait until the first node (s), p95", ({ p95 }) => seconds(p95)),
    both("wait until the first placement (s), p95", ({ placedP95 }) => seconds(placedP95)),
    row("p95, three pools to one", "", `× ${ratio.toFixed(2)}`)
  ]
}
