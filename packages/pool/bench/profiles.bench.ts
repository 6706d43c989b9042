// @effect-diagnostics asyncFunction:off
// What a pool pays that is asked where time goes: profiles, progress and times left of every job.
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import { beside, connect } from "./support/pooled.ts"
import { serve } from "./support/start.ts"

/** One pool that is asked for profiles, and one that is not. */
const asked = (gapMs: number, count: number) => async () => {
  const { close: stop, urls } = await serve(8, gapMs)
  const sides = beside(count, await connect(urls, {}, layerMemory, { profiles: true }), await connect(urls))
  return { ...sides, close: () => sides.close().then(stop) }
}

const common = { noise: "wide", measure: "rate", unit: "jobs/s" }

export const cases = [
  { name: "pool-profiles", goal: { min: 0.95 }, ...common, rounds: 7, prepare: asked(20, 1_000) },
  { name: "pool-profiles-0", goal: { min: 0 }, ...common, rounds: 11, prepare: asked(0, 1_000) }
]
