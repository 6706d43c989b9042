/** What one node did in one run: when it ran, how long, beside whom, and how fast it counted its steps. */
import * as Schema from "effect/Schema"

/**
 * How a node stands. `running`: it began and no end of it was seen; in the profile of a run that is over, it ran when the
 * run ended badly. `skipped`: nothing needed it, or the run ended before its turn; told only once the run is over, and only
 * where nothing was missed.
 */
export const NodeState = Schema.Literals(["running", "executed", "cached", "failed", "skipped"])
export type NodeState = typeof NodeState.Type

/**
 * Steps of a node in its own unit: the latest `value` of `max`, and the sum over all its passes. `stepsPerSecond` leaves out
 * the time before the first step of a pass, in which models are loaded; null with fewer than two readings of a pass.
 */
export const Steps = Schema.Struct({
  value: Schema.Finite,
  max: Schema.Finite,
  steps: Schema.Finite,
  stepsPerSecond: Schema.NullOr(Schema.Finite)
})
export type Steps = typeof Steps.Type

/** Node ids of a run that are told apart, beside those of its workflow: a server may make up any number. */
export const maxNodes = 20_000

/** At most so many neighbours of a node are named. */
export const maxParallel = 32

/**
 * One node of a run. Times are milliseconds on the run's monotonic clock, 0 at the submission (or attach).
 *
 * - `startMs`, `endMs`: the first start and the last end; null where it had none, where that was not seen,
 *   and the end while it runs.
 * - `durationMs`: the time between starts and ends, all executions together; 0 for cached and skipped nodes, null where it
 *   ran unseen. A node that expanded includes what it expanded into.
 * - `exclusiveMs`: its part of the wall time, every instant split evenly between the nodes that run in it. A node that waits
 *   for what it expanded into has no part. `share` is that part of the execution time, 0 to 1.
 * - `executions`: how often it began: above 1 in loops.
 * - `parallelWith`: ids of nodes that ran at the same time, the first 32.
 * - `inferred`: a time of it was not seen, and stands for one by the next thing that was.
 */
export const NodeProfile = Schema.Struct({
  nodeId: Schema.String,
  displayId: Schema.String,
  parentId: Schema.NullOr(Schema.String),
  classType: Schema.NullOr(Schema.String),
  title: Schema.NullOr(Schema.String),
  state: NodeState,
  executions: Schema.Int,
  startMs: Schema.NullOr(Schema.Finite),
  endMs: Schema.NullOr(Schema.Finite),
  durationMs: Schema.NullOr(Schema.Finite),
  exclusiveMs: Schema.Finite,
  share: Schema.Finite,
  progress: Schema.NullOr(Steps),
  parallelWith: Schema.Array(Schema.String),
  inferred: Schema.Boolean
})
export type NodeProfile = typeof NodeProfile.Type
