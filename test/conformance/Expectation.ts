/** How a run must end, by the recording's own last truth about its prompt. */
import type * as History from "@effect-comfyui/protocol/History"
import type * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { canonical } from "./Exact.ts"
import type { Fact } from "./Facts.ts"
import { flaw } from "./Graph.ts"
import type { Found, Posted, Refused, Submission } from "./Submissions.ts"

/** Outputs by node, each as canonical text: equal texts are equal records. */
export type Records = Readonly<Record<string, string>>

/** The ending that a recording states. */
export type Expectation =
  /** `outputs` is undefined where the recording says that it succeeded, and not with what. */
  | { readonly _tag: "Completed"; readonly outputs: Records | undefined }
  | { readonly _tag: "NodeFailed"; readonly nodeId: string | null; readonly exceptionType: string }
  /** By somebody else than this client. */
  | { readonly _tag: "Cancelled" }
  /** Refused by validation: the error's own type, the nodes that were complained about, the classes that lack. */
  | {
    readonly _tag: "Refused"
    readonly type: string | undefined
    readonly nodeIds: ReadonlyArray<string>
    readonly classes: ReadonlyArray<string>
  }
  /** A graph that would harm the server or means nothing: refused before it is sent. */
  | { readonly _tag: "NotSent"; readonly type: "DanglingLink" | "Cycle" | "Empty" }
  /** The process that had it is gone, or it was deleted: a server that answers does not know it. */
  | { readonly _tag: "Lost" }
  /** The process is gone for good. */
  | { readonly _tag: "Unreachable" }
  /** It is where it was, and nothing moves. */
  | { readonly _tag: "WorkerStuck" }

/** What is known of an end, and the last line before the recorder or the server blurs it. */
export interface Truth {
  /** Undefined if the recording does not tell. */
  readonly expectation: Expectation | undefined
  /** The replay goes no further than this line; Infinity where the end of the recording is the point. */
  readonly holdAt: number
}

const recordsOf = (outputs: Json.JsonObject): Records =>
  Object.fromEntries(
    Object.entries(outputs).flatMap(([nodeId, record]) =>
      Json.isObject(record) ? [[nodeId, canonical(Json.stringify(record)) ?? ""]] : []
    )
  )

const textIn = (data: Json.JsonObject, name: string): string | undefined => {
  const value = Json.get(data, name)
  return typeof value === "string" ? value : undefined
}

/** An ExecutionBlocker's warning is told as an error, and ends nothing. */
export const isTerminal = (type: string, data: Json.JsonObject): boolean =>
  type === "execution_success" || type === "execution_interrupted" ||
  (type === "execution_error" && textIn(data, "exception_type") !== "ExecutionBlocked")

const failedIn = (data: Json.JsonObject): Expectation => ({
  _tag: "NodeFailed",
  nodeId: textIn(data, "node_id") ?? null,
  exceptionType: textIn(data, "exception_type") ?? ""
})

const byMessage = (type: string, data: Json.JsonObject, outputs: Records | undefined): Expectation => {
  switch (type) {
    case "execution_success":
      return { _tag: "Completed", outputs }
    case "execution_interrupted":
      return { _tag: "Cancelled" }
    default:
      return failedIn(data)
  }
}

const byStatus = (status: History.Status | null | undefined, outputs: Records | undefined): Expectation | undefined => {
  const last = status?.messages.findLast(([type, data]) => Json.isObject(data) && isTerminal(type, data))
  if (last !== undefined && Json.isObject(last[1])) return byMessage(last[0], last[1], outputs)
  return status?.status_str === "success" ? { _tag: "Completed", outputs } : undefined
}

const byJob = (job: Jobs.Job, outputs: Records | undefined): Expectation => {
  const told = byStatus(job.execution_status, outputs)
  if (told !== undefined) return told
  if (job.status === "completed") return { _tag: "Completed", outputs }
  return job.status === "cancelled" ? { _tag: "Cancelled" } : failedIn(job.execution_error ?? {})
}

/** The outputs by the last history, else by the frames; a job comes last, for it writes some of them in its own way. */
const outputsOf = (facts: ReadonlyArray<Fact>): Records | undefined => {
  const entry = facts.findLast((fact) => fact._tag === "Entry")
  if (entry !== undefined) return recordsOf(entry.entry.outputs)
  const frames = facts.filter((fact) => fact._tag === "Frame")
  if (frames.some(({ type }) => type === "execution_start")) {
    return recordsOf(Object.fromEntries(
      frames.filter(({ type }) => type === "executed").flatMap(({ data }) => {
        const nodeId = textIn(data, "node")
        return nodeId === undefined ? [] : [[nodeId, Json.get(data, "output") ?? null]]
      })
    ))
  }
  const job = facts.findLast((fact) => fact._tag === "Job" && fact.job.outputs !== undefined)
  return job?._tag === "Job" ? recordsOf(job.job.outputs ?? {}) : undefined
}

/** Whether a fact tells how the prompt ended. */
export const isEnd = (fact: Fact): boolean =>
  fact._tag === "Entry" || fact._tag === "Job" || (fact._tag === "Frame" && isTerminal(fact.type, fact.data))

const byFact = (fact: Fact, outputs: Records | undefined): Expectation | undefined => {
  switch (fact._tag) {
    case "Entry":
      return byStatus(fact.entry.status, outputs)
    case "Job":
      return byJob(fact.job, outputs)
    case "Frame":
      return byMessage(fact.type, fact.data, outputs)
    default:
      return undefined
  }
}

/** The line from which the prompt ran; undefined if it never did, as far as is known. */
export const startedAt = ({ facts }: Submission): number | undefined =>
  facts.find((fact) => fact._tag === "Frame" || fact._tag === "Running")?.at

/** The line at which a waiting prompt was taken out of the queue. */
export const removedAt = (submission: Submission): number | undefined => {
  const start = startedAt(submission) ?? Number.POSITIVE_INFINITY
  if (submission.facts.some(isEnd)) return undefined
  return submission.facts.find(({ _tag, at }) => _tag === "TakenOut" && at > submission.exchange.endAt && at < start)
    ?.at
}

/** The first outage after the prompt was accepted. */
const outageAfter = ({ outages }: Found, { exchange }: Submission) => outages.find(({ from }) => from > exchange.endAt)

/** Whether another prompt started later: there is one worker, so this one had ended by then. */
const wasOvertaken = ({ accepted, outages }: Found, submission: Submission): boolean => {
  const start = startedAt(submission)
  return start !== undefined && accepted.some((other) => {
    const later = other === submission ? undefined : startedAt(other)
    return later !== undefined && later > start && !outages.some(({ from }) => from > start && from < later)
  })
}

/** What this client does not send, read from the graph alone. */
const notSent = ({ nodes }: Workflow.Workflow): Expectation | undefined => {
  const type = flaw(
    new Map(Object.entries(nodes).map(([id, node]) => [id, Workflow.links(node).map(([, [source]]) => source)]))
  )
  return type === undefined ? undefined : { _tag: "NotSent", type }
}

const complained = (errors: Json.Json | undefined): ReadonlyArray<string> =>
  Json.isObject(errors) ? Object.keys(errors).toSorted() : []

/** What a refusal says; old servers name the missing class only in the message. */
export const ofRefusal = ({ refusal, workflow }: Refused): Expectation => {
  const early = workflow === undefined ? undefined : notSent(workflow)
  if (early !== undefined) return early
  const { error } = refusal
  const type = Json.isObject(error) ? textIn(error, "type") : undefined
  const extra = Json.isObject(error) ? Json.get(error, "extra_info") : undefined
  const named = Json.isObject(extra) ? textIn(extra, "class_type") : undefined
  const old = /node (.+) does not exist/.exec(Json.isObject(error) ? textIn(error, "message") ?? "" : "")?.[1]
  const missing = type === "missing_node_type" || type === "invalid_prompt" ? named ?? old : undefined
  return {
    _tag: "Refused",
    type,
    nodeIds: complained(refusal.node_errors),
    classes: missing === undefined ? [] : [missing]
  }
}

const ofPartial = ({ receipt }: Submission): Expectation | undefined =>
  Object.keys(Prompt.nodeErrorsOf(receipt)).length === 0
    ? undefined
    : { _tag: "Refused", type: undefined, nodeIds: complained(receipt.node_errors), classes: [] }

const early = (submission: Submission & Posted): Expectation | undefined =>
  (submission.workflow === undefined ? undefined : notSent(submission.workflow)) ?? ofPartial(submission)

/** The last truth about an accepted prompt. An end that was told stands, whatever is forgotten later. */
export const ofSubmission = (found: Found, submission: Submission): Truth => {
  const { exchange, facts } = submission
  const decided = early(submission)
  if (decided !== undefined) return { expectation: decided, holdAt: exchange.endAt }
  const end = facts.findLast((fact) => fact._tag === "Entry" || fact._tag === "Job") ?? facts.find(isEnd)
  if (end !== undefined) {
    const last = facts.findLast((fact) => isEnd(fact) || (fact._tag === "Frame" && fact.type === "executing"))
    return { expectation: byFact(end, outputsOf(facts)), holdAt: last?.at ?? end.at }
  }
  const removed = removedAt(submission)
  if (removed !== undefined) return { expectation: { _tag: "Cancelled" }, holdAt: removed }
  const holdAt = Number.POSITIVE_INFINITY
  const outage = outageAfter(found, submission)
  if (outage !== undefined) {
    return { expectation: { _tag: Number.isFinite(outage.until) ? "Lost" : "Unreachable" }, holdAt }
  }
  if (facts.some(({ _tag }) => _tag === "Unwritable")) {
    // It ended, in a way that the server cannot tell, unless somebody deleted it and with it every trace.
    return { expectation: facts.some(({ _tag }) => _tag === "Deleted") ? { _tag: "Lost" } : undefined, holdAt }
  }
  const isSeen = facts.some(({ _tag }) => _tag !== "TakenOut" && _tag !== "Deleted")
  return { expectation: isSeen && !wasOvertaken(found, submission) ? { _tag: "WorkerStuck" } : undefined, holdAt }
}
