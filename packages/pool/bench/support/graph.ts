// The graph of these benches: fifty nodes and 24 KB, as a plain text-to-image graph with some extras has them.
import * as Edit from "@effect-comfyui/workflow/Edit"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Result from "effect/Result"

const nodes = 50
const text = "a lighthouse on a cliff above a stormy sea, volumetric light, highly detailed, ".repeat(4)

const node = (i: number): Workflow.Node => ({
  class_type: i === nodes ? "Bench" : "BenchText",
  inputs: {
    seed: i,
    steps: 20,
    cfg: 7.5,
    sampler_name: "euler",
    text: `${text}${i}`,
    ...i === 1 ? {} : { source: [`${i - 1}`, 0] }
  },
  _meta: { title: `Node ${i}` }
})

/** Its last node is the one output. Read from text, as graphs are that come out of a file. */
export const graph: Workflow.Workflow = Result.getOrThrow(Workflow.fromJson(JSON.stringify(
  Object.fromEntries(Array.from({ length: nodes }, (_, i) => [`${i + 1}`, node(i + 1)]))
)))

/** The same with another seed in one node, as users make many jobs of one graph. */
export const seeded = (seed: number): Workflow.Workflow => Result.getOrThrow(Edit.setInput(graph, "1", "seed", seed))
