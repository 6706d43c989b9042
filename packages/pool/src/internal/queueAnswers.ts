// What every layer of the queue answers alike.
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Effect from "effect/Effect"
import type { JobState } from "../JobQueue.ts"

export const fail = (reason: PoolError["reason"]): Effect.Effect<never, PoolError> =>
  Effect.fail(new PoolError({ reason }))

export const lost = (jobId: JobId, token: number): Effect.Effect<never, PoolError> =>
  fail({ _tag: "LeaseLost", jobId, token })

export const stateOfEnding = (ending: JobEnding): JobState => {
  switch (ending._tag) {
    case "JobSucceeded":
      return "succeeded"
    case "JobFailed":
      return "failed"
    case "JobCancelled":
      return "cancelled"
    case "DeadLettered":
      return "dead"
  }
}
