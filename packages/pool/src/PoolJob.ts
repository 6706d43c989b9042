/** One job of a pool, as whoever submitted it holds it. */
import type * as EventBuffer from "@effect-comfyui/execution/EventBuffer"
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobError, JobEvent, JobSucceeded } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { JobProfile } from "@effect-comfyui/profiling/JobProfile"
import type * as Json from "@effect-comfyui/workflow/Json"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import type { JobEta } from "./Etas.ts"
import type * as Explanation from "./Explanation.ts"
import type * as Job from "./Job.ts"

/** A job in the pool. Dropping it, or interrupting what it gives, cancels nothing. */
export interface PoolJob<Metadata extends Json.Json = Json.Json> {
  readonly id: JobId
  /** As whoever has this handle gave it at `submit`; null without any. */
  readonly metadata: Metadata | null
  /** All events from the beginning, for any number of subscribers, now and later; they end with the job. */
  readonly events: (options?: Partial<EventBuffer.Options>) => Stream.Stream<JobEvent>
  /** Its success; whatever else it ends in is the failure. */
  readonly result: Effect.Effect<JobSucceeded, JobError>
  /** Ends it: at once while it waits, else with its run. */
  readonly cancel: Effect.Effect<void, PoolError>
  readonly status: Effect.Effect<Job.Status>
  /** Where it ran, and why there: an entry per attempt. */
  readonly why: Effect.Effect<ReadonlyArray<Readonly<Job.AttemptRecord>>>
  /** Every decision about it with its evidence, and while it waits why it is not placed now. */
  readonly explain: Effect.Effect<Explanation.Explanation>
  /** Where its time went so far; none without the option `profiles` of the pool, and of jobs of long ago. */
  readonly profile: Effect.Effect<Option.Option<JobProfile>>
  /** When it is thought to end, see `Profiles.eta`; none without the option. */
  readonly eta: Effect.Effect<Option.Option<JobEta>>
}
