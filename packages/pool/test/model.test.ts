import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { sequences } from "./support/Model.ts"
import { play } from "./support/play.ts"

const numRuns = Number(process.env["POOL_SEQUENCES"] ?? 1_000)
/** The same ones each time: a change is judged by what it changes. Others are found with another seed, and by the soak. */
const seed = Number(process.env["POOL_SEED"] ?? 1)

it("any sequence of commands ends every job once, as the model permits", { timeout: 300_000 }, () =>
  fc.assert(
    fc.asyncProperty(sequences, (sequence) =>
      Effect.runPromise(Effect.map(play(sequence), (wrong) => assert.deepStrictEqual(wrong, [])))),
    { numRuns, timeout: 20_000, seed }
  ))
