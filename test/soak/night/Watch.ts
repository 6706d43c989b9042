/** What is seen of one job, from its events; for each attempt also whether its server's process lived all the while. */
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import type { BackendId, RunId } from "@effect-comfyui/execution/Ids"
import { isJobEnding, type JobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import type { PoolJob } from "@effect-comfyui/pool/Pool"
import type { FakeServer } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** One attempt. Times are epoch milliseconds. */
export interface SeenAttempt {
  readonly server: BackendId
  readonly placedAt: number
  readonly warm: boolean
  /** Processes of the server so far when it was placed there. */
  readonly boots: number
  runId: RunId | undefined
  /** Its first node began. */
  beganAt: number | undefined
  endedAt: number | undefined
  /** `Completed`, `Cancelled`, or the reason of its failure; undefined while it is open. */
  ending: string | undefined
  /** Neither the process nor its worker died under it; of an attempt that completed nobody asks. */
  serverLived: boolean
}

/** One job. */
export interface SeenJob {
  readonly name: string
  readonly isVideo: boolean
  readonly isPaid: boolean
  readonly tenant: string
  readonly job: PoolJob
  queuedAt: number
  readonly attempts: Array<SeenAttempt>
  readonly endings: Array<JobEnding>
  /** Its events are over. */
  isOver: boolean
  /** Places in its events that do not follow each other. */
  holes: number
}

const nameOf = (ending: Extract<ExecutionEvent, { readonly _tag: "Completed" | "Failed" | "Cancelled" }>): string =>
  ending._tag === "Failed" ? ending.error.reason._tag : `${ending._tag}${ending._tag === "Cancelled" ? ending.by : ""}`

const transient: ReadonlySet<string> = new Set(["NodeProgress", "Preview", "NodeText"])

/** Follows a job to its end. `serverOf`: the fakes, for the question whether they live. */
export const follow = (seen: SeenJob, serverOf: (id: BackendId) => FakeServer): Effect.Effect<void> => {
  let sequence = -1
  const place = (event: JobEvent): void => {
    const passes = event._tag === "Attempt" && transient.has(event.event._tag)
    if (!passes) sequence++
    if (event.sequence !== sequence) seen.holes++
  }
  const take = Effect.fnUntraced(function*(event: JobEvent) {
    place(event)
    const last = seen.attempts.at(-1)
    switch (event._tag) {
      case "Queued":
        seen.queuedAt = event.at
        return
      case "Placed": {
        const { boots } = yield* serverOf(event.server).snapshot
        seen.attempts.push({
          server: event.server,
          placedAt: event.at,
          warm: event.why["warm"] === true,
          boots,
          runId: undefined,
          beganAt: undefined,
          endedAt: undefined,
          ending: undefined,
          serverLived: true
        })
        return
      }
      case "Attempt":
        if (last === undefined) return
        last.runId ??= event.event.runId
        if (event.event._tag === "NodeStarted") last.beganAt ??= event.at
        return
      case "AttemptEnded": {
        if (last === undefined) return
        last.endedAt = event.at
        last.runId ??= event.ending.runId
        last.ending = nameOf(event.ending)
        if (event.ending._tag === "Completed") return
        const { boots, up, workerAlive } = yield* serverOf(last.server).snapshot
        last.serverLived = boots === last.boots && up && workerAlive
        return
      }
      default:
        if (isJobEnding(event)) seen.endings.push(event)
    }
  })
  return Effect.ensuring(
    Stream.runForEach(seen.job.events({ previews: "none" }), take),
    Effect.sync(() => {
      seen.isOver = true
    })
  )
}
