/**
 * Where the time of a pool's jobs went, and where it goes, for pools that are asked to know it: a profile of every job, how
 * far it is and when it is thought to end, rows over all of them by class, node, workflow, server and tenant, and where the
 * fleet loses time. Folds of the jobs' own events: nothing is measured twice, and nothing is done where nobody asked.
 */
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as Progress from "@effect-comfyui/execution/Progress"
import { readTime, type Time } from "@effect-comfyui/execution/Time"
import * as Bottlenecks from "@effect-comfyui/profiling/Bottlenecks"
import * as ClassEstimates from "@effect-comfyui/profiling/ClassEstimates"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import type * as SlowNodes from "@effect-comfyui/profiling/SlowNodes"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import * as Etas from "./Etas.ts"
import { latest, polled } from "./internal/latest.ts"
import * as Recent from "./internal/recent.ts"
import type * as Job from "./Job.ts"
import * as Jobs from "./Jobs.ts"
import * as NodeHooks from "./NodeHooks.ts"
import type { PoolEvent } from "./PoolEvent.ts"

/** What users see of them. Without the option `profiles` of the pool there are none. */
export interface Shape {
  /** Of every job that ends from now on, when it has ended; a slow listener loses the oldest. */
  readonly finished: Stream.Stream<JobProfile.JobProfile>
  /** As it is now, of a job that is open or among the last that ended. */
  readonly get: (id: JobId) => Effect.Effect<Option.Option<JobProfile.JobProfile>>
  /** How far the run of a job is, nodes weighed by what their class is known to take; none before its first. */
  readonly progress: (id: JobId) => Effect.Effect<Option.Option<Progress.Snapshot>>
  /** When a job is thought to end; none where nobody can know, and of jobs that have ended. */
  readonly eta: (id: JobId) => Effect.Effect<Option.Option<Etas.JobEta>>
  /** Rows over all runs that ended since the pool began; after each job anew, and the latest wins. */
  readonly statistics: {
    readonly get: Effect.Effect<ProfileSet.Stored>
    readonly changes: Stream.Stream<ProfileSet.Stored>
  }
  /** Each node that begins from now on; a slow listener loses the oldest. */
  readonly nodeStarts: Stream.Stream<NodeHooks.NodeBegan>
  /** Each execution of a node that takes longer than it should, once, within a second of its limit. */
  readonly slowNodes: (options?: Partial<SlowNodes.Options>) => Stream.Stream<SlowNodes.SlowNode>
  /** Where the last thousand jobs lost time; now, and each minute in which that has changed. */
  readonly bottlenecks: {
    readonly get: Effect.Effect<Bottlenecks.Report>
    readonly changes: Stream.Stream<Bottlenecks.Report>
  }
}

/** For the pool. */
export interface Profiles extends Shape {
  /** A job is about to be queued whose graph this is. */
  readonly foreseen: (entry: Job.Entry, workflow: Workflow.Workflow) => void
  /** The queue did not take it: it never was. */
  readonly dropped: (entry: Job.Entry) => void
  /** An attempt begins of a job whose graph this is: its titles, its critical path, what its nodes weigh. */
  readonly began: (entry: Job.Entry, workflow: Workflow.Workflow) => void
  /** What was told of a job, in order. */
  readonly told: (entry: Job.Entry, events: ReadonlyArray<JobEvent>, time: Time) => void
}

/** What it follows; all of it is the pool's. */
export interface Options extends Omit<Etas.Parts, "seenOf"> {
  readonly events: Stream.Stream<PoolEvent>
}

const { bottlenecks: reckonEvery, finished: kept, finishedAge, listeners } = Defaults.profiles

/** An open job that was placed at least once. */
interface Open extends Etas.Seen {
  readonly workflow: Workflow.Workflow | undefined
  readonly profile: JobProfile.State
  /** What the nodes of its last run were thought to take when it was placed, milliseconds. */
  expectedMs: number | null
  /** Of its last run. */
  progress: Progress.State
  startedMs: number | null
  done: number
  doneMs: number
}

/** What shows that the run has started. */
const shows = ({ _tag }: ExecutionEvent): boolean =>
  _tag === "Started" || _tag === "NodesCached" || _tag === "NodeStarted"

/** Of a pool that begins now. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Profiles> {
  const { fleet: { estimates }, jobs } = options
  const clock = yield* Clock.Clock
  const open = new Map<JobId, Open>()
  const graphs = new Map<JobId, ClassEstimates.Graph>()
  const ended = Recent.make<JobId, Bottlenecks.Observation>(kept, Duration.toMillis(finishedAge))
  const set = ProfileSet.init()
  const hub = yield* PubSub.sliding<JobProfile.JobProfile>(listeners)
  const statistics = Effect.sync(() => ProfileSet.snapshot(set))
  const etas = Etas.make({
    ...options,
    seenOf: (id) => open.get(id) ?? { ...Etas.unseen, graph: graphs.get(id) }
  })

  const progressOf = (workflow: Workflow.Workflow | undefined, cold: boolean): Progress.State =>
    workflow === undefined
      ? Progress.init()
      : Progress.init(Object.keys(workflow.nodes), ClassEstimates.weights(estimates.classes, workflow, cold))

  /** It waited until now, and nobody had to know more than that. */
  const begin = ({ id, submittedAt }: Job.Entry, workflow: Workflow.Workflow | undefined): Open => {
    const profile = JobProfile.init(workflow)
    JobProfile.step(profile, { _tag: "Queued", jobId: id, sequence: 0, at: submittedAt })
    const graph = workflow === undefined ? undefined : graphs.get(id) ?? ClassEstimates.graphOf(workflow)
    return { ...Etas.unseen, workflow, graph, profile, expectedMs: null, progress: progressOf(undefined, false) }
  }

  const openOf = (entry: Job.Entry, workflow?: Workflow.Workflow): Open => {
    const known = open.get(entry.id) ?? begin(entry, workflow)
    open.set(entry.id, known)
    graphs.delete(entry.id)
    return known
  }

  const follow = (entry: Job.Entry, one: Open, events: ReadonlyArray<JobEvent>, now: number): void => {
    for (const event of events) {
      JobProfile.step(one.profile, event)
      if (event._tag === "Placed") {
        const cold = Etas.isCold(options, entry, event.server)
        one.progress = progressOf(one.workflow, cold)
        one.expectedMs = one.graph === undefined ? null : Estimates.ofGraph(estimates, event.server, one.graph, cold)
        one.startedMs = null
        one.done = 0
      } else if (event._tag === "Attempt") {
        Progress.step(one.progress, event.event)
        if (one.startedMs === null && shows(event.event)) one.startedMs = now
      }
    }
    const done = Progress.workDone(one.progress)
    if (done !== one.done) Object.assign(one, { done, doneMs: now })
  }

  /** With what cold runs are thought to have cost, and for others what its nodes took. */
  const conclude = (entry: Job.Entry, profile: JobProfile.JobProfile): JobProfile.JobProfile => {
    const attempts = profile.attempts.map((attempt) => {
      const cold = entry.attempts.find(({ number }) => number === attempt.number)?.cold ?? null
      const { run, server, verdict } = attempt
      if (verdict === "done" && cold !== null && server !== null) {
        Estimates.learnClasses(estimates, { server, cold, nodes: run.nodes })
      }
      return cold === true
        ? { ...attempt, run: Profile.withColdSurcharge(run, estimates, entry.kind.affinity) }
        : attempt
    })
    return { ...profile, attempts }
  }

  const over = (entry: Job.Entry, one: Open, now: number): void => {
    const { id, kind: { affinity }, options: { tenant } } = entry
    open.delete(id)
    const profile = conclude(entry, JobProfile.snapshot(one.profile))
    const last = profile.attempts.at(-1)
    if (last?.verdict === "done" && one.expectedMs !== null && last.run.executionMs !== null) {
      Estimates.learnRatio(estimates, affinity, one.expectedMs, last.run.executionMs)
    }
    Recent.add(ended, id, { profile, key: affinity }, now)
    for (const { run } of profile.attempts) ProfileSet.step(set, { profile: run, workflow: affinity, tenant })
    PubSub.publishUnsafe(hub, profile)
  }

  const bottlenecks = Effect.sync(() => Bottlenecks.report(Recent.values(ended)))

  return {
    foreseen: ({ id, kind: { affinity } }, workflow) => {
      const graph = ClassEstimates.graphOf(workflow)
      Estimates.foresee(estimates, affinity, graph)
      if (graphs.size < Etas.maxPending) graphs.set(id, graph)
    },
    dropped: ({ id }) => void graphs.delete(id),
    began: openOf,
    told: (entry, events, time) => {
      const { now } = time
      const isOver = events.some(isJobEnding)
      // What only waits is not followed: its graph is with the queue, and a hundred thousand may wait.
      if (!isOver && events.every(({ _tag }) => _tag === "Queued")) return Etas.queued(etas, entry, time)
      const one = openOf(entry)
      follow(entry, one, events, now)
      if (events.some(({ _tag }) => _tag === "Placed")) Etas.placed(etas, entry, time)
      else Etas.advanced(etas, entry, one.done, time)
      if (!isOver) return
      graphs.delete(entry.id)
      Etas.ended(etas, entry, events.some(({ _tag }) => _tag === "JobSucceeded"), time)
      over(entry, one, now)
    },
    finished: Stream.fromPubSub(hub),
    get: (id) =>
      Effect.sync(() => {
        const entry = jobs.open.get(id)
        const one = open.get(id) ?? (entry === undefined ? undefined : begin(entry, undefined))
        if (one !== undefined) return Option.some(JobProfile.snapshot(one.profile))
        return Option.map(Option.fromNullishOr(Recent.get(ended, id)), ({ profile }) => profile)
      }),
    progress: (id) =>
      Effect.sync(() => Option.map(Option.fromNullishOr(open.get(id)), ({ progress }) => Progress.snapshot(progress))),
    eta: (id) =>
      Effect.sync(() => {
        const entry = Jobs.get(jobs, id)
        return Option.fromNullishOr(entry === undefined ? undefined : Etas.of(etas, entry, readTime(clock)))
      }),
    statistics: { get: statistics, changes: latest(statistics, hub) },
    nodeStarts: NodeHooks.starts(options.events, estimates, (id) => open.get(id)?.workflow),
    slowNodes: (wanted) => NodeHooks.slow(options.events, estimates, wanted),
    bottlenecks: {
      get: bottlenecks,
      changes: polled(bottlenecks, reckonEvery)
    }
  }
})

/** Of a pool that nobody asked. */
export const none: Shape = {
  finished: Stream.empty,
  get: () => Effect.succeedNone,
  progress: () => Effect.succeedNone,
  eta: () => Effect.succeedNone,
  statistics: {
    get: Effect.sync(() => ProfileSet.snapshot(ProfileSet.init())),
    changes: Stream.sync(() => ProfileSet.snapshot(ProfileSet.init()))
  },
  nodeStarts: Stream.empty,
  slowNodes: () => Stream.empty,
  bottlenecks: {
    get: Effect.sync(() => Bottlenecks.report([])),
    changes: Stream.sync(() => Bottlenecks.report([]))
  }
}
