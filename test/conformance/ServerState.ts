/** Where the recorded prompts are at some line of the recording, and what the server answers there. */
import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import * as Version from "@effect-comfyui/protocol/Version"
import * as Json from "@effect-comfyui/workflow/Json"
import { isEnd, isTerminal, removedAt, startedAt } from "./Expectation.ts"
import type { Fact } from "./Facts.ts"
import { jsonOf, textOf } from "./Recording.ts"
import * as Rename from "./Rename.ts"
import type { Found, Outage, Submission } from "./Submissions.ts"

/** `gone`: taken out, forgotten or deleted. */
export type Place = "absent" | "pending" | "running" | "ended" | "gone"

const never = Number.POSITIVE_INFINITY

/** The line from which history has the prompt. */
const endedAt = ({ facts }: Submission): number => {
  const told = facts.find(({ _tag }) => _tag === "Entry" || _tag === "Job" || _tag === "Unwritable")?.at ?? never
  const drained = facts.find((fact) =>
    fact._tag === "Frame" && fact.type === "executing" && Json.get(fact.data, "node") === null
  )?.at
  return Math.min(told, drained ?? facts.find(isEnd)?.at ?? never)
}

/** For a prompt whose end nobody recorded: there is one worker, so another that ran afterwards shows that it was over. */
const overtakenAt = ({ accepted }: Found, submission: Submission): number => {
  const from = startedAt(submission) ?? submission.exchange.endAt
  const seen = submission.facts.length === 0 || startedAt(submission) !== undefined
  const later = accepted.filter((other) => other !== submission && other.exchange.endAt > submission.exchange.endAt)
    .map((other) => Math.min(startedAt(other) ?? never, endedAt(other))).filter((at) => at > from)
  return seen ? Math.min(never, ...later) : never
}

/** Where a prompt is when the line of that index has just come. */
export const placeOf = (found: Found, submission: Submission, at: number): Place => {
  const { exchange, facts } = submission
  if (at < exchange.requestAt) return "absent"
  const forgotten = [
    found.outages.find(({ from }) => from > exchange.endAt)?.from ?? never,
    removedAt(submission) ?? never,
    // What the recorder deletes after it has read it is still there for whoever reads it later.
    facts.some(isEnd) ? never : facts.find(({ _tag }) => _tag === "Deleted")?.at ?? never
  ]
  if (Math.min(...forgotten) <= at) return "gone"
  const end = endedAt(submission)
  if (Math.min(end, end === never ? overtakenAt(found, submission) : never) <= at) return "ended"
  return (startedAt(submission) ?? never) <= at ? "running" : "pending"
}

/** The outage that the line of that index lies in. */
export const outageAt = ({ outages }: Found, at: number): Outage | undefined =>
  outages.find(({ from, until }) => from <= at && at < until)

/** An answer of the server. */
export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

const json = (value: Json.Json, status = 200): Answer => ({
  status,
  contentType: "application/json; charset=utf-8",
  body: Json.stringify(value)
})
const nothing: Answer = { status: 200, contentType: "application/octet-stream", body: "" }
const noSuchPath = (method: string): Answer =>
  method === "GET"
    ? { status: 404, contentType: "application/octet-stream", body: "" }
    : { status: 405, contentType: "text/plain; charset=utf-8", body: "405: Method Not Allowed" }
const broken: Answer = {
  status: 500,
  contentType: "text/plain; charset=utf-8",
  body: "500 Internal Server Error\n\nServer got itself in trouble"
}

/** The moment that a question meets, and the prompt it may be about. */
export interface Moment {
  readonly found: Found
  readonly submission: Submission
  readonly at: number
  readonly renaming: Rename.Renaming
  /** The client itself took its prompt out of the queue. */
  readonly removedByUs: boolean
}

const place = ({ at, found, removedByUs, submission }: Moment): Place => {
  const here = placeOf(found, submission, at)
  return removedByUs && here === "pending" ? "gone" : here
}

/** A prompt as queue and history list it. */
const tuple = ({ body, receipt }: Submission, promptId: string): ReadonlyArray<Json.Json> => {
  const graph = body === undefined ? undefined : Json.get(body, "prompt")
  return [receipt.number, promptId, Json.isObject(graph) ? graph : {}, {}, []]
}

/** All prompts that wait or run. */
const queue = (moment: Moment): { readonly running: Array<Json.Json>; readonly pending: Array<Json.Json> } => {
  const running: Array<Json.Json> = []
  const pending: Array<Json.Json> = []
  for (const other of moment.found.accepted) {
    const mine = other === moment.submission
    const where = mine ? place(moment) : placeOf(moment.found, other, moment.at)
    const item = tuple(other, mine ? moment.renaming.to : other.promptId)
    if (where === "running") running.push(item)
    if (where === "pending") pending.push(item)
  }
  return { running, pending }
}

/** How many prompts wait or run. */
export const queueRemaining = (moment: Moment): number => {
  const { pending, running } = queue(moment)
  return pending.length + running.length
}

const frames = (facts: ReadonlyArray<Fact>) => facts.filter((fact) => fact._tag === "Frame")

/** What history holds of a prompt whose entry nobody read, by its frames. */
const impliedEntry = ({ renaming, submission }: Moment): Json.JsonObject => {
  const all = frames(submission.facts)
  const messages = all.filter(({ type }) => type.startsWith("execution_"))
  const failed = messages.some(({ data, type }) => type !== "execution_success" && isTerminal(type, data))
  const outputs = all.filter(({ data, type }) => type === "executed" && Json.isObject(Json.get(data, "output")))
  return {
    prompt: tuple(submission, renaming.to),
    outputs: Object.fromEntries(
      outputs.map(({ data }) => [String(Json.get(data, "node")), Json.get(data, "output") ?? {}])
    ),
    status: {
      status_str: failed ? "error" : "success",
      completed: !failed,
      messages: messages.map(({ data, type }) => [type, Rename.inside(data, renaming)])
    },
    meta: {}
  }
}

const last = <Tag extends Fact["_tag"]>(facts: ReadonlyArray<Fact>, tag: Tag) =>
  facts.findLast((fact): fact is Extract<Fact, { readonly _tag: Tag }> => fact._tag === tag)

const history = (moment: Moment, ofOne: boolean): Answer => {
  const { renaming, submission: { facts } } = moment
  if (place(moment) !== "ended") return json({})
  const entry = last(facts, "Entry")
  if (entry !== undefined) return json({ [renaming.to]: Rename.inEntry(entry.entry, renaming) })
  if (ofOne && last(facts, "Unwritable") !== undefined) return broken
  const job = last(facts, "Job")
  const frame = frames(facts).some(({ data, type }) => isTerminal(type, data))
  if (frame || job === undefined) return json({ [renaming.to]: impliedEntry(moment) })
  const { execution_status: status, outputs } = job.job
  return json({
    [renaming.to]: {
      prompt: tuple(moment.submission, renaming.to),
      outputs: outputs ?? {},
      status: status ??
        { status_str: job.job.status === "completed" ? "success" : "error", completed: true, messages: [] },
      meta: {}
    }
  })
}

/** The job of an ended prompt; the full one of `GET /api/jobs/{id}` if it was read, else what else is known. */
const endedJob = (moment: Moment): Json.Json => {
  const { renaming, submission: { facts } } = moment
  const full = facts.findLast((fact) => fact._tag === "Job" && fact.job.execution_status !== undefined)
  const known = full ?? last(facts, "Job")
  if (known?._tag === "Job") return Rename.inJob(known.job, renaming)
  const entry = last(facts, "Entry")?.entry ?? impliedEntry(moment)
  const status = Json.get(entry, "status") ?? null
  const messages = Json.isObject(status) ? Json.get(status, "messages") : undefined
  const types = Array.isArray(messages) ? messages.map((message) => Array.isArray(message) ? message[0] : null) : []
  const isCancelled = types.includes("execution_interrupted")
  const isDone = Json.isObject(status) && Json.get(status, "status_str") === "success"
  return {
    id: renaming.to,
    status: isCancelled ? "cancelled" : isDone ? "completed" : "failed",
    outputs: Json.get(entry, "outputs") ?? {},
    execution_status: Rename.inside(status, renaming)
  }
}

const jobOf = (moment: Moment): Json.Json | undefined => {
  const id = moment.renaming.to
  switch (place(moment)) {
    case "pending":
      return { id, status: "pending", outputs_count: 0 }
    case "running":
      return { id, status: "in_progress", outputs_count: 0 }
    case "ended":
      return endedJob(moment)
    default:
      return undefined
  }
}

const job = (moment: Moment): Answer => {
  const found = jobOf(moment)
  if (found === undefined) return json({ error: "Job not found" }, 404)
  const isBroken = place(moment) === "ended" && last(moment.submission.facts, "Unwritable") !== undefined &&
    last(moment.submission.facts, "Entry") === undefined
  return isBroken ? broken : json(found)
}

const systemStats = ({ exchanges, recording }: Found): Answer => {
  const recorded = exchanges.find(({ answer, request }) =>
    answer?.status === 200 && Endpoint.match(request.method, request.path)?.name === "systemStats"
  )?.answer
  const value = recorded === undefined ? undefined : jsonOf(textOf(recorded))
  return json(value ?? { system: { comfyui_version: recording.version }, devices: [] })
}

/** What the server says to a question of the client, at that moment. */
export const answer = (moment: Moment, method: string, path: string): Answer => {
  const match = Endpoint.match(method, path)
  const version = Version.parse(moment.found.recording.version)
  if (match === undefined || (match.endpoint.since !== null && !Version.atLeast(version, match.endpoint.since))) {
    return noSuchPath(method)
  }
  const mine = Object.values(match.params).includes(moment.renaming.to)
  switch (match.name) {
    case "load":
      return json({ exec_info: { queue_remaining: queueRemaining(moment) } })
    case "queue": {
      const { pending, running } = queue(moment)
      return json({ queue_running: running, queue_pending: pending })
    }
    case "history":
      return history(moment, false)
    case "historyOf":
      return mine ? history(moment, true) : json({})
    case "job":
      return mine ? job(moment) : json({ error: "Job not found" }, 404)
    case "jobs": {
      const one = jobOf(moment)
      const jobs = one === undefined ? [] : [one]
      return json({ jobs, pagination: { offset: 0, limit: null, total: jobs.length, has_more: false } })
    }
    case "cancelJob":
    case "cancelJobs":
      return json({ cancelled: place(moment) === "pending" || place(moment) === "running" })
    case "systemStats":
      return systemStats(moment.found)
    case "updateQueue":
    case "updateHistory":
    case "interrupt":
    case "free":
      return nothing
    default:
      return noSuchPath(method)
  }
}

/** Whether a command of the client takes its own waiting prompt out of the queue. */
export const takesOut = (moment: Moment, method: string, path: string, body: string): boolean => {
  const name = Endpoint.match(method, path)?.name
  return (name === "updateQueue" && body.includes(moment.renaming.to)) || name === "cancelJob"
}
