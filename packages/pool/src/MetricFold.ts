/** What an event of the pool adds to which metric: a fold, whose driver writes it down. */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding, JobEvent } from "@effect-comfyui/execution/JobEvent"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import type * as Job from "./Job.ts"
import type { Labels, NameOf } from "./MetricTable.ts"
import type { ServerEvent } from "./PoolEvent.ts"

/** To be added to the counter, or observed by the histogram, in its unit. */
export type Update = {
  [N in NameOf<"counter" | "histogram">]: { readonly name: N; readonly labels: Labels<N>; readonly value: number }
}[NameOf<"counter" | "histogram">]

/** Owned and updated in place by its driver. Bounded by the jobs that run. */
export interface State {
  /** When the pool saw a run start, monotonic milliseconds. */
  readonly startedAt: Map<JobId, number>
}

export const init = (): State => ({ startedAt: new Map() })

const none: ReadonlyArray<Update> = []

const seconds = (ms: number): number => Math.max(0, ms) / 1_000

const add = <N extends Update["name"]>(name: N, labels: Labels<N>, value: number) => ({ name, labels, value })

const isRecovered = ({ attempts }: Job.Entry): boolean => attempts.at(-1)?.why["policy"] === "recovered"

const serverOf = ({ attempts }: Job.Entry): string => attempts.at(-1)?.server ?? ""

type Placed = Extract<JobEvent, { readonly _tag: "Placed" }>

const wayOf = ({ why }: Placed): string => {
  if (why["policy"] === "recovered") return "recovered"
  if (why["prefetched"] === true) return "prefetched"
  return why["forced"] === true ? "forced" : "turn"
}

const placed = (entry: Job.Entry, event: Placed): ReadonlyArray<Update> => {
  const { policy = "unknown", warm = "unknown" } = event.why
  const by = wayOf(event)
  const placement = add("comfy_placements_total", { policy: String(policy), warm: String(warm), by }, 1)
  // Whoever left the run that was found has counted its wait.
  if (entry.attemptCount !== 1 || by === "recovered") return [placement]
  return [
    placement,
    add("comfy_job_wait_seconds", { tenant: entry.options.tenant }, seconds(event.at - entry.submittedAt))
  ]
}

type AttemptEnded = Extract<JobEvent, { readonly _tag: "AttemptEnded" }>

const attemptEnded = (
  entry: Job.Entry,
  { ending, verdict }: AttemptEnded,
  ranMs: number | undefined
): ReadonlyArray<Update> => {
  const reason = ending._tag === "Failed" ? ending.error.reason._tag : ending._tag
  const server = serverOf(entry)
  return [
    add("comfy_attempts_total", { verdict, reason }, 1),
    ...reason === "SubmitAmbiguous" ? [add("comfy_submits_ambiguous_total", { server }, 1)] : [],
    ...ranMs === undefined ? [] : [add("comfy_run_seconds", { server }, seconds(ranMs))]
  ]
}

const ended = ({ options: { tenant } }: Job.Entry, event: JobEnding): ReadonlyArray<Update> => {
  const { _tag: ending, executions: { atLeast, atMost } } = event
  const reason = event._tag === "JobFailed" || event._tag === "DeadLettered" ? event.error.reason._tag : undefined
  return [
    add("comfy_jobs_ended_total", { tenant, ending }, 1),
    add("comfy_executions_total", { bound: "at_least" }, atLeast),
    add("comfy_executions_total", { bound: "at_most" }, atMost),
    ...reason === undefined ? [] : [add("comfy_jobs_failed_total", { ending, reason }, 1)],
    ...reason === "MaybeExecuted" ? [add("comfy_jobs_maybe_executed_total", { tenant }, 1)] : []
  ]
}

/** Takes an event of a job; `now`: monotonic milliseconds. Nothing for what comes often: progress, previews, nodes. */
export const ofJob = (state: State, entry: Job.Entry, event: JobEvent, now: number): ReadonlyArray<Update> => {
  if (isJobEnding(event)) {
    state.startedAt.delete(entry.id)
    return ended(entry, event)
  }
  switch (event._tag) {
    case "Queued":
      return [add("comfy_jobs_queued_total", { tenant: entry.options.tenant }, 1)]
    case "Placed":
      state.startedAt.delete(entry.id)
      return placed(entry, event)
    case "Attempt": {
      const { event: one } = event
      if (one._tag === "Gap") return [add("comfy_gaps_total", { server: one.backend, cause: one.cause }, 1)]
      if (one._tag === "Started" && !isRecovered(entry)) state.startedAt.set(entry.id, now)
      return none
    }
    case "AttemptEnded": {
      const startedAt = state.startedAt.get(entry.id)
      state.startedAt.delete(entry.id)
      return attemptEnded(entry, event, startedAt === undefined ? undefined : now - startedAt)
    }
    case "Transferred": {
      const server = serverOf(entry)
      return [
        add("comfy_transferred_bytes_total", { server }, event.bytes),
        add("comfy_transfer_seconds", { server }, seconds(event.ms))
      ]
    }
    case "Collected": {
      const { bytes, files, ms, sink } = event
      return [
        add("comfy_collected_files_total", { sink }, files),
        add("comfy_collected_bytes_total", { sink }, bytes),
        add("comfy_collect_seconds", { sink }, seconds(ms))
      ]
    }
  }
}

/** Takes an event of a server. */
export const ofServer = (event: ServerEvent): ReadonlyArray<Update> => {
  const { server } = event
  switch (event._tag) {
    case "ServerDisconnected":
      return [add("comfy_sockets_lost_total", { server, reason: event.kind }, 1)]
    case "ServerRestarted":
      return [add("comfy_servers_restarted_total", { server }, 1)]
    case "CancelStuck":
      return [add("comfy_cancels_stuck_total", { server }, 1)]
    case "ServerBlocked":
      return [add("comfy_breakers_opened_total", { server, scope: scopeOf(event.key), cause: event.cause }, 1)]
    case "ServerUnblocked":
      return [add("comfy_breakers_closed_total", { server, scope: scopeOf(event.key) }, 1)]
    default:
      return none
  }
}

const scopeOf = (key: string | null): string => key === null ? "server" : "workflow"
