// The jobs view of queue and history.
import { outputsDict } from "./history.ts"
import { type Dict, dict, isDict, isList, numeric, type Py } from "./py.ts"
import type { HistoryEntry, Item, State } from "./state.ts"

type JobStatus = "pending" | "in_progress" | "completed" | "failed" | "cancelled"

interface Job {
  readonly id: string
  readonly status: JobStatus
  readonly item: Item
  readonly entry: HistoryEntry | undefined
}

const statusOf = (state: State, entry: HistoryEntry): JobStatus => {
  if (entry.status.get("status_str") === "success") return "completed"
  const messages = entry.status.get("messages")
  const interrupted = isList(messages) &&
    messages.some((message) => isList(message) && message[0] === "execution_interrupted")
  return interrupted ? state.profile.interruptedJob : "failed"
}

const jobs = (state: State): ReadonlyArray<Job> => [
  ...[...state.running.values()].map((item): Job => ({ id: item.id, status: "in_progress", item, entry: undefined })),
  ...state.heap.map((item): Job => ({ id: item.id, status: "pending", item, entry: undefined })),
  ...[...state.history].map(([id, entry]): Job => ({ id, status: statusOf(state, entry), item: entry.item, entry }))
]

export const findJob = (state: State, id: string): Job | undefined => {
  for (const item of state.running.values()) {
    if (item.id === id) return { id, status: "in_progress", item, entry: undefined }
  }
  const pending = state.heap.find((item) => item.id === id)
  if (pending !== undefined) return { id, status: "pending", item: pending, entry: undefined }
  const entry = state.history.get(id)
  return entry === undefined ? undefined : { id, status: statusOf(state, entry), item: entry.item, entry }
}

const media = new Set(["images", "gifs", "video", "audio", "3d"])
const notMedia = new Set(["animated", "text"])
const extensions3d = [".obj", ".fbx", ".gltf", ".glb", ".usdz", ".ply", ".splat", ".spz", ".ksplat", ".stl"]
const kinds: Readonly<Record<string, ReadonlyArray<string>>> = {
  video: [".mp4", ".webm", ".mov", ".mkv", ".avi"],
  audio: [".mp3", ".wav", ".flac", ".ogg", ".opus", ".m4a"],
  images: [".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"]
}

const has3dEnding = (name: string): boolean => extensions3d.some((ending) => name.toLowerCase().endsWith(ending))

/** Items of one output: 3D names become files, nulls and other texts go. */
const normalized = (items: ReadonlyArray<Py>): ReadonlyArray<Py> => {
  const out: Array<Py> = []
  for (const item of items) {
    if (item === null) continue
    if (typeof item === "string" && has3dEnding(item)) {
      out.push(dict({ filename: item, type: "output", subfolder: "", mediaType: "3d" }))
    } else out.push(item)
  }
  return out
}

const previewable = (mediaType: string, item: Dict): boolean => {
  if (media.has(mediaType)) return true
  const name = item.get("filename")
  if (typeof name !== "string") return false
  const lower = name.toLowerCase()
  return has3dEnding(name) || Object.values(kinds).some((endings) => endings.some((ending) => lower.endsWith(ending)))
}

interface Summary {
  count: number
  previewable: number
  preview: Dict | undefined
}

/** Counts outputs and chooses the one that stands for the job: a saved file before a temporary one before a text. */
const summarize = (state: State, outputs: Dict): Summary => {
  const summary: Summary = { count: 0, previewable: 0, preview: undefined }
  let fallback: Dict | undefined
  let text: Dict | undefined
  for (const [nodeId, output] of outputs) {
    if (!isDict(output)) continue
    for (const [mediaType, items] of output) {
      if (mediaType === "animated" || !isList(items)) continue
      if (mediaType === "text") {
        if (state.profile.jobsCountText) summary.count += items.length
        const [content] = items
        if (typeof content === "string" && text === undefined && state.profile.jobsPreviewText) {
          const cut = content.length > 1024
          text = dict({
            content: cut ? content.slice(0, 1024) : content,
            truncated: cut ? true : undefined,
            nodeId,
            mediaType
          })
        }
        continue
      }
      for (const item of normalized(items)) {
        if (!isDict(item)) {
          if (state.profile.jobsCountText) summary.count++
          continue
        }
        summary.count++
        if (notMedia.has(mediaType) || !previewable(mediaType, item)) continue
        summary.previewable++
        const found = new Map(item)
        found.set("nodeId", nodeId)
        if (!found.has("mediaType")) found.set("mediaType", mediaType)
        if (summary.preview === undefined && item.get("type") === "output") summary.preview = found
        fallback ??= found
      }
    }
  }
  summary.preview ??= fallback ?? text
  return summary
}

const stamp = (entry: HistoryEntry | undefined, match: (event: string) => boolean): Py | undefined => {
  const messages = entry?.status.get("messages")
  if (!isList(messages)) return undefined
  for (const message of messages) {
    if (!isList(message)) continue
    const [event, data] = message
    if (typeof event === "string" && match(event) && isDict(data)) return data.get("timestamp")
  }
  return undefined
}

const ends = new Set(["execution_success", "execution_error", "execution_interrupted"])

/** Some entry of `extra_data` makes the whole view raise. */
export const poisoned = Symbol("poisoned")

const workflowId = (extraData: Py): Py | undefined | typeof poisoned => {
  if (!isDict(extraData) || !extraData.has("extra_pnginfo")) return undefined
  const info = extraData.get("extra_pnginfo")
  if (!isDict(info)) return poisoned
  if (!info.has("workflow")) return undefined
  const workflow = info.get("workflow")
  return isDict(workflow) ? workflow.get("id") ?? undefined : poisoned
}

const errorOf = (entry: HistoryEntry | undefined): Dict | undefined => {
  const messages = entry?.status.get("messages")
  if (!isList(messages)) return undefined
  for (const message of messages) {
    if (isList(message) && message[0] === "execution_error" && isDict(message[1])) return message[1]
  }
  return undefined
}

const summaryDict = (state: State, job: Job): Dict | typeof poisoned => {
  const { extraData } = job.item
  const workflow = workflowId(extraData)
  if (workflow === poisoned) return poisoned
  const created = isDict(extraData) ? extraData.get("create_time") : undefined
  const outputs = job.entry === undefined ? new Map<string, Py>() : outputsDict(job.entry)
  const summary = summarize(state, outputs)
  const out: Dict = new Map()
  const put = (key: string, value: Py | undefined): void => {
    if (value !== undefined && value !== null) out.set(key, value)
  }
  put("id", job.id)
  put("status", job.status)
  put("priority", job.item.number)
  put("create_time", created)
  put("execution_start_time", stamp(job.entry, (event) => event === "execution_start"))
  put("execution_end_time", stamp(job.entry, (event) => ends.has(event)))
  put("execution_error", errorOf(job.entry))
  put("outputs_count", summary.count)
  if (state.profile.jobsPreviewable) put("previewable_outputs_count", summary.previewable)
  put("preview_output", summary.preview)
  put("workflow_id", workflow)
  return out
}

const normalizedOutputs = (outputs: Dict): Dict => {
  const out: Dict = new Map()
  for (const [nodeId, output] of outputs) {
    if (!isDict(output)) {
      out.set(nodeId, output)
      continue
    }
    const node: Dict = new Map()
    for (const [mediaType, items] of output) {
      node.set(mediaType, isList(items) && !notMedia.has(mediaType) ? normalized(items) : items)
    }
    out.set(nodeId, node)
  }
  return out
}

/** One job with everything; "poisoned" where the server answers 500. */
export const jobDict = (state: State, job: Job): Dict | typeof poisoned => {
  const out = summaryDict(state, job)
  if (out === poisoned || job.entry === undefined) return out
  out.set("outputs", normalizedOutputs(outputsDict(job.entry)))
  out.set("execution_status", job.entry.status)
  out.set("workflow", dict({ prompt: job.item.prompt, extra_data: job.item.extraData }))
  return out
}

export interface JobQuery {
  readonly statuses: ReadonlySet<string> | undefined
  readonly workflowId: string | undefined
  readonly sortBy: "created_at" | "execution_duration"
  readonly descending: boolean
  readonly limit: number | undefined
  readonly offset: number
}

const time = (value: Py | undefined): number => Number(numeric(value ?? null) ?? 0)

/** A page of jobs. */
export const jobsAnswer = (state: State, query: JobQuery): Dict | typeof poisoned => {
  const all: Array<Dict> = []
  for (const job of jobs(state)) {
    const found = summaryDict(state, job)
    if (found === poisoned) return poisoned
    if (query.statuses !== undefined && !query.statuses.has(job.status)) continue
    if (query.workflowId !== undefined && found.get("workflow_id") !== query.workflowId) continue
    all.push(found)
  }
  const key = (job: Dict): number =>
    query.sortBy === "created_at"
      ? time(job.get("create_time"))
      : job.has("execution_end_time") && job.has("execution_start_time")
      ? time(job.get("execution_end_time")) - time(job.get("execution_start_time"))
      : 0
  const sorted = all.toSorted((a, b) => (query.descending ? key(b) - key(a) : key(a) - key(b)))
  const page = sorted.slice(query.offset, query.limit === undefined ? undefined : query.offset + query.limit)
  return dict({
    jobs: page,
    pagination: dict({
      offset: query.offset,
      limit: query.limit ?? null,
      total: sorted.length,
      has_more: query.limit !== undefined && query.offset + page.length < sorted.length
    })
  })
}
