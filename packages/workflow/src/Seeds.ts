/** Seeds of −1 become random numbers when a prompt is sent, and the numbers are told. */
import { keepNumberTexts } from "./internal/numberText.ts"
import type { Node, NodeId, Workflow } from "./Workflow.ts"

/** A seed that was chosen: the input of the node, and an unsigned 64-bit number. */
export interface Chosen {
  readonly nodeId: NodeId
  readonly inputName: string
  readonly value: bigint
}

/** Inputs that ComfyUI's samplers and noise nodes take their seeds from. */
const seedNames: ReadonlySet<string> = new Set(["seed", "noise_seed"])

const words = 2 ** 32

const uint64 = (random: () => number): bigint =>
  BigInt(Math.floor(random() * words)) * BigInt(words) + BigInt(Math.floor(random() * words))

/**
 * Replaces each seed of −1 by a number from 0 to 2^64 − 1. `random` gives numbers from 0 up to but not including 1. A
 * workflow without such a seed comes back as it is.
 */
export const resolve = (
  workflow: Workflow,
  random: () => number
): { readonly workflow: Workflow; readonly chosen: ReadonlyArray<Chosen> } => {
  const chosen: Array<Chosen> = []
  const nodes = Object.entries(workflow.nodes).map(([nodeId, node]): readonly [NodeId, Node] => {
    const seeds = Object.entries(node.inputs)
      .filter(([name, value]) => seedNames.has(name) && value === -1)
      .map(([inputName]): Chosen => ({ nodeId, inputName, value: uint64(random) }))
    if (seeds.length === 0) return [nodeId, node]
    chosen.push(...seeds)
    const drawn = Object.fromEntries(seeds.map(({ inputName, value }) => [inputName, value]))
    return [nodeId, { ...node, inputs: keepNumberTexts(node.inputs, { ...node.inputs, ...drawn }) }]
  })
  return chosen.length === 0
    ? { workflow, chosen }
    : { workflow: { ...workflow, nodes: Object.fromEntries(nodes) }, chosen }
}
