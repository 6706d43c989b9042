/** What runs took on each server, told in the log now and then: rows over the profiles of the jobs that ended since. */
import type * as Pool from "@effect-comfyui/pool/Pool"
import * as ProfileSet from "@effect-comfyui/profiling/ProfileSet"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

const tell = (set: ProfileSet.State) =>
  Effect.forEach(
    ProfileSet.rows(set, "servers").rows,
    ([server, { failureRate, observed, p50Ms, p90Ms }]) =>
      Effect.annotateLogs(Effect.logInfo("runs of a server"), { server, runs: observed, p50Ms, p90Ms, failureRate }),
    { discard: true }
  )

/** Until the scope closes, of a pool that has profiles; a server without a run since the last time has no line. */
export const start = Effect.fnUntraced(function*(
  { profiles }: Pick<Pool.Shape, "profiles">,
  every: Duration.Input
): Effect.fn.Return<void, never, Scope.Scope> {
  let ended = ProfileSet.init()
  const listen = Stream.runForEach(profiles.finished, ({ attempts }) =>
    Effect.sync(() => {
      for (const { run } of attempts) ProfileSet.step(ended, { profile: run, workflow: "", tenant: null })
    }))
  const line = Effect.suspend(() => {
    const set = ended
    ended = ProfileSet.init()
    return tell(set)
  })
  yield* Effect.forkScoped(listen, { startImmediately: true })
  yield* Effect.forkScoped(Effect.forever(Effect.delay(line, every)))
})
