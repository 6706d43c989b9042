// @effect-diagnostics asyncFunction:off
// What a pool pays that is asked where time goes: profiles, progress and times left of every job.
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { connect, runAll } from "./support/pooled.ts"
import { serve } from "./support/start.ts"

/** The same jobs on the same eight servers, one pool after the other. */
const beside = (gapMs: number, count: number) => async () => {
  const { close: stop, urls } = await serve(8, gapMs)
  const [asked, other] = [await connect(urls, {}, layerMemory, { profiles: true }), await connect(urls)]
  let seed = 0
  const workflow = () => Workflow.fromNodes({ "12": { class_type: "Bench", inputs: { seed: ++seed } } })
  const side = ({ pool }: Pick<typeof asked, "pool">) => async () => {
    await runAll(pool, Array.from({ length: count }, workflow))
    return count
  }
  return {
    ours: side(asked),
    reference: side(other),
    close: async () => {
      await asked.close()
      await other.close()
      stop()
    }
  }
}

const common = { noise: "wide", measure: "rate", unit: "jobs/s" }

export const cases = [
  { name: "pool-profiles", goal: { min: 0.95 }, ...common, rounds: 7, prepare: beside(20, 1_000) },
  { name: "pool-profiles-0", goal: { min: 0 }, ...common, rounds: 11, prepare: beside(0, 1_000) }
]
