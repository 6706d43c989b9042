/** What runs took on each server, told in the log now and then: a fold of the pool's events. */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type * as Pool from "@effect-comfyui/pool/Pool"
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import * as Profile from "@effect-comfyui/profiling/Profile"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

/** Runs that are followed at once; of more the one that began first is left out. */
export const maxOpen = 4_096

/** Open runs by their job, and what ended since the last line. */
export interface State {
  readonly open: Map<JobId, Profile.State>
  ended: ProfileSet.State
}

export const init = (): State => ({ open: new Map(), ended: ProfileSet.init() })

const follow = (state: State, jobId: JobId): Profile.State => {
  const known = state.open.get(jobId)
  if (known !== undefined) return known
  const fresh = Profile.init()
  state.open.set(jobId, fresh)
  for (const oldest of state.open.keys()) {
    if (state.open.size <= maxOpen) break
    state.open.delete(oldest)
  }
  return fresh
}

/** Owned by its driver; updates it in place. */
export const step = (state: State, event: PoolEvent): State => {
  switch (event._tag) {
    case "Attempt":
      Profile.step(follow(state, event.jobId), event.event)
      return state
    case "AttemptEnded": {
      const run = state.open.get(event.jobId)
      if (run === undefined) return state
      state.open.delete(event.jobId)
      const profile = Profile.snapshot(Profile.conclude(run, event.ending))
      ProfileSet.step(state.ended, { profile, workflow: "", tenant: null })
      return state
    }
    default:
      return state
  }
}

/** What a line says of one server: runs since the line before, times in milliseconds, shares from 0 to 1. */
export const lines = ({ ended }: State): ReadonlyMap<string, ProfileSet.Row> => ProfileSet.rows(ended, "servers").rows

const tell = (state: State) =>
  Effect.suspend(() => {
    const rows = [...lines(state)]
    state.ended = ProfileSet.init()
    return Effect.forEach(rows, ([server, { failureRate, observed, p50Ms, p90Ms }]) =>
      Effect.annotateLogs(Effect.logInfo("runs of a server"), {
        server,
        runs: observed,
        p50Ms,
        p90Ms,
        failureRate
      }), { discard: true })
  })

/** Until the scope closes; a server without a run since the last time has no line. */
export const start = Effect.fnUntraced(function*(
  pool: Pool.Shape,
  every: Duration.Input
): Effect.fn.Return<void, never, Scope.Scope> {
  const state = init()
  const listen = Stream.runForEach(Stream.chunks(pool.events), (events) =>
    Effect.sync(() => {
      for (const event of events) step(state, event)
    }))
  yield* Effect.forkScoped(listen, { startImmediately: true })
  yield* Effect.forkScoped(Effect.forever(Effect.delay(tell(state), every)))
})
