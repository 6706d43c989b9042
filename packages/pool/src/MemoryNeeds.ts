/**
 * How large a card must be for a workflow at a size, learnt where it ran out of memory. A fold: times are monotonic
 * milliseconds, sizes bytes.
 */
import type * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"

/** What was learnt of one key at one size. */
interface Learnt {
  /** It needs more than this. */
  readonly moreThan: number
  readonly at: number
}

/** Owned and updated in place by its driver; what was learnt longest ago is forgotten beyond the cap. */
export interface State {
  readonly learnt: Map<string, Learnt>
}

export type Input =
  | { readonly _tag: "RanOut"; readonly key: AffinityKey; readonly sizeClass: number; readonly vramBytes: number }
  | { readonly _tag: "Fitted"; readonly key: AffinityKey; readonly sizeClass: number; readonly vramBytes: number }

export const init = (): State => ({ learnt: new Map() })

const ageMs = Duration.toMillis(Defaults.memoryNeeds.age)

const nameOf = (key: AffinityKey, sizeClass: number): string => `${sizeClass} ${key}`

/** Takes what a run has shown. One that fits a card proves wrong what was learnt on one as large. */
export const step = (state: State, { _tag, key, sizeClass, vramBytes }: Input, now: number): State => {
  const { learnt } = state
  const name = nameOf(key, sizeClass)
  const known = learnt.get(name)
  if (_tag === "Fitted") {
    if (known !== undefined && vramBytes <= known.moreThan) learnt.delete(name)
    return state
  }
  const moreThan = Math.max(vramBytes, known !== undefined && now - known.at < ageMs ? known.moreThan : 0)
  learnt.delete(name)
  learnt.set(name, { moreThan, at: now })
  const oldest = learnt.size > Defaults.memoryNeeds.cap ? learnt.keys().next().value : undefined
  if (oldest !== undefined) learnt.delete(oldest)
  return state
}

/** A card must be larger than this for it; null: nothing is known. */
export const moreThan = (state: State, key: AffinityKey, sizeClass: number, now: number): number | null => {
  if (state.learnt.size === 0) return null
  const known = state.learnt.get(nameOf(key, sizeClass))
  return known === undefined || now - known.at >= ageMs ? null : known.moreThan
}

const numberOf = (inputs: Workflow.Node["inputs"], ...names: ReadonlyArray<string>): number => {
  for (const name of names) {
    const value = inputs[name]
    const number = typeof value === "bigint" ? Number(value) : value
    if (typeof number === "number" && number >= 1 && Number.isFinite(number)) return number
  }
  return 1
}

/** Powers of two of the pixels times frames times pictures that the largest node of the graph asks for; 0 where none does. */
export const sizeClassOf = ({ nodes }: Workflow.Workflow): number => {
  let most = 1
  for (const { inputs } of Object.values(nodes)) {
    const pixels = numberOf(inputs, "width") * numberOf(inputs, "height")
    if (pixels === 1) continue
    most = Math.max(most, pixels * numberOf(inputs, "batch_size") * numberOf(inputs, "length", "num_frames", "frames"))
  }
  return Math.round(Math.log2(most))
}
