/**
 * What must hold for every run under every fault, with the server's ledger as the witness: I1 to I8 as far as one client
 * and one server go. Pure: observations in, complaints out.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import { type Ending, type ExecutionEvent, isEnding } from "@effect-comfyui/execution/ExecutionEvent"
import type { FakeComfy } from "@effect-comfyui/testing"
import { expectOneEnding } from "@effect-comfyui/testing/Expect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { type Job, outputsOf } from "./Scenario.ts"
import type { Observation, Observed } from "./World.ts"

/** What a row permits beside the plain truth, because nobody can know better there. */
export interface Permits {
  /** `Failed` for these reasons, whatever the ledger says. */
  readonly reasons?: ReadonlyArray<Reason["_tag"]>
  /** `Cancelled` by somebody else. */
  readonly cancelledElsewhere?: boolean
  /** Failures of nodes in a job that would succeed: the row makes them. */
  readonly nodeFailures?: ReadonlyArray<Reason["_tag"]>
  /** `Failed` for these reasons, of prompts that the server never took. */
  readonly refusals?: ReadonlyArray<Reason["_tag"]>
  /** The process that knew died with what it knew: of what it had not ended before, every ending may be true. */
  readonly unknowable?: boolean
  /** What a success says of its outputs may lack some: the row does what no connection does. */
  readonly outputsMayLack?: boolean
  /** Milliseconds between the server's end of a prompt and ours, on one clock. Default 2 minutes. */
  readonly toldWithinMs?: number
}

/** Whose job fails by itself, and how. */
const ownFailure = (job: Job): Reason["_tag"] | undefined =>
  job.kind === "raising" ? "NodeFailed" : job.kind === "outOfMemory" ? "OutOfMemory" : undefined

const nameOf = (ending: Ending): string =>
  ending._tag === "Failed"
    ? `Failed(${ending.error.reason._tag})`
    : ending._tag === "Cancelled"
    ? `Cancelled by ${ending.by}`
    : "Completed"

type PromptRecord = FakeComfy.Ledger["prompts"][number]

/** Whether this is the truth about what the ledger says. */
const isTruth = (ending: Ending, record: PromptRecord | undefined, run: Observed, permits: Permits): boolean => {
  const outcome = record?.outcome
  const unknown = permits.unknowable === true && (outcome === undefined || outcome === "lost")
  switch (ending._tag) {
    case "Completed":
      return outcome === "success" || unknown
    case "Cancelled":
      if (ending.by === "elsewhere") return permits.cancelledElsewhere === true
      // A server that has forgotten everything cannot say whether the cancellation was in time.
      return run.wasCancelled &&
        (permits.reasons?.includes("Lost") === true || (outcome !== "success" && outcome !== "error"))
    case "Failed": {
      const { reason } = ending.error
      if (permits.reasons?.includes(reason._tag) === true) return true
      const raised = permits.nodeFailures?.includes(reason._tag) === true || reason._tag === ownFailure(run.job)
      if (raised) return outcome === "error" || unknown
      if (permits.refusals?.includes(reason._tag) === true) return record === undefined
      return reason._tag === "Lost" && (outcome === "lost" || outcome === "removed")
    }
  }
}

const outputsComplaint = (ending: Ending, job: Job): string | undefined => {
  if (ending._tag !== "Completed") return undefined
  const files = Object.fromEntries(
    Object.entries(ending.outputs).map(([id, output]) => [id, output.files.length])
  )
  const expected = outputsOf(job.kind)
  return JSON.stringify(files) === JSON.stringify(expected)
    ? undefined
    : `outputs ${JSON.stringify(files)} in the place of ${JSON.stringify(expected)}`
}

/** I7: a run that says nothing of a gap has told of every node that ran. */
const silentGap = (events: ReadonlyArray<ExecutionEvent>, ending: Ending, ran: ReadonlySet<string>) => {
  if (ending._tag !== "Completed" || events.some((event) => event._tag === "Gap")) return undefined
  const told = new Set(events.flatMap((event) => event._tag === "NodeStarted" ? [event.nodeId] : []))
  const missing = [...ran].filter((id) => !told.has(id))
  return missing.length === 0 ? undefined : `no Gap, and nothing was told of nodes ${missing}`
}

/** What is wrong: it never ended, it ran more often than was said, or something untrue was told. */
export interface Complaint {
  readonly about: "hung" | "doubled" | "untrue"
  readonly text: string
}

/** Everything that is wrong with one run. */
export const judgeRun = (
  run: Observed,
  ledger: FakeComfy.Ledger,
  permits: Permits
): ReadonlyArray<Complaint> => {
  const { others, runId, seen } = run
  const out: Array<Complaint> = []
  const where = `${run.job.kind} ${Number(runId.slice(-12)) - 1}`
  const complain = (text: string | undefined, about: Complaint["about"] = "untrue"): void => {
    if (text !== undefined) out.push({ about, text: `${where}: ${text}` })
  }
  const records = ledger.prompts.filter(({ promptId }) => promptId === runId)
  const nodes = ledger.nodes.filter(({ promptId }) => promptId === runId)
  // I6: one prompt, one execution of each node, whatever was asked again.
  if (records.length > 1) complain(`accepted ${records.length} times`, "doubled")
  const counts = Map.groupBy(nodes, ({ nodeId }) => nodeId)
  for (const [nodeId, each] of counts) {
    if (each.length > 1) complain(`node ${nodeId} ran ${each.length} times`, "doubled")
  }
  // I3: it has ended. I5: not by a defect.
  if (seen.exit === undefined) {
    complain(`hung after ${seen.events.at(-1)?._tag ?? "nothing"}`, "hung")
    return out
  }
  if (run.wasLeft) return out
  if (Exit.isFailure(seen.exit)) complain(`the stream failed: ${seen.exit.cause}`)
  // I1, I2, I7: one ending, the last event, no hole in the sequence.
  const checked = Result.try(() => expectOneEnding(seen.events))
  if (Result.isFailure(checked)) {
    complain(String(checked.failure))
    return out
  }
  const ending = checked.success
  const [record] = records
  if (!isTruth(ending, record, run, permits)) {
    complain(`${nameOf(ending)}, though the server says ${record === undefined ? "nothing" : record.outcome ?? "open"}`)
  }
  if (ending._tag === "Completed" && ending.executions.atMost > 1) complain("declared two executions", "doubled")
  if (permits.outputsMayLack !== true) complain(outputsComplaint(ending, run.job))
  if (permits.outputsMayLack !== true) complain(silentGap(seen.events, ending, new Set(counts.keys())))
  // I8: told soon after it happened.
  const late = record?.endedAt === undefined || run.endedAt === undefined ? 0 : run.endedAt - record.endedAt
  if (late > (permits.toldWithinMs ?? 120_000)) complain(`told ${late} ms after the server's end`)
  for (const other of others) {
    const last = other.events.at(-1)
    if (other.exit === undefined) complain("another subscriber hangs", "hung")
    else if (last === undefined || !isEnding(last) || nameOf(last) !== nameOf(ending)) {
      complain(`another subscriber heard ${last?._tag}, not ${nameOf(ending)}`)
    }
  }
  return out
}

/** Everything that is wrong with what was seen. */
export const judge = (
  observation: Observation,
  permits: (run: Observed, index: number) => Permits | undefined
): ReadonlyArray<string> => [
  ...observation.runs.flatMap((run, index) =>
    judgeRun(run, observation.ledger, permits(run, index) ?? {}).map(({ text }) => text)
  ),
  // I3: a client closes in a bounded time, and leaves nothing.
  ...observation.left.closes ? [] : ["the client did not close"],
  ...observation.left.sockets > 0 ? [`${observation.left.sockets} sockets left`] : [],
  ...observation.left.requestsLater > 0
    ? [`${observation.left.requestsLater} requests after the client was closed`]
    : []
]
