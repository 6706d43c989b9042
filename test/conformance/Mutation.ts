/** Recordings with another truth about one prompt: a check that is not fooled must expect something else of them. */
import * as Json from "@effect-comfyui/workflow/Json"
import { isEnd, isTerminal, ofSubmission } from "./Expectation.ts"
import type { Fact } from "./Facts.ts"
import { jsonOf, type Line, type LineOf, type Recording, textOf } from "./Recording.ts"
import { find, type Found, type Submission } from "./Submissions.ts"

/** What is done to a recording. */
export type Mutation = (found: Found, submission: Submission) => Recording | undefined

type Edit = (value: Json.JsonObject) => Json.JsonObject

const withBody = (line: LineOf<"response">, body: string): Line => {
  const { base64: _, ...rest } = line
  const { "content-encoding": __, ...headers } = line.headers
  return { ...rest, headers, body }
}

const member = (object: Json.JsonObject, name: string, edit: Edit): Json.JsonObject => {
  const value = Json.get(object, name)
  return Json.isObject(value) ? { ...object, [name]: edit(value) } : object
}

const edited = (line: Line, edit: Edit): Line => {
  const json = line.kind === "response" ? jsonOf(textOf(line)) : line.kind === "ws-text" ? jsonOf(line.data) : undefined
  if (!Json.isObject(json)) return line
  const text = Json.stringify(edit(json))
  if (line.kind === "response") return withBody(line, text)
  return line.kind === "ws-text" ? { ...line, data: text } : line
}

/** How the three places that tell an end are changed: a frame, an entry of the history, a job. */
interface Edits {
  readonly frame: Edit
  readonly entry: Edit
  readonly job: Edit
}

const jobIn = (json: Json.JsonObject, promptId: string, edit: Edit): Json.JsonObject => {
  const jobs = Json.get(json, "jobs")
  if (!Array.isArray(jobs)) return edit(json)
  return { ...json, jobs: jobs.map((job) => Json.isObject(job) && Json.get(job, "id") === promptId ? edit(job) : job) }
}

const byFact = (fact: Fact, promptId: string, { entry, frame, job }: Edits): Edit | undefined => {
  switch (fact._tag) {
    case "Frame":
      return frame
    case "Entry":
      return (json) => member(json, promptId, entry)
    case "Job":
      return (json) => jobIn(json, promptId, job)
    default:
      return undefined
  }
}

const rewritten = ({ recording }: Found, { facts, promptId }: Submission, edits: Edits): Recording => {
  const lines = [...recording.lines]
  for (const fact of facts) {
    const line = lines[fact.at]
    const edit = byFact(fact, promptId, edits)
    if (line !== undefined && edit !== undefined) lines[fact.at] = edited(line, edit)
  }
  return { ...recording, lines }
}

/** Drops the last frames of the prompt, and every answer after them. */
export const dropEnd: Mutation = ({ recording }, { facts }) => {
  const first = facts.find(isEnd)
  return first === undefined ? undefined : { ...recording, lines: recording.lines.slice(0, first.at) }
}

const error: Json.JsonObject = {
  node_id: "mutated",
  node_type: "Mutated",
  executed: [],
  exception_type: "MutatedError",
  exception_message: "it was a success",
  traceback: [],
  current_inputs: {},
  current_outputs: []
}

/** Success for an error or an interrupt, and an error for success. */
const swappedMessage = (type: string, data: Json.JsonObject): readonly [string, Json.JsonObject] => {
  if (!isTerminal(type, data)) return [type, data]
  const prompt_id = Json.get(data, "prompt_id") ?? null
  return type === "execution_success"
    ? ["execution_error", { prompt_id, ...error }]
    : ["execution_success", { prompt_id, timestamp: 1 }]
}

const swappedStatus: Edit = (status) => {
  const messages = Json.get(status, "messages")
  const wasSuccess = Json.get(status, "status_str") === "success"
  return {
    ...status,
    status_str: wasSuccess ? "error" : "success",
    completed: !wasSuccess,
    messages: Array.isArray(messages)
      ? messages.map((message) => {
        const [type, data] = Array.isArray(message) ? message : []
        return typeof type === "string" && Json.isObject(data) ? swappedMessage(type, data) : message
      })
      : []
  }
}

/** Swaps error for success, and success for error, wherever the recording tells the end of the prompt. */
export const swapEnd: Mutation = (found, submission) =>
  submission.facts.some(isEnd)
    ? rewritten(found, submission, {
      frame: (frame) => {
        const [type, data] = [Json.get(frame, "type"), Json.get(frame, "data")]
        if (typeof type !== "string" || !Json.isObject(data)) return frame
        const [nextType, nextData] = swappedMessage(type, data)
        return { ...frame, type: nextType, data: nextData }
      },
      entry: (entry) => member(entry, "status", swappedStatus),
      job: (job) => {
        const { execution_error: _, ...rest } = member(job, "execution_status", swappedStatus)
        return Json.get(job, "status") === "completed"
          ? { ...rest, status: "failed", execution_error: error }
          : { ...rest, status: "completed" }
      }
    })
    : undefined

/** Every text in it with a letter more. */
const lengthened = (value: Json.Json): Json.Json => {
  if (typeof value === "string") return `${value}~`
  if (Array.isArray(value)) return value.map(lengthened)
  return Json.isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, lengthened(member)]))
    : value
}

const otherOutputs: Edit = (outputs) =>
  Object.fromEntries(Object.entries(outputs).map(([nodeId, record]) => [nodeId, lengthened(record)]))

/** Changes the names of the outputs of a prompt that succeeded. */
export const renameOutputs: Mutation = (found, submission) => {
  const { expectation } = ofSubmission(found, submission)
  if (expectation?._tag !== "Completed") return undefined
  if (!Object.values(expectation.outputs ?? {}).some((record) => /[[:{,]"[^"]*"[\],}]/.test(record))) return undefined
  return rewritten(found, submission, {
    frame: (frame) =>
      Json.get(frame, "type") === "executed"
        ? member(frame, "data", (data) => member(data, "output", otherOutputs))
        : frame,
    entry: (entry) => member(entry, "outputs", otherOutputs),
    job: (job) => member(job, "outputs", otherOutputs)
  })
}

/** The same prompt in the mutated recording. */
export const mutate = (
  mutation: Mutation,
  found: Found,
  submission: Submission
): { readonly found: Found; readonly submission: Submission } | undefined => {
  const recording = mutation(found, submission)
  if (recording === undefined) return undefined
  const next = find(recording)
  const same = next.accepted.find(({ exchange }) => exchange.requestAt === submission.exchange.requestAt)
  return same === undefined ? undefined : { found: next, submission: same }
}
