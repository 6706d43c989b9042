/** The metrics of a pool: their names, labels and units, and what each counts. `docs/metrics.md` is this table. */

/** One metric. Every series of it has all of these labels; a label has at most 200 values, then `other`. */
export interface Description {
  readonly kind: "counter" | "gauge" | "histogram"
  readonly labels: ReadonlyArray<string>
  readonly unit: "jobs" | "attempts" | "executions" | "seconds" | "bytes" | "files" | "servers" | "breakers" | "events"
  /** A sentence. */
  readonly meaning: string
}

type Unit = Description["unit"]

const counter = <const L extends ReadonlyArray<string>>(labels: L, unit: Unit, meaning: string) => ({
  kind: "counter" as const,
  labels,
  unit,
  meaning
})

const histogram = <const L extends ReadonlyArray<string>>(labels: L, meaning: string) => ({
  kind: "histogram" as const,
  labels,
  unit: "seconds" as const,
  meaning
})

const gauge = <const L extends ReadonlyArray<string>>(labels: L, unit: Unit, meaning: string) => ({
  kind: "gauge" as const,
  labels,
  unit,
  meaning
})

/** All of them by name, as Prometheus reads them. */
export const descriptions = {
  comfy_jobs_queued_total: counter(
    ["tenant"],
    "jobs",
    "Jobs that came into this pool: submitted to it, or found in its queue."
  ),
  comfy_jobs_ended_total: counter(
    ["tenant", "ending"],
    "jobs",
    "Jobs that this pool ended, by their last event. What other pools of the queue end is theirs to count."
  ),
  comfy_jobs_failed_total: counter(
    ["ending", "reason"],
    "jobs",
    "Of those, the failed and the dead-lettered ones, by reason."
  ),
  comfy_jobs_maybe_executed_total: counter(
    ["tenant"],
    "jobs",
    "Jobs left to a person because a run that must not happen twice may have happened."
  ),
  comfy_executions_total: counter(
    ["bound"],
    "executions",
    "How often servers executed the ended jobs: `at_least` and `at_most`. What lies between them nobody can know."
  ),
  comfy_attempts_total: counter(
    ["verdict", "reason"],
    "attempts",
    "Attempts that ended, by what followed and by what ended them; `Completed` where nothing went wrong."
  ),
  comfy_placements_total: counter(
    ["policy", "warm", "by"],
    "attempts",
    "Jobs given to a server. `by`: `turn`, `forced` (waited longest), `prefetched` (ahead of its turn), `recovered` (its run was there)."
  ),
  comfy_submits_ambiguous_total: counter(
    ["server"],
    "attempts",
    "Attempts of which nobody could say whether the server took the prompt."
  ),
  comfy_gaps_total: counter(
    ["server", "cause"],
    "events",
    "Gaps among the events of runs: the socket broke, we were too slow, or the run began before we looked."
  ),
  comfy_transferred_bytes_total: counter(["server"], "bytes", "Files brought to servers, as they went over the wire."),
  comfy_collected_files_total: counter(["sink"], "files", "Files of succeeded runs that are in their sink."),
  comfy_collected_bytes_total: counter(["sink"], "bytes", "The size of these files."),
  comfy_sockets_lost_total: counter(
    ["server", "reason"],
    "events",
    "Connections that ended. `Deaf`: open, and frames of ours were due, or none had come for minutes."
  ),
  comfy_servers_restarted_total: counter(
    ["server"],
    "events",
    "Times another process was found at a server's address."
  ),
  comfy_cancels_stuck_total: counter(["server"], "events", "Cancelled runs that were still there a minute later."),
  comfy_breakers_opened_total: counter(
    ["server", "scope", "cause"],
    "breakers",
    "Servers, or workflows on a server (`scope`: `server`, `workflow`), that were blocked after failures."
  ),
  comfy_breakers_closed_total: counter(
    ["server", "scope"],
    "breakers",
    "Those that are blocked no more, be it for one job as a trial."
  ),
  comfy_job_wait_seconds: histogram(["tenant"], "From the submission of a job to its first placement."),
  comfy_run_seconds: histogram(["server"], "From the start of a run on its server to its end, where both were seen."),
  comfy_transfer_seconds: histogram(["server"], "For each file that was brought to a server."),
  comfy_collect_seconds: histogram(["sink"], "For all files of a job together, from the end of its run."),
  comfy_queue_jobs: gauge(["tenant"], "jobs", "Jobs that wait for a server."),
  comfy_queue_oldest_age_seconds: gauge(
    ["tenant"],
    "seconds",
    "Since the submission of the oldest of them; 0 where none waits."
  ),
  comfy_jobs_running: gauge(
    [],
    "jobs",
    "Jobs that this pool holds on a server, those whose files are collected included."
  ),
  comfy_jobs_collecting: gauge([], "jobs", "Jobs whose run has succeeded and whose files are on their way."),
  comfy_jobs_recovering: gauge([], "jobs", "Jobs whose run was left by an earlier process and is being asked for."),
  comfy_servers: gauge(["status"], "servers", "Servers of the pool by how they stand."),
  comfy_breakers_open: gauge(["server"], "breakers", "What is blocked there now: the server, or workflows on it."),
  comfy_retries_left: gauge([], "executions", "Repeated executions that the fleet may spend now.")
} satisfies Readonly<Record<string, Description>>

/** The name of a metric. */
export type Name = keyof typeof descriptions

/** Its labels with their values. */
export type Labels<N extends Name> = Readonly<Record<(typeof descriptions)[N]["labels"][number], string>>

/** The names of one kind. */
export type NameOf<K extends Description["kind"]> = {
  [N in Name]: (typeof descriptions)[N]["kind"] extends K ? N : never
}[Name]

/** Upper bounds of the buckets of all histograms, seconds: a cached upload takes milliseconds, a film hours. */
export const boundaries: ReadonlyArray<number> = [
  0.01,
  0.05,
  0.1,
  0.5,
  1,
  2,
  5,
  10,
  20,
  30,
  60,
  120,
  300,
  600,
  1_800,
  3_600,
  7_200
]
