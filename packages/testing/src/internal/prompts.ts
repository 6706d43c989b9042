// POST /prompt, and what else touches the queue over HTTP.
import * as Option from "effect/Option"
import { raiseInterrupt } from "./afflict.ts"
import { hideSecrets, historyAnswer, historyOf, queueAnswer } from "./history.ts"
import { empty, json, queryInt, type Request, type Response, serverError } from "./http.ts"
import { findJob, jobDict, type JobQuery, jobsAnswer, poisoned } from "./jobs.ts"
import { logPrompt } from "./logs.ts"
import { type Dict, dict, isDict, isList, numeric, type Py, truthy } from "./py.ts"
import { loadsBytes } from "./pyJson.ts"
import { isPyError, str, toFloat } from "./pyText.ts"
import { put, remove, wipe } from "./queue.ts"
import { type Item, type PromptRecord, type State, uuid, wallMs } from "./state.ts"
import { validate } from "./validate.ts"
import { release } from "./vram.ts"

const canonical = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

const promptError = (type: string, message: string, details: string): Response =>
  json(400, dict({ error: dict({ type, message, details, extra_info: new Map() }), node_errors: new Map() }))

/** `key in value` of Python; undefined where it raises. */
const contains = (value: Py, key: string): boolean | undefined => {
  if (isDict(value)) return value.has(key)
  if (isList(value)) return value.some((item) => item === key)
  return typeof value === "string" ? value.includes(key) : undefined
}

/** The id that a prompt gets; undefined if this release refuses what was sent. */
const promptIdOf = (state: State, body: Dict): string | undefined => {
  const given = body.get("prompt_id")
  if (state.profile.promptId === "any") return given === undefined ? uuid(state) : str(given)
  if (given === undefined || given === null) return uuid(state)
  return typeof given === "string" && canonical.test(given) ? given : undefined
}

const track = (state: State, id: string, number: Py): PromptRecord => {
  const record: PromptRecord = {
    promptId: id,
    number: Number(numeric(number) ?? 0),
    acceptedAt: state.now,
    startedAt: undefined,
    endedAt: undefined,
    outcome: undefined
  }
  const { ledger, settings } = state
  ledger.prompts.push(record)
  if (ledger.prompts.length > settings.maxLedger) {
    ledger.dropped += ledger.prompts.splice(0, Math.ceil(ledger.prompts.length / 10)).length
  }
  return record
}

export const postPrompt = (state: State, request: Request): Response => {
  logPrompt(state)
  const parsed = loadsBytes(request.body)
  if (Option.isNone(parsed)) return serverError
  const body = parsed.value
  const hasNumber = contains(body, "number")
  if (hasNumber === undefined || (hasNumber && !isDict(body))) return serverError
  let number: Py
  if (isDict(body) && hasNumber) {
    const given = toFloat(body.get("number") ?? null)
    if (isPyError(given)) return serverError
    number = given
  } else {
    number = state.number
    if (isDict(body) && truthy(body.get("front"))) number = number === 0 ? 0 : -number
    else if (!isDict(body) && contains(body, "front") === true) return serverError
    state.number++
  }
  if (!isDict(body)) {
    return contains(body, "prompt") === true
      ? serverError
      : promptError("no_prompt", "No prompt provided", "No prompt provided")
  }
  if (!body.has("prompt")) return promptError("no_prompt", "No prompt provided", "No prompt provided")
  const id = promptIdOf(state, body)
  if (id === undefined) {
    return promptError(
      "invalid_prompt_id",
      "prompt_id must be a valid UUID",
      "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one"
    )
  }
  const prompt = body.get("prompt") ?? null
  const verdict = validate(state, prompt, body.get("partial_execution_targets") ?? null)
  if (verdict._tag === "Raised" || !isDict(prompt) && verdict._tag === "Accepted") return serverError
  let extraData: Py = body.has("extra_data") ? body.get("extra_data") ?? null : new Map()
  if (body.has("client_id")) {
    if (!isDict(extraData)) return serverError
    extraData = new Map(extraData).set("client_id", body.get("client_id") ?? null)
  }
  if (verdict._tag === "Refused") return json(400, dict({ error: verdict.error, node_errors: verdict.nodeErrors }))
  if (!isDict(prompt)) return serverError
  const { shown, secrets } = hideSecrets(extraData)
  if (state.profile.createTime) {
    if (!isDict(shown)) return serverError
    extraData = new Map(shown).set("create_time", wallMs(state))
  } else if (state.profile.secretsHidden) extraData = shown
  const item: Item = {
    task: state.tasks++,
    number,
    id,
    prompt,
    extraData,
    outputs: verdict.outputs,
    secrets,
    ledger: track(state, id, number)
  }
  if (!put(state, item)) return serverError
  return json(200, dict({ prompt_id: id, number, node_errors: verdict.nodeErrors }))
}

export const getPrompt = (state: State): Response =>
  json(200, dict({ exec_info: dict({ queue_remaining: state.running.size + state.heap.length }) }))

export const getQueue = (state: State): Response => json(200, queueAnswer(state))

/** `clear` and `delete` of a body, for the queue and for the history. */
const clearAndDelete = (
  request: Request,
  clear: () => void,
  drop: (id: Py) => void
): Response => {
  const parsed = loadsBytes(request.body)
  if (Option.isNone(parsed)) return serverError
  const body = parsed.value
  const asked = contains(body, "clear")
  if (asked === undefined) return serverError
  if (!isDict(body)) return asked || contains(body, "delete") === true ? serverError : empty(200)
  if (truthy(body.get("clear"))) clear()
  if (body.has("delete")) {
    const ids = body.get("delete") ?? null
    if (isList(ids)) { for (const id of ids) drop(id) }
    else if (isDict(ids)) { for (const id of ids.keys()) drop(id) }
    else if (typeof ids === "string") { for (const id of ids) drop(id) }
    else return serverError
  }
  return empty(200)
}

export const postQueue = (state: State, request: Request): Response =>
  clearAndDelete(request, () => wipe(state), (id) => {
    if (typeof id === "string") remove(state, id)
  })

export const postHistory = (state: State, request: Request): Response =>
  clearAndDelete(request, () => state.history.clear(), (id) => {
    if (typeof id === "string") state.history.delete(id)
  })

export const getHistory = (state: State, request: Request): Response => {
  const max = request.query.get("max_items")
  const offset = request.query.get("offset")
  const maxItems = max === undefined ? undefined : queryInt(max)
  const start = offset === undefined ? -1 : queryInt(offset)
  if ((max !== undefined && maxItems === undefined) || start === undefined) return serverError
  return json(200, historyAnswer(state, maxItems, start))
}

export const getHistoryOf = (state: State, request: Request): Response =>
  json(200, historyOf(state, request.params[0] ?? ""))

export const postInterrupt = (state: State, request: Request): Response => {
  const parsed = loadsBytes(request.body)
  const body = Option.getOrElse(parsed, (): Py => new Map())
  if (!isDict(body)) return serverError
  const wanted = body.get("prompt_id")
  if (!truthy(wanted)) raiseInterrupt(state)
  else if ([...state.running.values()].some((item) => item.id === wanted)) raiseInterrupt(state)
  return empty(200)
}

export const postFree = (state: State, request: Request): Response => {
  const parsed = loadsBytes(request.body)
  if (Option.isNone(parsed) || !isDict(parsed.value)) return serverError
  state.freeMemory ||= truthy(parsed.value.get("free_memory"))
  state.unloadModels ||= truthy(parsed.value.get("unload_models"))
  if (state.running.size === 0) release(state)
  return empty(200)
}

const statuses = ["pending", "in_progress", "completed", "failed", "cancelled"]

export const getJobs = (state: State, request: Request): Response => {
  const { query } = request
  const refuse = (error: string): Response => json(400, dict({ error }))
  const asked = query.get("status")
  let wanted: ReadonlySet<string> | undefined
  const known = state.profile.interruptedJob === "cancelled" ? statuses : statuses.slice(0, 4)
  if (asked !== undefined && asked !== "") {
    const names = asked.split(",").map((name) => name.trim().toLowerCase()).filter((name) => name !== "")
    const bad = names.filter((name) => !known.includes(name))
    if (bad.length > 0) return refuse(`Invalid status value(s): ${bad.join(", ")}. Valid values: ${known.join(", ")}`)
    wanted = new Set(names)
  }
  const sortBy = (query.get("sort_by") ?? "created_at").toLowerCase()
  if (sortBy !== "created_at" && sortBy !== "execution_duration") {
    return refuse("sort_by must be 'created_at' or 'execution_duration'")
  }
  const order = (query.get("sort_order") ?? "desc").toLowerCase()
  if (order !== "asc" && order !== "desc") return refuse("sort_order must be 'asc' or 'desc'")
  const limitText = query.get("limit")
  const limit = limitText === undefined ? undefined : queryInt(limitText)
  if (limitText !== undefined && limit === undefined) return refuse("limit must be an integer")
  if (limit !== undefined && limit <= 0) return refuse("limit must be a positive integer")
  const offsetText = query.get("offset")
  const offset = offsetText === undefined ? 0 : queryInt(offsetText)
  if (offset === undefined) return refuse("offset must be an integer")
  const jobQuery: JobQuery = {
    statuses: wanted,
    workflowId: query.get("workflow_id"),
    sortBy,
    descending: order === "desc",
    limit,
    offset: Math.max(0, offset)
  }
  const answer = jobsAnswer(state, jobQuery)
  return answer === poisoned ? serverError : json(200, answer)
}

export const getJob = (state: State, request: Request): Response => {
  const job = findJob(state, request.params[0] ?? "")
  if (job === undefined) return json(404, dict({ error: "Job not found" }))
  const answer = jobDict(state, job)
  return answer === poisoned ? serverError : json(200, answer)
}

/** Interrupts it if it runs, takes it out if it waits. */
const cancel = (state: State, id: string): boolean => {
  if ([...state.running.values()].some((item) => item.id === id)) {
    raiseInterrupt(state)
    return true
  }
  return remove(state, id)
}

export const cancelJob = (state: State, request: Request): Response =>
  json(200, dict({ cancelled: cancel(state, request.params[0] ?? "") }))

export const cancelJobs = (state: State, request: Request): Response => {
  const refuse = (error: string): Response => json(400, dict({ error }))
  const parsed = loadsBytes(request.body)
  if (Option.isNone(parsed)) return refuse("Request body must be valid JSON")
  const ids = isDict(parsed.value) ? parsed.value.get("job_ids") : undefined
  if (!isList(ids)) return refuse("job_ids must be a list")
  const bad = ids.filter((id) => typeof id !== "string" || !canonical.test(id))
  if (bad.length > 0) return json(400, dict({ error: "job_ids contains invalid id(s)", invalid_ids: bad }))
  let any = false
  for (const id of ids) if (typeof id === "string" && cancel(state, id)) any = true
  return json(200, dict({ cancelled: any }))
}
