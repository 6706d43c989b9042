/**
 * What happens to one run, as plain objects: any number of lifecycle, progress and preview events, then one ending.
 * The stream of a run never fails; how it went is the ending. Schemas act where events cross a process.
 */
import * as Schema from "effect/Schema"
import { ExecutionError } from "./ExecutionError.ts"
import { BackendId, RunId } from "./Ids.ts"
import { NodeOutput, Outputs } from "./Outputs.ts"

/**
 * On every event. `sequence` counts lifecycle events of the run from 0 without holes; progress, texts and previews carry
 * that of the lifecycle event before them (−1 if none came). `at` is wall time in epoch milliseconds, `elapsed`
 * monotonic milliseconds since submit (or attach).
 */
const common = {
  runId: RunId,
  backend: BackendId,
  sequence: Schema.Int,
  at: Schema.Finite,
  elapsed: Schema.Finite
}

/**
 * How an ending was learnt: `socket`, the frames of one connection that was whole since before the POST; `http`, the
 * server was asked; `client`, decided here (a refusal, a closed scope, a limit).
 */
export const Via = Schema.Literals(["socket", "http", "client"])
export type Via = typeof Via.Type

/** A seed of −1 that became a number: which input of which node, and the number sent. */
export const ChosenSeed = Schema.Struct({
  nodeId: Schema.String,
  inputName: Schema.String,
  value: Schema.BigIntFromString
})
export type ChosenSeed = typeof ChosenSeed.Type

/** The server took the prompt. `promptId` is its name for the run, `number` its place in the queue order. */
export const Submitted = Schema.TaggedStruct("Submitted", {
  ...common,
  promptId: Schema.String,
  number: Schema.NullOr(Schema.Finite),
  seeds: Schema.Array(ChosenSeed)
})

/** The worker took the prompt out of its queue. `serverAt` is the server's clock, epoch milliseconds. */
export const Started = Schema.TaggedStruct("Started", { ...common, serverAt: Schema.NullOr(Schema.Finite) })

/** Nodes whose results the server still had; output nodes among them replay their outputs. */
export const NodesCached = Schema.TaggedStruct("NodesCached", { ...common, nodeIds: Schema.Array(Schema.String) })

/**
 * A node began. `displayId` is the node of the prompt to show it under (expanded nodes have ids of their own). The same
 * node may begin several times (loops, lazy inputs), and several may run at once.
 */
export const NodeStarted = Schema.TaggedStruct("NodeStarted", {
  ...common,
  nodeId: Schema.String,
  displayId: Schema.String,
  parentId: Schema.NullOr(Schema.String),
  classType: Schema.NullOr(Schema.String)
})

/** Steps of a node: `value` of `max`, in the node's own unit. */
export const NodeProgress = Schema.TaggedStruct("NodeProgress", {
  ...common,
  nodeId: Schema.String,
  displayId: Schema.String,
  value: Schema.Finite,
  max: Schema.Finite
})

/** A text of a node while it runs: seconds of a remote task, the address of a result, or plain words. */
export const NodeText = Schema.TaggedStruct("NodeText", {
  ...common,
  nodeId: Schema.String,
  kind: Schema.Literals(["progress", "result", "message"]),
  text: Schema.String,
  seconds: Schema.NullOr(Schema.Finite),
  url: Schema.NullOr(Schema.String)
})

/** A picture while a node runs: encoded bytes as they came, a view and no copy. `nodeId` is null where no frame said it. */
export const Preview = Schema.TaggedStruct("Preview", {
  ...common,
  nodeId: Schema.NullOr(Schema.String),
  displayId: Schema.NullOr(Schema.String),
  format: Schema.Literals(["image/jpeg", "image/png"]),
  image: Schema.Uint8ArrayFromBase64
})

/** An output node gave its record; `cached`: replayed, no new file was written. */
export const NodeOutputEvent = Schema.TaggedStruct("NodeOutput", {
  ...common,
  nodeId: Schema.String,
  displayId: Schema.String,
  cached: Schema.Boolean,
  output: Schema.NullOr(NodeOutput)
})

/** A node ended. A node that ran when the run ended badly has no such event. */
export const NodeFinished = Schema.TaggedStruct("NodeFinished", {
  ...common,
  nodeId: Schema.String,
  displayId: Schema.String
})

/** Something the caller should know that does not end the run. `code` is one of a small open set. */
export const Warning = Schema.TaggedStruct("Warning", {
  ...common,
  code: Schema.String,
  message: Schema.String,
  nodeIds: Schema.Array(Schema.String)
})

/**
 * Events were missed. `socket`: the connection was not whole, how many is unknown (the counts are 0); `consumer`: this
 * subscriber was slow and so many were dropped for it alone; `attached`: the run began before we looked.
 */
export const Gap = Schema.TaggedStruct("Gap", {
  ...common,
  cause: Schema.Literals(["socket", "consumer", "attached"]),
  lifecycle: Schema.Int,
  progress: Schema.Int,
  previews: Schema.Int
})

/** How often the server may have executed the prompt; `atMost` is above 1 only where a loss cannot be told. */
export const Executions = Schema.Struct({ atLeast: Schema.Int, atMost: Schema.Int })
export type Executions = typeof Executions.Type

/** Ending: the run succeeded. Files named here exist from now on for `/view`, unless somebody deletes them. */
export const Completed = Schema.TaggedStruct("Completed", {
  ...common,
  via: Via,
  outputs: Outputs,
  executions: Executions
})

/** Ending: the run did not succeed. */
export const Failed = Schema.TaggedStruct("Failed", { ...common, via: Via, error: ExecutionError })

/** Ending: the run was cancelled, by us or by somebody else. */
export const Cancelled = Schema.TaggedStruct("Cancelled", {
  ...common,
  via: Via,
  by: Schema.Literals(["us", "elsewhere"])
})

/** The last event of every run, exactly once. */
export const Ending = Schema.Union([Completed, Failed, Cancelled])

/** Everything that can happen to one run. */
export const ExecutionEvent = Schema.Union([
  Submitted,
  Started,
  NodesCached,
  NodeStarted,
  NodeProgress,
  NodeText,
  Preview,
  NodeOutputEvent,
  NodeFinished,
  Warning,
  Gap,
  Completed,
  Failed,
  Cancelled
])

export type Submitted = typeof Submitted.Type
export type Started = typeof Started.Type
export type NodesCached = typeof NodesCached.Type
export type NodeStarted = typeof NodeStarted.Type
export type NodeProgress = typeof NodeProgress.Type
export type NodeText = typeof NodeText.Type
export type Preview = typeof Preview.Type
export type NodeOutputEvent = typeof NodeOutputEvent.Type
export type NodeFinished = typeof NodeFinished.Type
export type Warning = typeof Warning.Type
export type Gap = typeof Gap.Type
export type Completed = typeof Completed.Type
export type Failed = typeof Failed.Type
export type Cancelled = typeof Cancelled.Type
export type Ending = typeof Ending.Type
export type ExecutionEvent = typeof ExecutionEvent.Type

/** Whether this event ends its run. */
export const isEnding = (event: ExecutionEvent): event is Ending =>
  event._tag === "Completed" || event._tag === "Failed" || event._tag === "Cancelled"

/** Whether this event may be conflated: progress, texts and previews; all others are lifecycle. */
export const isTransient = (event: ExecutionEvent): event is NodeProgress | NodeText | Preview =>
  event._tag === "NodeProgress" || event._tag === "Preview" || event._tag === "NodeText"
