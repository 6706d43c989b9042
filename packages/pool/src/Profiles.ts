/**
 * Where the time of a pool's jobs went, for pools that are asked to know it: a profile of every job while it is open, the
 * last that ended, and rows over all of them by class, node, workflow, server and tenant. A fold of the jobs' own events:
 * nothing is measured twice, and nothing is done where nobody asked.
 */
import type { JobId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import { latest } from "./internal/latest.ts"
import * as Recent from "./internal/recent.ts"
import type * as Job from "./Job.ts"

/** What users see of them. Without the option `profiles` of the pool there are none. */
export interface Shape {
  /** Of every job that ends from now on, when it has ended; a slow listener loses the oldest. */
  readonly finished: Stream.Stream<JobProfile.JobProfile>
  /** As it is now, of a job that is open or among the last that ended. */
  readonly get: (id: JobId) => Effect.Effect<Option.Option<JobProfile.JobProfile>>
  /** Rows over all runs that ended since the pool began; after each job anew, and the latest wins. */
  readonly statistics: {
    readonly get: Effect.Effect<ProfileSet.Stored>
    readonly changes: Stream.Stream<ProfileSet.Stored>
  }
}

/** For the pool. */
export interface Profiles extends Shape {
  /** The graph of a job that was submitted here: its titles, and its critical path. */
  readonly began: (entry: Job.Entry, workflow: Workflow.Workflow) => void
  /** What was told of a job, in order. Monotonic milliseconds. */
  readonly told: (entry: Job.Entry, events: ReadonlyArray<JobEvent>, now: number) => void
}

const { finished: kept, finishedAge, listeners } = Defaults.profiles

/** Of a pool that begins now. */
export const make: Effect.Effect<Profiles> = Effect.gen(function*() {
  const open = new Map<JobId, JobProfile.State>()
  const ended = Recent.make<JobId, JobProfile.JobProfile>(kept, Duration.toMillis(finishedAge))
  const set = ProfileSet.init()
  const hub = yield* PubSub.sliding<JobProfile.JobProfile>(listeners)
  const statistics = Effect.sync(() => ProfileSet.snapshot(set))

  const over = ({ id, kind, options }: Job.Entry, state: JobProfile.State, now: number): void => {
    open.delete(id)
    const profile = JobProfile.snapshot(state)
    Recent.add(ended, id, profile, now)
    for (const { run } of profile.attempts) {
      ProfileSet.step(set, { profile: run, workflow: kind.affinity, tenant: options.tenant })
    }
    PubSub.publishUnsafe(hub, profile)
  }

  const began = ({ id }: Job.Entry, workflow?: Workflow.Workflow): JobProfile.State => {
    const state = open.get(id) ?? JobProfile.init(workflow)
    open.set(id, state)
    return state
  }

  return {
    began,
    told: (entry, events, now) => {
      const state = began(entry)
      for (const event of events) JobProfile.step(state, event)
      if (events.some(isJobEnding)) over(entry, state, now)
    },
    finished: Stream.fromPubSub(hub),
    get: (id) =>
      Effect.sync(() => {
        const state = open.get(id)
        return Option.fromNullishOr(state === undefined ? Recent.get(ended, id) : JobProfile.snapshot(state))
      }),
    statistics: { get: statistics, changes: latest(statistics, hub) }
  }
})

/** Of a pool that nobody asked. */
export const none: Shape = {
  finished: Stream.empty,
  get: () => Effect.succeedNone,
  statistics: {
    get: Effect.sync(() => ProfileSet.snapshot(ProfileSet.init())),
    changes: Stream.sync(() => ProfileSet.snapshot(ProfileSet.init()))
  }
}
