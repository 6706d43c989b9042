/**
 * Profiles as tables for spreadsheets: RFC 4180 with a header row and CRLF. A text that a spreadsheet would take for a
 * formula (it begins with `=`, `+`, `-`, `@`, a tab or a carriage return) gets an apostrophe before it.
 */
import type * as Stream from "effect/Stream"
import { write } from "./internal/text.ts"
import type { JobProfile } from "./JobProfile.ts"

type Cell = string | number | boolean | null
type Columns = ReadonlyArray<string>

const cell = (value: Cell): string => {
  if (typeof value !== "string") return value === null ? "" : String(value)
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n\t]|^ | $/.test(safe) ? `"${safe.replaceAll("\"", "\"\"")}"` : safe
}

const line = (cells: ReadonlyArray<Cell>): string => `${cells.map(cell).join(",")}\r\n`

const table = <E, R>(
  jobs: Stream.Stream<JobProfile, E, R>,
  columns: Columns,
  rowsOf: (job: JobProfile) => ReadonlyArray<ReadonlyArray<Cell>>
): Stream.Stream<string, E, R> =>
  write(jobs, () => ({ head: line(columns), job: (job) => rowsOf(job).map(line).join(""), foot: () => "" }))

/** Columns of `jobs`; milliseconds where the name says Ms. */
export const jobColumns = [
  "jobId",
  "state",
  "reason",
  "queuedAtMs",
  "queueMs",
  "retryWaitMs",
  "transferMs",
  "totalMs",
  "attempts",
  "decidedBy",
  "server",
  "executionMs"
] as const satisfies Columns

/** A row per job; `server` and `executionMs` are of the attempt that decided it. */
export const jobs = <E, R>(jobs: Stream.Stream<JobProfile, E, R>): Stream.Stream<string, E, R> =>
  table(jobs, jobColumns, (job) => {
    const decided = job.attempts.find(({ number }) => number === job.decidedBy)
    return [[
      job.jobId,
      job.state,
      job.reason,
      job.queuedAtMs,
      job.queueMs,
      job.retryWaitMs,
      job.transferMs,
      job.totalMs,
      job.attempts.length + job.droppedAttempts,
      job.decidedBy,
      decided?.server ?? null,
      decided?.run.executionMs ?? null
    ]]
  })

/** Columns of `nodes`; milliseconds where the name says Ms. */
export const nodeColumns = [
  "jobId",
  "attempt",
  "server",
  "verdict",
  "runId",
  "nodeId",
  "displayId",
  "classType",
  "title",
  "state",
  "executions",
  "startMs",
  "endMs",
  "durationMs",
  "exclusiveMs",
  "share",
  "steps",
  "stepsPerSecond",
  "inferred"
] as const satisfies Columns

/** A row per node of every attempt. */
export const nodes = <E, R>(jobs: Stream.Stream<JobProfile, E, R>): Stream.Stream<string, E, R> =>
  table(
    jobs,
    nodeColumns,
    ({ attempts, jobId }) =>
      attempts.flatMap(({ number, run, server, verdict }) =>
        run.nodes.map((node) => [
          jobId,
          number,
          server,
          verdict,
          run.runId,
          node.nodeId,
          node.displayId,
          node.classType,
          node.title,
          node.state,
          node.executions,
          node.startMs,
          node.endMs,
          node.durationMs,
          node.exclusiveMs,
          node.share,
          node.progress?.steps ?? null,
          node.progress?.stepsPerSecond ?? null,
          node.inferred
        ])
      )
  )
