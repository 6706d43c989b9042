// Graphs that the fake server runs.
import * as Workflow from "@effect-comfyui/workflow/Workflow"

/** A graph from literal nodes, not looked at. */
export const graph = (nodes: Readonly<Record<string, Workflow.Node>>): Workflow.Workflow => Workflow.fromNodes(nodes)

/** One picture of one colour, shown: runs in no time. */
export const picture = (color = 1): Workflow.Workflow =>
  graph({
    "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color } },
    "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
  })

/** Counts to `count`, a step each `milliseconds`. */
export const steps = (count: number, milliseconds: number, preview = false): Workflow.Workflow =>
  graph({ "1": { class_type: "FakeSteps", inputs: { count, milliseconds, preview } } })

/** Sleeps and says nothing. */
export const sleep = (seconds: number, watches = true): Workflow.Workflow =>
  graph({ "1": { class_type: "FakeSleep", inputs: { seconds, watches } } })

/** Raises. */
export const raise = (type = "ValueError", message = "it does not fit"): Workflow.Workflow =>
  graph({ "1": { class_type: "FakeRaise", inputs: { type, message } } })

/** One node without inputs. */
export const alone = (classType: string): Workflow.Workflow => graph({ "1": { class_type: classType, inputs: {} } })
