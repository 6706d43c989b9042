/**
 * What must hold for every job of a pool under every fault, with the ledgers of all servers as the witnesses: I1 to I8.
 * Pure: observations in, complaints out. One judge for all rows.
 */
import { attributions } from "@effect-comfyui/execution/ExecutionError"
import { isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { isJobEnding, type JobEnding, JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { FakeComfy } from "@effect-comfyui/testing"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { outputsOf } from "../Scenario.ts"
import { idleComplaints } from "./Idle.ts"
import type { Heard, Observation, Sample, SeenJob } from "./Observation.ts"

/** What a row permits beside the plain truth, because nobody can know better there. */
export interface Permits {
  /** `JobFailed` or `DeadLettered` for these reasons, of jobs that would succeed. */
  readonly reasons?: ReadonlyArray<string>
  /** Executions may be told that no server began: nobody knows whether a POST arrived. */
  readonly doubt?: boolean
  /** A server began a job more than once though no process died under it. */
  readonly repeats?: boolean
  /** The server that knew died with what it knew: a success may be one that it can no longer tell of. */
  readonly unknowable?: boolean
  /** A prompt that arrived late began after its job had ended. */
  readonly late?: boolean
  /** Ledgers may lack what a process did last: it took that with it. */
  readonly forgotten?: boolean
  /** Prompts of ours are left open on servers. */
  readonly leaves?: boolean
  /** Some jobs are not taken at all. */
  readonly refusals?: boolean
  /** Milliseconds from submission to the end. Default 15 minutes. */
  readonly withinMs?: number
  /** Circuits that may be blocked at once. Default that of a pool. */
  readonly maxBlocked?: number
  /** What a job runs, where the row made it another one than its kind says: outputs are not compared. */
  readonly otherWorkflows?: boolean
  /** Nothing is said of waiting: servers come and go faster than anybody could look. */
  readonly idleUnjudged?: boolean
}

/** Attempts that a server was tried for in earnest: not those that were taken back from its queue for an idle one. */
export const triesOf = ({ attempts, main }: SeenJob): number =>
  attempts -
  main.events.filter((event) =>
    event._tag === "AttemptEnded" && event.ending._tag === "Cancelled" && event.ending.by === "us"
  ).length

type PromptRecord = FakeComfy.Ledger["prompts"][number]

const maxEvents = 4_096 + 64
const maxBlocked = 10_000
const maxResident = 16
const maxAttempts = 64

export const endingOf = ({ events }: Heard): JobEnding | undefined => events.find(isJobEnding)

export const nameOf = (ending: JobEnding): string =>
  ending._tag === "JobFailed" || ending._tag === "DeadLettered"
    ? `${ending._tag}(${ending.error.reason._tag})`
    : ending._tag === "JobCancelled"
    ? `JobCancelled by ${ending.by}`
    : ending._tag

/** The records of one job on all servers. */
export const recordsOf = (job: SeenJob, { servers }: Observation): ReadonlyArray<PromptRecord> =>
  servers.flatMap(({ ledger }) => ledger.prompts.filter(({ promptId }) => runsOf(job).has(promptId)))

const runsOf = ({ main, runs }: SeenJob): ReadonlySet<string> => {
  const all = new Set<string>(runs)
  for (const event of main.events) {
    if (event._tag === "Attempt") all.add(event.event.runId)
    else if (event._tag === "AttemptEnded") all.add(event.ending.runId)
  }
  return all
}

const ownFailure = ({ job: { kind } }: SeenJob): string | undefined =>
  kind === "raising" ? "NodeFailed" : kind === "outOfMemory" ? "OutOfMemory" : undefined

const untruth = (
  ending: JobEnding,
  job: SeenJob,
  records: ReadonlyArray<PromptRecord>,
  permits: Permits
): string | undefined => {
  const says = () => `${nameOf(ending)}, though the servers say ${records.map(({ outcome = "open" }) => outcome)}`
  const isUnknown = permits.forgotten === true ||
    (permits.unknowable === true && records.some(({ outcome }) => outcome === "lost"))
  switch (ending._tag) {
    case "JobSucceeded": {
      if (ownFailure(job) !== undefined && permits.otherWorkflows !== true) return says()
      if (!isUnknown && !records.some(({ outcome }) => outcome === "success")) return says()
      if (permits.otherWorkflows === true) return undefined
      const files = JSON.stringify(
        Object.fromEntries(Object.entries(ending.outputs).map(([id, output]) => [id, output.files.length]))
      )
      const expected = JSON.stringify(outputsOf(job.job.kind))
      return files === expected ? undefined : `outputs ${files} in the place of ${expected}`
    }
    case "JobCancelled":
      if (ending.by === "elsewhere") return says()
      return job.cancel === undefined ? `${says()}, and nobody asked for it` : undefined
    case "JobFailed":
    case "DeadLettered": {
      const { _tag } = ending.error.reason
      if (permits.reasons?.includes(_tag) === true) return undefined
      return _tag === ownFailure(job) && records.some(({ outcome }) => outcome === "error") ? undefined : says()
    }
  }
}

/** I7, of the job and of each of its attempts. */
const holes = ({ events }: Heard): ReadonlyArray<string> => {
  const out: Array<string> = []
  const attempts = new Map<number, { sequence: number; ended: boolean }>()
  let sequence = -1
  for (const event of events) {
    if (!(event._tag === "Attempt" && isTransient(event.event))) sequence++
    if (event.sequence !== sequence) {
      out.push(`${event._tag} has sequence ${event.sequence}, not ${sequence}`)
      sequence = event.sequence
    }
    if (event._tag === "AttemptEnded") {
      const attempt = attempts.get(event.number)
      if (attempt?.ended === true) out.push(`attempt ${event.number} ended twice`)
      attempts.set(event.number, { sequence: attempt?.sequence ?? -1, ended: true })
    }
    if (event._tag !== "Attempt") continue
    const attempt = attempts.get(event.number) ?? { sequence: -1, ended: false }
    attempts.set(event.number, attempt)
    if (attempt.ended) out.push(`${event.event._tag} of attempt ${event.number} after its end`)
    if (!isTransient(event.event)) attempt.sequence++
    if (event.event.sequence !== attempt.sequence) {
      out.push(`attempt ${event.number}: ${event.event._tag} is ${event.event.sequence}, not ${attempt.sequence}`)
      attempt.sequence = event.event.sequence
    }
  }
  return out
}

/** I7, of those who listen slowly, or came later: what they miss is announced, to the last event. */
const silentHoles = ({ events }: Heard): ReadonlyArray<string> => {
  const out: Array<string> = []
  let last = -1
  let heard = 0
  let announced = 0
  for (const event of events) {
    if (event.sequence < last) out.push(`from ${last} back to ${event.sequence}`)
    last = Math.max(last, event.sequence)
    const inner = event._tag === "Attempt" ? event.event : undefined
    if (inner?._tag === "Gap" && inner.cause === "consumer") announced += inner.lifecycle
    else if (inner === undefined || !isTransient(inner)) heard++
  }
  if (events.length > 0 && heard + announced !== last + 1) {
    out.push(`heard ${heard} of ${last + 1} events, and was told that it missed ${announced}`)
  }
  return out
}

const isEvent = Schema.is(JobEvent)

/** Everything that is wrong with what others heard of a job, or who waited for its result. */
const disagreements = ({ others, result }: SeenJob, ending: JobEnding): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (const other of others) {
    const heard = endingOf(other)
    out.push(...silentHoles(other).map((text) => `another subscriber: ${text}`))
    if (other.exit === undefined) out.push("another subscriber hangs")
    else if (heard === undefined || nameOf(heard) !== nameOf(ending)) {
      out.push(`another subscriber heard ${heard === undefined ? "no end" : nameOf(heard)}, not ${nameOf(ending)}`)
    }
  }
  if (result === undefined) out.push("its result hangs")
  else if (Exit.isSuccess(result) !== (ending._tag === "JobSucceeded")) out.push("its result is another one")
  return out
}

/** What is wrong with its executions: I6. */
const doubles = (
  job: SeenJob,
  ending: JobEnding,
  records: ReadonlyArray<PromptRecord>,
  permits: Permits
): ReadonlyArray<string> => {
  const out: Array<string> = []
  const { atLeast, atMost } = ending.executions
  const began = records.filter(({ startedAt }) => startedAt !== undefined)
  const deaths = records.filter(({ outcome }) => outcome === "lost").length
  const failures = records.filter(({ outcome }) => outcome === "error").length
  if (began.length > atMost) out.push(`began ${began.length} times, said at most ${atMost}`)
  if (atLeast > records.length && permits.forgotten !== true) {
    out.push(`said at least ${atLeast}, began ${began.length}`)
  }
  if (atMost > records.length && permits.doubt !== true) {
    out.push(`said at most ${atMost}, and servers took it ${records.length} times`)
  }
  if (atMost > 1 + deaths + failures && permits.repeats !== true && permits.doubt !== true) {
    out.push(`said at most ${atMost} executions, and ${deaths} processes died under it`)
  }
  if (job.paid && began.length > 1) out.push(`paid, and began ${began.length} times`)
  if (job.paid && atMost > 1) out.push(`paid, and said at most ${atMost} executions`)
  if (new Set(records.map(({ promptId }) => promptId)).size < records.length) out.push("a prompt was taken twice")
  const late = began.filter(({ startedAt = 0 }) => startedAt > ending.at)
  if (late.length > 0 && permits.late !== true) {
    out.push(`began ${late.map(({ startedAt = 0 }) => startedAt - ending.at)} ms after its end`)
  }
  const open = records.filter(({ outcome }) => outcome === undefined)
  if (open.length > 0 && permits.leaves !== true) out.push(`${open.length} of its prompts are left open`)
  return out
}

/** Everything that is wrong with one job. */
const judgeJob = (job: SeenJob, seen: Observation, permits: Permits): ReadonlyArray<string> => {
  const { attempts, main, refused, submittedAt } = job
  const where = `job ${job.index} (${job.job.kind})`
  const out: Array<string> = []
  if (refused !== undefined) return permits.refusals === true ? [] : [`${where}: refused, ${refused.message}`]
  const ending = endingOf(main)
  const { events, exit } = main
  if (ending === undefined || exit === undefined) {
    return [`${where}: hangs after ${events.at(-1)?._tag ?? "nothing"}, attempt ${attempts}`]
  }
  if (Exit.isFailure(exit)) out.push(`its events failed: ${exit.cause}`)
  if (events.filter(isJobEnding).length !== 1) out.push(`${events.filter(isJobEnding).length} endings`)
  if (events.at(-1) !== ending) out.push(`${events.at(-1)?._tag} after the ending`)
  const records = recordsOf(job, seen)
  const untrue = untruth(ending, job, records, permits)
  if (untrue !== undefined) out.push(untrue)
  out.push(...holes(main), ...disagreements(job, ending), ...doubles(job, ending, records, permits))
  const took = ending.at - submittedAt
  if (took > (permits.withinMs ?? 15 * 60_000)) out.push(`ended ${took} ms after its submission: ${nameOf(ending)}`)
  if (job.cancel?.answered === false) out.push("whoever cancelled it waits")
  if (job.runs.size > maxAttempts) out.push(`${job.runs.size} attempts are remembered`)
  if (events.length > maxEvents) out.push(`${events.length} events are kept`)
  const strange = events.filter((event) => !isEvent(event)).length
  if (strange > 0) out.push(`${strange} of its events are none`)
  const unknown = events.find((event) =>
    event._tag === "AttemptEnded" && event.ending._tag === "Failed" &&
    !(event.ending.error.reason._tag in attributions)
  )
  if (unknown !== undefined) out.push("an attempt failed for a reason that has no attribution")
  return out.map((text) => `${where}: ${text}`)
}

/** I4, and that nothing is left when all is over. */
const judgeTables = (samples: ReadonlyArray<Sample>, seen: Observation, permits: Permits): ReadonlyArray<string> => {
  const out: Array<string> = []
  const blocked = Math.max(0, ...samples.map((sample) => sample.blocked.length))
  if (blocked > (permits.maxBlocked ?? maxBlocked)) out.push(`${blocked} circuits are blocked`)
  if (samples.some(({ resident }) => resident > maxResident)) out.push("too many workflows are remembered as warm")
  if (samples.some(({ queued }) => queued > seen.jobs.length)) out.push("more jobs wait than there are")
  const { rest } = seen
  if (rest === undefined) return out
  if (rest.queued + rest.running > 0) out.push(`${rest.queued} jobs wait and ${rest.running} run when all is over`)
  const taken = rest.servers.filter(({ jobs, next }) => jobs.length > 0 || next !== null)
  if (taken.length > 0) out.push(`taken when all is over: ${taken.map(({ id, status }) => `${id} ${status}`)}`)
  return out
}

/** Prompts that no job knows, and what befell those of others. */
const judgePrompts = (seen: Observation): ReadonlyArray<string> => {
  const out: Array<string> = []
  const known = new Set(seen.jobs.flatMap((job) => [...runsOf(job)]))
  for (const { id, ledger: { prompts } } of seen.servers) {
    for (const { outcome, promptId } of prompts) {
      const isForeign = seen.foreign.has(promptId)
      if (!isForeign && !known.has(promptId)) out.push(`${id} has a prompt of nobody: ${promptId}`)
      if (isForeign && (outcome === "interrupted" || outcome === "removed")) {
        out.push(`${id}: a stranger's was ${outcome}`)
      }
    }
  }
  return out
}

/** Everything that is wrong with what was seen. */
export const judge = (seen: Observation, permits: Permits = {}): ReadonlyArray<string> => [
  ...seen.jobs.flatMap((job) => judgeJob(job, seen, permits)),
  ...permits.idleUnjudged === true ? [] : idleComplaints(seen),
  ...judgeTables(seen.samples, seen, permits),
  ...judgePrompts(seen),
  ...seen.defects.map((text) => `defect: ${text}`),
  ...seen.notes,
  ...seen.left.closes ? [] : ["the pool did not close"],
  ...seen.left.sockets > 0 ? [`${seen.left.sockets} sockets left`] : [],
  ...seen.left.requestsLater > 0 ? [`${seen.left.requestsLater} requests after the pool was closed`] : []
]
