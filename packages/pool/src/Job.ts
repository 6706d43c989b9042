/** One job of a pool: what was asked for, what happened so far, and for everybody who listens the events of it. */
import type * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import * as EventLog from "@effect-comfyui/execution/EventLog"
import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import { type Executions, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import type { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import {
  isJobEnding,
  type JobEnding,
  type JobError,
  type JobEvent,
  type JobSucceeded
} from "@effect-comfyui/execution/JobEvent"
import type * as Json from "@effect-comfyui/workflow/Json"
import type { ContentKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Tracer from "effect/Tracer"
import * as Failover from "./Failover.ts"
import type { Checked } from "./JobOptions.ts"
import type { Kind } from "./Jobs.ts"
import type * as Trail from "./Trail.ts"

/** Events of a job as a buffer holds them: progress and previews of its attempts are conflated. */
export const ofJob: EventBuffer.Kind<JobEvent> = {
  ofRun: (event) => event._tag === "Attempt" ? event.event : undefined,
  gap: (event, next) => ({
    _tag: "Attempt",
    jobId: next.jobId,
    sequence: next.sequence,
    at: next.at,
    number: next._tag === "Attempt" ? next.number : 1,
    event
  }),
  isEnding: isJobEnding
}

/** Where a job stands. */
export type Status =
  | { readonly _tag: "Queued" }
  | { readonly _tag: "Running"; readonly server: BackendId; readonly attempt: number }
  /** Its run has succeeded, and its files are on their way to their sink. */
  | { readonly _tag: "Collecting"; readonly server: BackendId; readonly attempt: number }
  | { readonly _tag: "Ended"; readonly ending: JobEnding }

/** One attempt, for people. `endedAs` is null while it runs. */
export interface AttemptRecord {
  readonly number: number
  readonly runId: RunId
  readonly server: BackendId
  /** Epoch milliseconds. */
  readonly startedAt: number
  readonly why: Readonly<Record<string, string | number | boolean>>
  endedAs: string | null
  endedAt: number | null
  /** Whether its models had to be loaded, as the run showed; null: it did not, or not yet. */
  cold: boolean | null
}

/** Owned and updated in place by its pool. */
export interface Entry {
  readonly id: JobId
  /** Its graph and files are the queue's to keep. */
  readonly options: Checked
  readonly kind: Kind
  readonly content: ContentKey | null
  /** Epoch milliseconds. */
  readonly submittedAt: number
  /** Monotonic milliseconds; infinity without one. */
  readonly deadlineAt: number
  /** Made for the first subscriber, or the first event after `Queued`: until then there is nothing to keep. */
  log: EventLog.EventLog<JobEvent> | undefined
  /** Made for whoever waits. */
  ended: Deferred.Deferred<JobEnding> | undefined
  /** The last of them, at most {@link maxAttempts}. */
  attempts: Array<AttemptRecord>
  attemptCount: number
  ledger: Failover.Ledger
  /** Added to the prefix of its files: those of its last run were gone, and a server that has it cached writes no others. */
  prefix: string | null
  executions: Executions
  sequence: number
  cancelAsked: boolean
  /** Where it was sent ahead of its turn and taken back: not sent ahead to there again. */
  recalledFrom: BackendId | undefined
  /** What was decided about it; made with the first step. */
  trail: Trail.Trail | undefined
  /** From its submission to its ending; made with the first attempt. */
  span: Tracer.Span | undefined
  /** The queue has it, and everybody was told: before, it is not placed. */
  isQueued: boolean
  /** It does not wait for its first server any more. */
  wasPlaced: boolean
  /** Its files are being collected. */
  isCollected: boolean
  ending: JobEnding | undefined
}

/** What a job is from the start; all else comes later. */
type Given = Pick<Entry, "id" | "options" | "kind" | "content" | "submittedAt" | "deadlineAt">

/** Lifecycle events of an open job kept for late subscribers. */
const replay = 4_096

/** Never written to. */
const none: Array<never> = []

const never: Executions = { atLeast: 0, atMost: 0 }

/** Written out: a hundred thousand of them wait, and each is as large as it must be. */
export const make = ({ content, deadlineAt, id, kind, options, submittedAt }: Given): Entry => ({
  id,
  options,
  kind,
  content,
  submittedAt,
  deadlineAt,
  log: undefined,
  ended: undefined,
  attempts: none,
  attemptCount: 0,
  ledger: Failover.empty,
  prefix: null,
  executions: never,
  sequence: -1,
  cancelAsked: false,
  recalledFrom: undefined,
  trail: undefined,
  span: undefined,
  isQueued: false,
  wasPlaced: false,
  isCollected: false,
  ending: undefined
})

/** What a job is, to be compared: two of one content do the same. */
export const contentOf = ({ content, id }: Pick<Entry, "content" | "id">): string => content ?? id

/** A server that refuses is tried again without end: of a long story the last chapters are kept. */
const maxAttempts = 64

/** Notes a new attempt, numbered from 1. */
export const attempted = (
  entry: Entry,
  attempt: Pick<AttemptRecord, "runId" | "server" | "startedAt" | "why">
): AttemptRecord => {
  entry.attemptCount++
  const record: AttemptRecord = { ...attempt, number: entry.attemptCount, endedAs: null, endedAt: null, cold: null }
  if (entry.attempts.length === 0) entry.attempts = [record]
  else entry.attempts.push(record)
  if (entry.attempts.length > maxAttempts) entry.attempts.shift()
  return record
}

type Untold<Event> = Event extends JobEvent ? Omit<Event, "jobId" | "sequence" | "at"> : never

/** An event but for what all events of a job have. */
export type Told = Untold<JobEvent>

/** The job's last event, the same way. */
export type EndingTold = Untold<JobEnding>

const isPassing = (told: Told): boolean => told._tag === "Attempt" && isTransient(told.event)

/** The log, with what was said before there was one: that the job was queued. */
const logOf = (entry: Entry): EventLog.EventLog<JobEvent> => {
  if (entry.log !== undefined) return entry.log
  entry.log = EventLog.make(ofJob, replay)
  if (entry.isQueued) {
    EventLog.publish(entry.log, [{ _tag: "Queued", jobId: entry.id, sequence: 0, at: entry.submittedAt }])
  }
  return entry.log
}

/** The queue has it: the first event, of the time of its submission. */
export const queued = (entry: Entry): ReadonlyArray<JobEvent> => {
  const events = tell(entry, [{ _tag: "Queued" }], entry.submittedAt)
  entry.isQueued = true
  return events
}

/** The job's last event as it is about to be told: the queue has it first. */
export const endingOf = ({ id, sequence }: Entry, told: EndingTold, at: number): JobEnding => ({
  ...told,
  jobId: id,
  sequence: sequence + 1,
  at
})

/** Gives the events their place, and everybody the events; nothing after the ending. */
export const tell = (entry: Entry, told: ReadonlyArray<Told>, at: number): ReadonlyArray<JobEvent> => {
  const events: Array<JobEvent> = []
  for (const one of told) {
    if (entry.ending !== undefined) break
    // What is conflated carries the number of what came before it, so that nobody sees holes.
    if (!isPassing(one)) entry.sequence++
    const event: JobEvent = { ...one, jobId: entry.id, sequence: entry.sequence, at }
    events.push(event)
    if (isJobEnding(event)) entry.ending = event
  }
  if (entry.log !== undefined || events[0]?._tag !== "Queued") EventLog.publish(logOf(entry), events)
  if (entry.ending !== undefined) {
    if (entry.ended !== undefined) Deferred.doneUnsafe(entry.ended, Effect.succeed(entry.ending))
    entry.span?.end(nanos(at), "error" in entry.ending ? Exit.fail(entry.ending.error) : Exit.void)
  }
  return events
}

const nanos = (ms: number): bigint => BigInt(Math.round(ms * 1_000)) * 1_000n

/** The span of the job, which those of its attempts stand in. */
export const span = (entry: Entry, tracer: Tracer.Tracer): Tracer.Span => {
  if (entry.span !== undefined) return entry.span
  entry.span = tracer.span({
    name: "comfy.job",
    parent: Option.none(),
    annotations: Context.empty(),
    links: [],
    startTime: nanos(entry.submittedAt),
    kind: "producer",
    root: true,
    sampled: true
  })
  entry.span.attribute("comfy.job.id", entry.id)
  entry.span.attribute("comfy.job.tenant", entry.options.tenant)
  entry.span.attribute("comfy.job.affinity", entry.kind.affinity)
  return entry.span
}

export const status = ({ attempts, ending, isCollected }: Entry): Status => {
  if (ending !== undefined) return { _tag: "Ended", ending }
  const last = attempts.at(-1)
  if (last === undefined || last.endedAs !== null && !isCollected) return { _tag: "Queued" }
  return { _tag: isCollected ? "Collecting" : "Running", server: last.server, attempt: last.number }
}

/** A job for lists and dashboards. */
export interface View {
  readonly id: JobId
  readonly status: Status["_tag"]
  readonly tenant: string
  readonly priority: number
  readonly submittedAt: number
  readonly attempts: ReadonlyArray<Readonly<AttemptRecord>>
  readonly executions: Executions
  readonly metadata: Json.Json
}

export const view = (entry: Entry): View => ({
  id: entry.id,
  status: status(entry)._tag,
  tenant: entry.options.tenant,
  priority: entry.options.priority,
  submittedAt: entry.submittedAt,
  attempts: entry.attempts.map((attempt) => ({ ...attempt })),
  executions: entry.executions,
  metadata: entry.options.metadata
})

/** About how many bytes a value takes as text: its strings, and a few for everything else. */
const weigh = (value: unknown): number => {
  if (typeof value === "string") return value.length + 2
  if (typeof value !== "object" || value === null) return 8
  if (ArrayBuffer.isView(value)) return value.byteLength
  let bytes = 2
  for (const [name, member] of Object.entries(value)) bytes += name.length + 2 + weigh(member)
  return bytes
}

/** Of an event in which nobody says as much as he likes. */
const plainBytes = 256

/** About how many bytes an event takes. */
export const sizeOf = (event: JobEvent): number => {
  if (event._tag === "Queued" || event._tag === "Transferred" || event._tag === "Collected") return plainBytes
  if (event._tag !== "Attempt") return weigh(event)
  switch (event.event._tag) {
    case "Submitted":
    case "Started":
    case "NodeStarted":
    case "NodeFinished":
    case "Gap":
      return plainBytes
    default:
      return weigh(event.event)
  }
}

/** All events of a job from its beginning, for any number of subscribers. */
export const events = (entry: Entry, options?: Partial<EventBuffer.Options>): Stream.Stream<JobEvent> =>
  Stream.suspend(() => EventLog.events(logOf(entry), options))

/** The job's last event, when it has come. */
export const awaitEnding = (entry: Entry): Effect.Effect<JobEnding> =>
  Effect.suspend(() =>
    entry.ending === undefined
      ? Deferred.await(entry.ended ??= Deferred.makeUnsafe())
      : Effect.succeed(entry.ending)
  )

const errorOf = (ending: Exclude<JobEnding, JobSucceeded>): JobError =>
  ending._tag === "JobCancelled"
    ? new ExecutionError({ reason: { _tag: "Cancelled", by: ending.by }, runId: null, backend: null })
    : ending.error

const resultOf = (ending: JobEnding): Effect.Effect<JobSucceeded, JobError> =>
  ending._tag === "JobSucceeded" ? Effect.succeed(ending) : Effect.fail(errorOf(ending))

/** Its success; whatever else it ends in is the failure. */
export const result = (entry: Entry): Effect.Effect<JobSucceeded, JobError> =>
  Effect.flatMap(awaitEnding(entry), resultOf)
