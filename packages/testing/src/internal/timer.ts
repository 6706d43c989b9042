// One wake at a time, on Effect's Clock.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberHandle from "effect/FiberHandle"
import type * as Scope from "effect/Scope"

/** Calls `fire` after so many milliseconds, unless called again before; ends with its scope. */
export const make: Effect.Effect<(ms: number, fire: () => void) => void, never, Scope.Scope> = Effect.map(
  FiberHandle.makeRuntime<never>(),
  (run) => (ms, fire) => {
    // Rounded up to what a clock can tell: a sleep of nothing would fire before the handle knows of it, and what that
    // arms would be taken for its predecessor.
    const sleep = Duration.millis(Math.max(1, Math.ceil(ms * 1_000_000)) / 1_000_000)
    run(Effect.andThen(Effect.sleep(sleep), Effect.sync(fire)))
  }
)
