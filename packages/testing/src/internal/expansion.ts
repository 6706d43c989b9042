// Nodes that put others in their place: their calls are remembered, and resolved once those others have run.
import type { NodeClass } from "../NodeClass.ts"
import type { End } from "../Plan.ts"
import { Held, hold } from "./dynPrompt.ts"
import type { Call, Execution } from "./execution.ts"
import type { PyError } from "./pyText.ts"
import { asLink } from "./signature.ts"
import { typed } from "./values.ts"

/** Outputs of an expanding call: a link where a node of the expansion will give them, the typed value otherwise. */
export const expandedCall = (
  node: NodeClass,
  end: Extract<End, { readonly _tag: "Expand" }>,
  prefix: string
): Call =>
  node.outputs.map((output, slot) => {
    const given = end.outputs[slot]
    const held = hold(given, prefix)
    return asLink(held) === undefined ? typed(output.type, output.list === true, given) : new Held(held)
  })

const linkOf = (value: unknown): readonly [id: string, slot: number] | undefined =>
  value instanceof Held && Array.isArray(value.value) ? asLink(value.value) : undefined

/** Makes a node wait for those that its calls name. */
export const awaitCalls = (execution: Execution, id: string, calls: ReadonlyArray<Call>): PyError | undefined => {
  for (const call of calls) {
    for (const value of call) {
      const link = linkOf(value)
      const error = link === undefined ? undefined : execution.follow(link[0], id)
      if (error !== undefined) return error
    }
  }
  execution.expansions.set(id, calls)
  return undefined
}

/** One list per output, of all calls; what a node gave as a list stands in the place of its link. */
export const joinCalls = (
  execution: Execution,
  node: NodeClass,
  calls: ReadonlyArray<Call>
): ReadonlyArray<ReadonlyArray<unknown>> => {
  const outputs: Array<Array<unknown>> = node.outputs.map(() => [])
  for (const call of calls) {
    const values = call.flatMap((value) => {
      const link = linkOf(value)
      return link === undefined ? [value] : execution.resultOf(link[0])?.outputs[link[1]] ?? [null]
    })
    outputs.forEach((list, slot) => {
      const value = values[slot] ?? null
      if (node.outputs[slot]?.list === true && Array.isArray(value)) list.push(...value)
      else list.push(value)
    })
  }
  return outputs
}
