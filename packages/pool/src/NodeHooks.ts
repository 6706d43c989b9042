/** What nodes do, as streams to hang things on: each that begins, and those that take longer than they should. */
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as ClassEstimates from "@effect-comfyui/profiling/ClassEstimates"
import type * as Estimates from "@effect-comfyui/profiling/Estimates"
import * as SlowNodes from "@effect-comfyui/profiling/SlowNodes"
import { node as nodeOf, titleOf, type Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import type { PoolEvent } from "./PoolEvent.ts"

/**
 * A node began. `displayId`: the node of the prompt that it is shown under, whose title it is. `expectedMs`: what its class
 * is known to take on that server, else on all, warm; null where nobody knows. `at`: epoch milliseconds.
 */
export const NodeBegan = Schema.Struct({
  jobId: JobId,
  server: Schema.NullOr(BackendId),
  nodeId: Schema.String,
  displayId: Schema.String,
  classType: Schema.NullOr(Schema.String),
  title: Schema.NullOr(Schema.String),
  at: Schema.Finite,
  expectedMs: Schema.NullOr(Schema.Finite)
})
export type NodeBegan = typeof NodeBegan.Type

/** `workflowOf`: the graph of an open job, as far as it is known. */
export const starts = (
  events: Stream.Stream<PoolEvent>,
  { classes }: Estimates.State,
  workflowOf: (id: JobId) => Workflow | undefined
): Stream.Stream<NodeBegan> => {
  const began = (event: PoolEvent): ReadonlyArray<NodeBegan> => {
    if (event._tag !== "Attempt" || event.event._tag !== "NodeStarted") return []
    const { at, backend: server, classType, displayId, nodeId } = event.event
    const workflow = workflowOf(event.jobId)
    return [{
      jobId: event.jobId,
      server,
      nodeId,
      displayId,
      classType,
      title: workflow === undefined ? null : titleOf(nodeOf(workflow, displayId)),
      at,
      expectedMs: ClassEstimates.nearest(classes, server, classType, 1)?.warmMs ?? null
    }]
  }
  return Stream.flattenIterable(Stream.map(events, began))
}

/** Those over their limit, each once: looked for each second. */
export const slow = (
  events: Stream.Stream<PoolEvent>,
  { classes }: Estimates.State,
  options?: Partial<SlowNodes.Options>
): Stream.Stream<SlowNodes.SlowNode> =>
  Stream.unwrap(Effect.clockWith((clock) =>
    Effect.sync(() => {
      const state = SlowNodes.init(options)
      const now = () => readTime(clock).now
      const heard = Stream.map(
        events,
        (event) => "sequence" in event ? SlowNodes.step(state, classes, event, now()) : []
      )
      const due = Stream.fromEffectSchedule(
        Effect.sync(() => SlowNodes.due(state, now())),
        Schedule.spaced(Defaults.profiles.slow)
      )
      return Stream.flattenIterable(Stream.merge(heard, due))
    })
  ))
