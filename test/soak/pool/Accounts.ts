/**
 * What processes did and what jobs were told, kept until the end: ledgers are read again and again, because they die with
 * their process.
 */
import { isJobEnding, type JobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { FakeComfy } from "@effect-comfyui/testing"

type PromptRecord = FakeComfy.Ledger["prompts"][number]

/** One job as it was heard. */
export interface Heard {
  readonly name: string
  readonly runs: Set<string>
  readonly endings: Array<JobEnding>
  /** Completions of one attempt beyond its first, and places in the events that do not follow each other. */
  repeated: number
  sequence: number
}

export const heard = (name: string): Heard => ({
  name,
  runs: new Set(),
  endings: [],
  repeated: 0,
  sequence: -1
})

const transient: ReadonlySet<string> = new Set(["NodeProgress", "Preview", "NodeText"])
const runEndings: ReadonlySet<string> = new Set(["Completed", "Failed", "Cancelled"])

/** Takes an event of the job. `ended`: attempts whose ending was heard. */
export const hear = (job: Heard, event: JobEvent, ended: Set<number>): void => {
  if (!(event._tag === "Attempt" && transient.has(event.event._tag))) job.sequence++
  if (event.sequence !== job.sequence) job.repeated++
  if (isJobEnding(event)) job.endings.push(event)
  if (event._tag === "AttemptEnded") job.runs.add(event.ending.runId)
  if (event._tag !== "Attempt") return
  job.runs.add(event.event.runId)
  if (!runEndings.has(event.event._tag)) return
  if (ended.has(event.number)) job.repeated++
  ended.add(event.number)
}

/** What is known of prompts, by id, for each process that took it. */
export type Book = Map<string, Map<string, PromptRecord>>

/** Takes what a ledger says now; a later word on a prompt replaces the earlier. */
export const write = (book: Book, server: string, { prompts }: FakeComfy.Ledger): void => {
  for (const record of prompts) {
    const known = book.get(record.promptId) ?? new Map<string, PromptRecord>()
    book.set(record.promptId, known)
    const place = `${server} ${record.number} ${record.acceptedAt}`
    // What a process said before its death may be older than what it said last.
    if (known.get(place)?.outcome === undefined) known.set(place, record)
  }
}

/** How a job ended, as tables name it. */
export const nameOf = (ending: JobEnding | undefined): string =>
  ending === undefined
    ? "none"
    : ending._tag === "JobFailed" || ending._tag === "DeadLettered"
    ? `${ending._tag}(${ending.error.reason._tag})`
    : ending._tag

/** What must not be. */
export const wrongs = ["lost", "hung", "repeated", "doubled", "untrue"] as const

/** What is wrong with a job that is over, or counts as hung. */
export interface Verdict {
  readonly hung: boolean
  readonly lost: boolean
  readonly repeated: boolean
  /** Servers began it more often than it says. */
  readonly doubled: boolean
  /** It succeeded, and every server that took it says that it did not. */
  readonly untrue: boolean
  readonly began: number
}

export const judge = (job: Heard, book: Book): Verdict => {
  const records = [...job.runs].flatMap((id) => [...(book.get(id)?.values() ?? [])])
  const began = records.filter(({ startedAt }) => startedAt !== undefined).length
  const [ending] = job.endings
  return {
    hung: ending === undefined,
    lost: job.endings.length !== 1,
    repeated: job.repeated > 0,
    doubled: ending !== undefined && began > ending.executions.atMost,
    untrue: ending?._tag === "JobSucceeded" && records.length > 0 &&
      records.every(({ outcome }) => outcome === "error" || outcome === "interrupted" || outcome === "removed"),
    began
  }
}
