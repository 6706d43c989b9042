/** The pool's model for some time: sequences of commands by chance, until the time is over or one is not as permitted. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { MinimumLogLevel } from "effect/References"
import * as fc from "fast-check"
import { type Sequence, sequences } from "../../../packages/pool/test/support/Model.ts"
import { play } from "../../../packages/pool/test/support/play.ts"

/** How many were played, and the first that went wrong. */
export interface Played {
  readonly count: number
  readonly wrong: ReadonlyArray<string>
  readonly sequence: Sequence | undefined
}

/** So many are made from one seed. */
const batch = 200

/** Plays them one after the other. */
export const playFor = (options: { readonly seconds: number; readonly seed: number }): Effect.Effect<Played> =>
  Effect.gen(function*() {
    const endsAt = (yield* Clock.currentTimeMillis) + options.seconds * 1_000
    let count = 0
    for (let seed = options.seed;; seed++) {
      for (const sequence of fc.sample(sequences, { numRuns: batch, seed })) {
        if ((yield* Clock.currentTimeMillis) >= endsAt) return { count, wrong: [], sequence: undefined }
        const wrong = yield* Effect.provideService(Effect.orDie(play(sequence)), MinimumLogLevel, "None")
        count++
        if (wrong.length > 0) return { count, wrong, sequence }
      }
    }
  })
