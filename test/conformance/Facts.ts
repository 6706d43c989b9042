/** What a recording says about one prompt, line by line: nothing is concluded here. */
import * as Endpoint from "@effect-comfyui/protocol/Endpoint"
import * as History from "@effect-comfyui/protocol/History"
import * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as Queue from "@effect-comfyui/protocol/Queue"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import { type Exchange, jsonOf, type Recording, textOf } from "./Recording.ts"

/** One statement; `at` is the index of its line. */
export type Fact =
  /** A text frame, on whatever socket, that names the prompt. */
  | { readonly _tag: "Frame"; readonly at: number; readonly type: string; readonly data: Json.JsonObject }
  /** An answer that shows how the prompt ended. */
  | { readonly _tag: "Entry"; readonly at: number; readonly entry: History.Entry }
  | { readonly _tag: "Job"; readonly at: number; readonly job: Jobs.Job }
  /** The server broke over its answer about this prompt: it has an entry that it cannot write. */
  | { readonly _tag: "Unwritable"; readonly at: number }
  | { readonly _tag: "Running"; readonly at: number }
  | { readonly _tag: "Waiting"; readonly at: number }
  /** Not in history or jobs, which is so before the end, and after it was forgotten. */
  | { readonly _tag: "Absent"; readonly at: number }
  /** A command that takes waiting prompts out of the queue, and prompts that run not. */
  | { readonly _tag: "TakenOut"; readonly at: number }
  /** A command that deletes an ended prompt. */
  | { readonly _tag: "Deleted"; readonly at: number }

/** The type and the data of a text frame. */
export const messageOf = (text: string): { readonly type: string; readonly data: Json.JsonObject } | undefined => {
  const json = jsonOf(text)
  if (!Json.isObject(json)) return undefined
  const [type, data] = [Json.get(json, "type"), Json.get(json, "data")]
  return typeof type === "string" && Json.isObject(data) ? { type, data } : undefined
}

/** The statements of all text frames that come from the server and name this prompt. */
export const fromFrames = (recording: Recording, promptId: string): ReadonlyArray<Fact> =>
  recording.lines.flatMap((line, at): ReadonlyArray<Fact> => {
    if (line.kind !== "ws-text" || line.dir !== "in") return []
    const message = messageOf(line.data)
    return message === undefined || Json.get(message.data, "prompt_id") !== promptId
      ? []
      : [{ _tag: "Frame", at, ...message }]
  })

const terminalStatuses: ReadonlySet<string> = new Set(["completed", "failed", "cancelled"])

const fromJob = (job: Jobs.Job, at: number): Fact => {
  if (terminalStatuses.has(job.status)) return { _tag: "Job", at, job }
  return { _tag: job.status === "in_progress" ? "Running" : "Waiting", at }
}

const fromHistory = (json: Json.Json, promptId: string, at: number, named: boolean): ReadonlyArray<Fact> => {
  const history = History.History.decode(json)
  if (Result.isFailure(history)) return []
  const entry = History.find(history.success, promptId)
  if (entry !== undefined) return [{ _tag: "Entry", at, entry }]
  return named ? [{ _tag: "Absent", at }] : []
}

const fromQueue = (json: Json.Json, promptId: string, at: number): ReadonlyArray<Fact> => {
  const queue = Queue.Queue.decode(json)
  if (Result.isFailure(queue)) return []
  const has = (items: ReadonlyArray<Queue.Item>) => items.some((item) => Queue.promptIdOf(item) === promptId)
  if (has(queue.success.queue_running)) return [{ _tag: "Running", at }]
  return has(queue.success.queue_pending) ? [{ _tag: "Waiting", at }] : []
}

/** `null` for what is no list of texts: the server passes over it. */
const namesIn = (json: Json.Json | undefined, member: string): ReadonlyArray<Json.Json> => {
  const list = Json.isObject(json) ? Json.get(json, member) : undefined
  return Array.isArray(list) ? list : []
}

const clears = (json: Json.Json | undefined): boolean => Json.isObject(json) && Json.get(json, "clear") === true

/** The statements of the answer to one request about this prompt. */
export const fromExchange = ({ answer, endAt: at, request }: Exchange, promptId: string): ReadonlyArray<Fact> => {
  const match = Endpoint.match(request.method, request.path)
  if (match === undefined || answer === undefined) return []
  const named = Object.values(match.params).includes(promptId)
  const json = jsonOf(textOf(answer))
  if (answer.status === 500 && named) return [{ _tag: "Unwritable", at }]
  if (answer.status === 404 && named && match.name === "job") return [{ _tag: "Absent", at }]
  if (answer.status !== 200) return []
  const sent = jsonOf(textOf(request))
  switch (match.name) {
    case "history":
    case "historyOf":
      return json === undefined ? [] : fromHistory(json, promptId, at, named)
    case "queue":
      return json === undefined ? [] : fromQueue(json, promptId, at)
    case "job": {
      const job = json === undefined ? undefined : Jobs.Job.decode(json)
      return job === undefined || Result.isFailure(job) || job.success.id !== promptId ? [] : [fromJob(job.success, at)]
    }
    case "jobs": {
      const page = json === undefined ? undefined : Jobs.Page.decode(json)
      return page === undefined || Result.isFailure(page)
        ? []
        : page.success.jobs.filter(({ id }) => id === promptId).map((job) => fromJob(job, at))
    }
    case "updateQueue":
      return clears(sent) || namesIn(sent, "delete").includes(promptId) ? [{ _tag: "TakenOut", at }] : []
    case "cancelJob":
      return named && cancelled(json) ? [{ _tag: "TakenOut", at }] : []
    case "cancelJobs":
      return cancelled(json) && namesIn(sent, "job_ids").includes(promptId) ? [{ _tag: "TakenOut", at }] : []
    case "updateHistory":
      return clears(sent) || namesIn(sent, "delete").includes(promptId) ? [{ _tag: "Deleted", at }] : []
    default:
      return []
  }
}

const cancelled = (json: Json.Json | undefined): boolean => Json.isObject(json) && Json.get(json, "cancelled") === true
