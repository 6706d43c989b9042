// @effect-diagnostics asyncFunction:off newPromise:off
// Whole runs, one after another, against a program that posts and listens by itself.
import * as Ours from "./support/ours.ts"
import * as Raw from "./support/raw.ts"
import { serve } from "./support/spawn.ts"

/** A run that hangs would hang the bench: every round that comes to its end hung 0. */
const sequential = (mode: string, count: number, by: "fetch" | "undici") => async () => {
  const server = await serve(mode)
  const [ours, raw] = [await Ours.connect(server.url), await Raw.connect(server.url, by)]
  return {
    ours: async () => {
      await Ours.runs(ours.client, count)
      return count
    },
    reference: async () => {
      for (let i = 0; i < count; i++) await raw.run()
      return count
    },
    close: async () => {
      await ours.close()
      raw.close()
      server.close()
    }
  }
}

const common = { noise: "close", measure: "rate", unit: "runs/s" }

export const cases = [
  {
    name: "runs-gap-0",
    goal: { min: 0.9 },
    ...common,
    noise: "wide",
    rounds: 11,
    prepare: sequential("gap-0", 1_000, "fetch")
  },
  {
    name: "runs-gap-0-undici",
    goal: { min: 0 },
    ...common,
    noise: "wide",
    prepare: sequential("gap-0", 1_000, "undici")
  },
  { name: "runs-gap-20", goal: { min: 0.95 }, ...common, prepare: sequential("gap-20", 50, "fetch") }
]
