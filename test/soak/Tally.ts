/** What a soak counts, and the table that it prints. */
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Rows from "./Rows.ts"

/** Counted in place, by all servers together. */
export interface Tally {
  runs: number
  /** Nodes that ran, as far as ledgers tell. */
  executions: number
  /** Runs whose process died with what it knew of them. */
  unknowable: number
  /** Runs whose ending contradicts the ledger. */
  lost: number
  hung: number
  /** Prompts or nodes that ran more often than the ending said. */
  doubled: number
  readonly endings: Map<string, number>
  /** The first of them, in words. */
  readonly complaints: Array<string>
  /** How often each kind of fault was tried, how often it struck. */
  readonly faults: Map<string, { tried: number; struck: number }>
  /** Strikes that died themselves: a fake that ended though nobody killed it. */
  readonly accidents: Array<string>
}

export const make = (kinds: ReadonlyArray<string>): Tally => ({
  runs: 0,
  executions: 0,
  unknowable: 0,
  lost: 0,
  hung: 0,
  doubled: 0,
  endings: new Map(),
  complaints: [],
  faults: new Map(kinds.map((kind) => [kind, { tried: 0, struck: 0 }])),
  accidents: []
})

const maxTexts = 50

/** Keeps a text while there is room. */
export const keep = (texts: Array<string>, text: string): void => {
  if (texts.length < maxTexts) texts.push(text)
}

/** How a run ended, as the table names it. */
export const nameOf = (last: ExecutionEvent | undefined): string => {
  switch (last?._tag) {
    case "Completed":
      return "Completed"
    case "Cancelled":
      return `Cancelled by ${last.by}`
    case "Failed":
      return `Failed(${last.error.reason._tag})`
    default:
      return "none"
  }
}

export const count = (counts: Map<string, number>, name: string): void => {
  counts.set(name, (counts.get(name) ?? 0) + 1)
}

/** What is left of a soak. */
export interface Report {
  readonly tally: Tally
  readonly seconds: number
  readonly seed: number
  /** Bytes in use after a collection, once the first jobs are behind (a minute, or a third of the time), and in the end. */
  readonly heapEarly: number
  readonly heapEnd: number
}

/** Whether nothing was lost, nothing hangs, nothing ran twice unsaid, and the soak itself went as it should. */
export const isFine = ({ tally }: Report): boolean =>
  tally.lost === 0 && tally.hung === 0 && tally.doubled === 0 && tally.accidents.length === 0

const mb = (bytes: number): string => (bytes / 1e6).toFixed(1)

const row = Rows.row(34)

/** The table, line by line. */
export const lines = ({ heapEarly, heapEnd, seconds, seed, tally }: Report): ReadonlyArray<string> => [
  row("seed", seed),
  row("seconds", Math.round(seconds)),
  row("runs", tally.runs),
  ...Rows.counted(tally.endings, row),
  row("executions of nodes, known", tally.executions),
  row("runs that nobody can know of", tally.unknowable),
  row("lost", tally.lost),
  row("doubled, undeclared", tally.doubled),
  row("hung", tally.hung),
  row("heap after GC, early (MB)", mb(heapEarly)),
  row("heap after GC, end (MB)", mb(heapEnd)),
  row("faults", "struck"),
  ...[...tally.faults].map(([name, { struck, tried }]) => `${row(`  ${name}`, struck)}  of ${tried}`),
  ...tally.accidents.map((text) => `accident: ${text}`),
  ...tally.complaints.map((text) => `complaint: ${text}`)
]
