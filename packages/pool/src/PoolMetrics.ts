/**
 * A pool's figures as Effect metrics, for whatever exporter reads the registry: `PrometheusMetrics`, `OtlpMetrics`, or
 * `Metric.snapshot`. Counters and histograms are updated as things happen, in memory; gauges are read when somebody asks.
 * Nothing here waits for a reader, and what throws (a registry, a hook of somebody's) is logged once and touches no job.
 */
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { Time } from "@effect-comfyui/execution/Time"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import * as Metric from "effect/Metric"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type * as Job from "./Job.ts"
import type { Status } from "./Member.ts"
import * as MetricFold from "./MetricFold.ts"
import * as MetricLabels from "./MetricLabels.ts"
import { boundaries, descriptions, type Labels, type Name, type NameOf } from "./MetricTable.ts"
import type { ServerEvent } from "./PoolEvent.ts"
import type { Snapshot } from "./Snapshot.ts"

/** Where the figures come from. */
export interface Options {
  readonly snapshot: () => Snapshot
  readonly time: () => Time
  /** Something of somebody's has thrown; said once. */
  readonly warn: (message: string) => void
}

/** What the pool tells, at once and in order; it never throws. */
export interface Recorder {
  readonly job: (entry: Job.Entry, events: ReadonlyArray<JobEvent>) => void
  readonly server: (event: ServerEvent) => void
}

const statuses: ReadonlyArray<Status> = [
  "connecting",
  "ready",
  "busy",
  "fenced",
  "foreign",
  "paused",
  "draining",
  "unreachable"
]

/** What several gauges read from one look at the pool. */
interface Reading {
  readonly at: number
  readonly version: number
  readonly snapshot: Snapshot
  readonly tenants: ReadonlyMap<string, { jobs: number; oldestAt: number }>
}

/** A look at the pool holds for so long, unless something happens: one export reads it some hundred times. */
const lookMs = 1_000

/**
 * Records into the metric registry of the caller, with its `Metric.CurrentMetricAttributes`: give two pools of one process
 * different ones, or their gauges replace each other. When the scope closes the gauges go; counters stay, as counters do.
 */
export const make = Effect.fnUntraced(function*(
  { snapshot, time, warn }: Options
): Effect.fn.Return<Recorder, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const labels = MetricLabels.init()
  const fold = MetricFold.init()
  const gauges = new Map<string, Metric.Registration>()
  let version = 0
  let last: Reading | undefined
  let hasWarned = false

  const guarded = (record: () => void) => {
    version++
    const done = Result.try(record)
    if (Result.isSuccess(done) || hasWarned) return
    hasWarned = true
    warn(`metrics are not recorded: ${String(done.failure).slice(0, 200)}`)
  }

  const attributesOf = (values: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(Object.entries(values).map(([label, value]) => [label, MetricLabels.of(labels, label, value)]))

  const write = ({ labels: values, name, value }: MetricFold.Update) => {
    const { kind, meaning: description } = descriptions[name]
    const options = { description, attributes: attributesOf(values) }
    const metric = kind === "counter"
      ? Metric.counter(name, { ...options, incremental: true })
      : Metric.histogram(name, { ...options, boundaries })
    metric.updateUnsafe(value, context)
  }

  /** One by one: a series that throws costs itself. */
  const writeAll = (updates: ReadonlyArray<MetricFold.Update>) => {
    for (const update of updates) guarded(() => write(update))
  }

  // ── Gauges ────────────────────────────────────────────────────────────────────────────────────────────────────────

  const look = (): Reading => {
    const { now } = time()
    if (last !== undefined && last.version === version && now - last.at < lookMs) return last
    const seen = snapshot()
    const tenants = new Map<string, { jobs: number; oldestAt: number }>()
    for (const { delayed, oldestAt, ready, tenant } of seen.tenants) {
      const label = MetricLabels.of(labels, "tenant", tenant)
      const known = tenants.get(label) ?? { jobs: 0, oldestAt: Number.POSITIVE_INFINITY }
      known.jobs += ready + delayed
      known.oldestAt = Math.min(known.oldestAt, oldestAt ?? Number.POSITIVE_INFINITY)
      tenants.set(label, known)
    }
    return last = { at: now, version, snapshot: seen, tenants }
  }

  const nameOf = (name: Name, values: Readonly<Record<string, string>>): string =>
    `${name} ${Object.values(values).join(" ")}`

  /** A gauge that is asked when somebody reads; once per series. */
  const gauge = <N extends NameOf<"gauge">>(name: N, values: Labels<N>, read: (reading: Reading) => number) => {
    const key = nameOf(name, values)
    if (gauges.has(key)) return
    const metric = Metric.gauge(name, { description: descriptions[name].meaning, attributes: values })
    const hooks = { get: () => ({ value: read(look()) }), update: constVoid, modify: constVoid }
    gauges.set(key, Metric.registerUnsafe(metric, context, hooks))
  }

  const ofTenant = (name: string) => {
    const tenant = MetricLabels.of(labels, "tenant", name)
    gauge("comfy_queue_jobs", { tenant }, ({ tenants }) => tenants.get(tenant)?.jobs ?? 0)
    gauge("comfy_queue_oldest_age_seconds", { tenant }, ({ tenants }) => {
      const oldestAt = tenants.get(tenant)?.oldestAt ?? Number.POSITIVE_INFINITY
      return Number.isFinite(oldestAt) ? Math.max(0, time().at - oldestAt) / 1_000 : 0
    })
  }

  const ofServer = (name: string) => {
    const server = MetricLabels.of(labels, "server", name)
    gauge(
      "comfy_breakers_open",
      { server },
      ({ snapshot: { blocked } }) =>
        blocked.filter((one) => one.state === "open" && MetricLabels.of(labels, "server", one.server) === server).length
    )
  }

  const forgetServer = (name: string) => {
    const server = MetricLabels.of(labels, "server", name)
    if (server === MetricLabels.other) return
    const key = nameOf("comfy_breakers_open", { server })
    gauges.get(key)?.remove()
    gauges.delete(key)
  }

  guarded(() => {
    for (const status of statuses) {
      gauge(
        "comfy_servers",
        { status },
        ({ snapshot: { servers } }) => servers.filter((server) => server.status === status).length
      )
    }
    gauge("comfy_jobs_running", {}, (reading) => reading.snapshot.running)
    gauge("comfy_jobs_collecting", {}, (reading) => reading.snapshot.collecting)
    gauge("comfy_jobs_recovering", {}, (reading) => reading.snapshot.recovering)
    gauge("comfy_retries_left", {}, (reading) => reading.snapshot.retries.left)
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const registration of gauges.values()) guarded(registration.remove)
    })
  )

  return {
    job: (entry, events) =>
      guarded(() => {
        const { now } = time()
        for (const event of events) {
          writeAll(MetricFold.ofJob(fold, entry, event, now))
          if (event._tag === "Queued") ofTenant(entry.options.tenant)
        }
      }),
    server: (event) =>
      guarded(() => {
        writeAll(MetricFold.ofServer(event))
        if (event._tag === "ServerAdded") ofServer(event.server)
        if (event._tag === "ServerRemoved") forgetServer(event.server)
      })
  }
})
