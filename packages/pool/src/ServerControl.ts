/** What the owner of a machine lets a pool do with it, beyond giving it jobs. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** A step of the owner: the call of a cloud, a command over SSH, a message to a person. */
export type Step<R = never> = Effect.Effect<void, { readonly message: string }, R>

/**
 * The hooks of one server, both optional. Each runs in the background of the pool, is interrupted when the pool closes, and
 * its failure is told as `ServerControlFailed`: nothing is tried twice.
 */
export interface ServerControl<R = never> {
  /**
   * Ends the server's process and starts a new one; done when that is under way. Called when its worker is stuck, its card
   * broken or its memory leaks, once nothing of ours runs there that is well: see `Restarts` for how often.
   */
  readonly restart?: Step<R>
  /**
   * Gives the machine back. Called once, after the server has left the pool: by `servers.remove`, at the end of its lease,
   * or gone after half an hour of silence. Not when the pool closes: the next one may want it.
   */
  readonly release?: Step<R>
}

/** What a step failed with: a sentence, also for one that died, or that took longer than `within`. */
export const call = (step: Step, within: Duration.Input): Effect.Effect<void, string> =>
  step.pipe(
    Effect.mapError(({ message }) => message),
    Effect.catchDefect((defect) => Effect.fail(`a defect: ${String(defect)}`)),
    Effect.timeoutOrElse({ duration: within, orElse: () => Effect.fail("took too long") })
  )
