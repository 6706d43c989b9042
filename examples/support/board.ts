// A terminal's view of several runs: a bar each where there is a terminal, plain lines where there is none.
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Progress from "@effect-comfyui/execution/Progress"

/** So many characters, and the percentage. */
export const bar = (fraction: number, width = 30): string => {
  const full = Math.round(fraction * width)
  return `${"█".repeat(full)}${"░".repeat(width - full)} ${`${Math.floor(fraction * 100)}`.padStart(3)} %`
}

interface Row {
  readonly name: string
  readonly progress: Progress.State
  previews: number
  told: number
}

export interface Board {
  /** A run of a graph of these nodes. */
  readonly add: (name: string, nodeIds: Iterable<string>) => (event: ExecutionEvent) => void
}

const describe = (row: Row): string => {
  const { fraction, running, stage } = Progress.snapshot(row.progress)
  const now = stage === "running" && running.length > 0 ? `node ${running.join(", ")}` : stage
  const previews = row.previews === 0 ? "" : `, ${row.previews} previews`
  return `${row.name.padEnd(14)} ${bar(fraction)}  ${now}${previews}`
}

export const make = (out: NodeJS.WriteStream): Board => {
  const rows: Array<Row> = []
  let drawn = 0
  const draw = (): void => {
    const up = drawn === 0 ? "" : `\u001b[${drawn}A`
    out.write(up + rows.map((row) => `\u001b[2K${describe(row)}\n`).join(""))
    drawn = rows.length
  }
  /** Without a terminal: a line at each quarter, and at the end. */
  const tell = (row: Row): void => {
    const { fraction, stage } = Progress.snapshot(row.progress)
    const step = stage === "running" ? Math.floor(fraction * 4) : stage === "waiting" ? 0 : 5
    if (step <= row.told) return
    row.told = step
    out.write(`${describe(row)}\n`)
  }
  return {
    add: (name, nodeIds) => {
      const row: Row = { name, progress: Progress.init(nodeIds), previews: 0, told: 0 }
      rows.push(row)
      return (event) => {
        Progress.step(row.progress, event)
        if (event._tag === "Preview") row.previews++
        if (out.isTTY) draw()
        else tell(row)
      }
    }
  }
}

/** Rows as text in columns. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n")
}
