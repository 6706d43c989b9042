// A fleet in a terminal: a table that is drawn anew where there is a terminal, a line per event where there is none.
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEta } from "@effect-comfyui/pool/Etas"
import type { View } from "@effect-comfyui/pool/Job"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import type { Evidence } from "@effect-comfyui/pool/Residency"
import type { Snapshot } from "@effect-comfyui/pool/Snapshot"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Board from "./board.ts"

/** How we know what a server has warm: no server says it. */
const evidences: Readonly<Record<Evidence, string>> = {
  "own-cached": "our run found it there",
  "own-executed": "our run loaded it there",
  "assumed": "to be expected"
}

/** How far a job is, 0 to 1, and when it is thought to end. */
export interface Course {
  readonly fraction: number | null
  readonly eta: JobEta | null
}

export interface Options {
  readonly snapshot: Snapshot
  readonly jobs: ReadonlyArray<View>
  /** What to call the models that a key stands for. */
  readonly modelsOf: ReadonlyMap<AffinityKey, string>
  readonly courses: ReadonlyMap<JobId, Course>
}

export const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const running = (id: JobId, course: Course | undefined): string =>
  `${id} ${Board.bar(course?.fraction ?? 0, 12)}${
    course?.eta == null ? "" : `, ${seconds(course.eta.expectedMs)} left`
  }`

/** When the last of them ends: eight of ten times between the two. */
const over = (courses: ReadonlyMap<JobId, Course>): string => {
  const last = [...courses.values()].flatMap(({ eta }) => eta ?? [])
    .toSorted((a, b) => a.expectedMs - b.expectedMs).at(-1)
  return last === undefined
    ? ""
    : `; all done in about ${seconds(last.expectedMs)} (${seconds(last.lowMs)} to ${seconds(last.highMs)})`
}

/** The fleet now: a line per server, and what waits. */
export const draw = ({ courses, jobs, modelsOf, snapshot }: Options): string => {
  const rows = snapshot.servers.map(({ connected, id, jobs, next, status }) => {
    const warm = snapshot.resident.find(({ server }) => server === id)?.residents ?? []
    return [
      id,
      connected ? status : `${status}, no connection`,
      jobs.map((job) => running(job, courses.get(job))).join(", "),
      next ?? "",
      warm.map(({ evidence, key }) => `${modelsOf.get(key) ?? "?"} (${evidences[evidence]})`).join(", ")
    ]
  })
  const ended = jobs.filter(({ status }) => status === "Ended").length
  const queues = snapshot.tenants.map(({ ready, tenant }) => `${tenant} ${ready}`)
  return [
    Board.table([["server", "status", "running", "next", "warm, and how we know"], ...rows]),
    `waiting: ${queues.join(", ") || "nothing"}; running: ${snapshot.running}; ended: ${ended}${over(courses)}`
  ].join("\n")
}

/** Writes over what it wrote last. */
export const screen = (out: NodeJS.WriteStream): (text: string) => void => {
  let drawn = 0
  return (text) => {
    const lines = text.split("\n").map((line) => `\u001b[2K${line.slice(0, Math.max(1, out.columns - 1))}\n`)
    out.write((drawn === 0 ? "" : `\u001b[${drawn}A`) + lines.join(""))
    drawn = lines.length
  }
}

type Why = Readonly<Record<string, string | number | boolean>>

const isEvidence = (text: unknown): text is Evidence => typeof text === "string" && Object.hasOwn(evidences, text)

/** The evidence and the figures of a placement as a sentence. */
export const because = (
  { endsInMs, estimateMs, estimateSamples, evictionMs, evidence, prefetched, warm }: Why
): string => {
  if (prefetched === true) return `sent ahead: the run of the same models ends in ${endsInMs} ms`
  if (warm === true) return `warm: ${isEvidence(evidence) ? evidences[evidence] : "nobody knows why"}`
  if (estimateSamples === 0) return "cold, and no figures yet"
  return `cold, about ${estimateMs} ms${Number(evictionMs) > 0 ? `, pushes out ${evictionMs} ms of loading` : ""}`
}

/** One line for what is worth one. */
export const line = (event: PoolEvent, course: Course): string | undefined => {
  switch (event._tag) {
    case "Placed": {
      const left = course.eta === null ? "" : `, ${seconds(course.eta.expectedMs)} left`
      return `${event.jobId} goes to ${event.server}: ${because(event.why)}${left}`
    }
    case "AttemptEnded":
      return event.ending._tag === "Failed"
        ? `${event.jobId}, attempt ${event.number}: ${event.ending.error.reason._tag}, so ${event.verdict}`
        : undefined
    case "JobSucceeded":
      return `${event.jobId} is done`
    case "JobFailed":
    case "DeadLettered":
      return `${event.jobId} failed: ${event.error.message}`
    case "ServerConnected":
      return `${event.server} is connected`
    case "ServerDisconnected":
      return `${event.server} is gone: ${event.reason}`
    case "ServerRestarted":
      return `${event.server} is another process now, with nothing in memory`
    case "ServerHealth":
      return `${event.server} is ${event.healthy ? "well" : "ill"}: ${event.cause}`
    case "ServerBlocked":
      return `${event.server} gets no ${event.key === null ? "jobs" : "more of one workflow"}: ${event.cause}`
    case "ServerUnblocked":
      return `${event.server} gets jobs again`
    default:
      return undefined
  }
}
