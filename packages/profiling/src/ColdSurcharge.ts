/** What a cold start is thought to cost, beside warm runs of the same workflow. An estimate: no server tells its load times. */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Schema from "effect/Schema"
import * as Estimates from "./Estimates.ts"

/** `value`: cold minus warm in milliseconds, never negative. `samples`: of the rarer kind behind it, cold or warm. */
export const ColdSurcharge = Schema.Struct({ value: Schema.Finite, samples: Schema.Int })
export type ColdSurcharge = typeof ColdSurcharge.Type

/**
 * The surcharge of this key on this server, as learnt so far; null where no cold or no warm run of the key has finished, on
 * this server or another. It says what a cold run costs more on the average, never what this one spent on loading.
 */
export const estimate = (state: Estimates.State, server: BackendId, key: AffinityKey): ColdSurcharge | null => {
  const { surchargeMs, surchargeSamples } = Estimates.estimate(state, server, key)
  return surchargeSamples === 0 ? null : { value: surchargeMs, samples: surchargeSamples }
}
