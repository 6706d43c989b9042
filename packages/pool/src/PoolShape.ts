/** What a pool can do, as its users have it. */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type * as Demand from "./Demand.ts"
import type * as Explanation from "./Explanation.ts"
import type * as Job from "./Job.ts"
import type { JobOptions } from "./JobOptions.ts"
import type * as Membership from "./Membership.ts"
import type { PoolEvent } from "./PoolEvent.ts"
import type { PoolJob } from "./PoolJob.ts"
import type * as Profiles from "./Profiles.ts"
import type * as Snapshot from "./Snapshot.ts"

/** Many servers as one. */
export interface Shape {
  /** Returns when the job is safely in the queue. The same id, or idempotency key, with the same content: the same job. */
  readonly submit: <Metadata extends Json.Json = null>(
    workflow: Workflow.Workflow,
    options?: JobOptions<Metadata>
  ) => Effect.Effect<PoolJob<Metadata>, PoolError>
  /** One after the other, with the same options; those before one that fails are in the queue. */
  readonly submitAll: <Metadata extends Json.Json = null>(
    workflows: ReadonlyArray<Workflow.Workflow>,
    options?: JobOptions<Metadata>
  ) => Effect.Effect<ReadonlyArray<PoolJob<Metadata>>, PoolError>
  /** Submits on subscription; an early end of the consumer leaves the job alone. */
  readonly run: (workflow: Workflow.Workflow, options?: JobOptions) => Stream.Stream<JobEvent, PoolError>
  /** A job of this pool or of its queue; fails for one that was never there, or was forgotten. */
  readonly get: (id: JobId) => Effect.Effect<PoolJob, PoolError>
  /** Those that ended lately, in that order, then the open ones in order of arrival. */
  readonly list: Effect.Effect<ReadonlyArray<Job.View>>
  readonly cancel: (id: JobId) => Effect.Effect<void, PoolError>
  /** As `PoolJob.explain`, for a job that `get` finds; kept as long as the job is remembered. */
  readonly explain: (id: JobId) => Effect.Effect<Explanation.Explanation, PoolError>
  /**
   * Puts a dead-lettered job back under its id, as new: attempts, limits and deadline begin again. Handles of before keep
   * the ending they gave; `get` gives one of the new life, whoever redrove it. False: there is no dead job of this id.
   */
  readonly redrive: (id: JobId) => Effect.Effect<boolean, PoolError>
  /** Forgets a job that has ended, before its time; false: there is none of this id that has. */
  readonly forget: (id: JobId) => Effect.Effect<boolean, PoolError>
  /** Everything that happens from now on; a slow listener loses the oldest. */
  readonly events: Stream.Stream<PoolEvent>
  readonly snapshot: Effect.Effect<Snapshot.Snapshot>
  /** The same now, and whenever something has happened; the latest wins. */
  readonly state: { readonly get: Effect.Effect<Snapshot.Snapshot>; readonly changes: Stream.Stream<Snapshot.Snapshot> }
  readonly servers: Membership.Shape
  readonly profiles: Profiles.Shape
  /** What autoscalers go by: at once, and each five seconds in which it has changed, while somebody listens. */
  readonly demand: Stream.Stream<Demand.Demand>
  /** Takes no more jobs and places none; true when all that ran has ended within the time. */
  readonly drain: (timeout: Duration.Input) => Effect.Effect<boolean>
}
