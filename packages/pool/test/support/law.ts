// What the model-based tests hold: two files, so that they run beside each other.
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { sequences } from "./Model.ts"
import { play } from "./play.ts"

/** Two thousand in all, unless somebody wants more. */
const numRuns = Number(process.env["POOL_SEQUENCES"] ?? 2_000) / 2

/** The same ones each time: a change is judged by what it changes. Others are found with another seed, and by the soak. */
const seed = Number(process.env["POOL_SEED"] ?? 1)

export const holds = (half: 0 | 1): void =>
  it("any sequence of commands ends every job once, as the model permits", { timeout: 300_000 }, () =>
    fc.assert(
      fc.asyncProperty(sequences, (sequence) =>
        Effect.runPromise(Effect.map(play(sequence), (wrong) => assert.deepStrictEqual(wrong, [])))),
      { numRuns, timeout: 20_000, seed: 2 * seed + half }
    ))
