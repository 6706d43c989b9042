/** Everything that happens in a pool, for logs, dashboards and metrics: what its jobs do, and what its servers do. */
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as Schema from "effect/Schema"

/** On every event of a server: `at` is wall time in epoch milliseconds. */
const common = { server: BackendId, at: Schema.Finite }

/** A server became a member; it may not be reachable yet. */
export const ServerAdded = Schema.TaggedStruct("ServerAdded", { ...common, tags: Schema.Array(Schema.String) })
/** Somebody changed what is said of it. */
export const ServerUpdated = Schema.TaggedStruct("ServerUpdated", {
  ...common,
  tags: Schema.Array(Schema.String),
  weight: Schema.Finite
})
/** It is no member any more: nothing of this pool runs there. */
export const ServerRemoved = Schema.TaggedStruct("ServerRemoved", common)
/** Its events reach us. `epoch` counts the processes seen at this address. */
export const ServerConnected = Schema.TaggedStruct("ServerConnected", { ...common, epoch: Schema.Int })
/** They do not any more. `kind`: one word for it, such as `Deaf`: the socket was open, and what was due did not come. */
export const ServerDisconnected = Schema.TaggedStruct("ServerDisconnected", {
  ...common,
  kind: Schema.String,
  reason: Schema.String
})
/** Another process answers at its address: queue, history and memory are gone. */
export const ServerRestarted = Schema.TaggedStruct("ServerRestarted", { ...common, epoch: Schema.Int })
/** It answers no probe, or does so again. */
export const ServerHealth = Schema.TaggedStruct("ServerHealth", {
  ...common,
  healthy: Schema.Boolean,
  cause: Schema.String
})
/**
 * It gets no more jobs, or none of this affinity key, until `until` (epoch milliseconds); then one job is its trial.
 */
export const ServerBlocked = Schema.TaggedStruct("ServerBlocked", {
  ...common,
  key: Schema.NullOr(Schema.String),
  until: Schema.Finite,
  cause: Schema.String
})
export const ServerUnblocked = Schema.TaggedStruct("ServerUnblocked", { ...common, key: Schema.NullOr(Schema.String) })
/** It finishes what runs and gets nothing new; `ServerDrained` when it is idle. */
export const ServerDraining = Schema.TaggedStruct("ServerDraining", common)
export const ServerDrained = Schema.TaggedStruct("ServerDrained", common)
export const ServerPaused = Schema.TaggedStruct("ServerPaused", common)
export const ServerResumed = Schema.TaggedStruct("ServerResumed", common)
/** Its owner's hook is called to start its process anew: its worker is stuck, its card is broken or its memory leaks. */
export const ServerRestarting = Schema.TaggedStruct("ServerRestarting", {
  ...common,
  cause: Schema.Literals(["WorkerStuck", "GpuPoisoned", "memory"])
})
/**
 * Its owner's hook did not do what it was called for. After `restart` the server stays, and gets nothing until it is
 * resumed or a new process answers; after `release` it has left the pool, and somebody may still pay for it.
 */
export const ServerControlFailed = Schema.TaggedStruct("ServerControlFailed", {
  ...common,
  action: Schema.Literals(["restart", "release"]),
  cause: Schema.String
})
/**
 * Its lease is over and nothing runs there, or nobody has heard of it for half an hour. Rented servers are `removed`;
 * others stay, for they may come back, and are told of once.
 */
export const ServerGone = Schema.TaggedStruct("ServerGone", {
  ...common,
  why: Schema.Literals(["lease", "silent"]),
  removed: Schema.Boolean
})
/** Prompts of others on it: how many wait or run beside ours. */
export const ServerLoad = Schema.TaggedStruct("ServerLoad", {
  ...common,
  running: Schema.Int,
  waiting: Schema.Int,
  foreign: Schema.Int
})
/** A run that was cancelled a minute ago is still there: the server gets nothing new until it ends. */
export const CancelStuck = Schema.TaggedStruct("CancelStuck", { ...common, jobId: JobId })
/** A message that is about no run, under the type that the server gave it. */
export const ServerMessage = Schema.TaggedStruct("ServerMessage", {
  ...common,
  type: Schema.String,
  data: Schema.Unknown
})

/** What a server of the pool does. */
export const ServerEvent = Schema.Union([
  ServerAdded,
  ServerUpdated,
  ServerRemoved,
  ServerConnected,
  ServerDisconnected,
  ServerRestarted,
  ServerHealth,
  ServerBlocked,
  ServerUnblocked,
  ServerDraining,
  ServerDrained,
  ServerPaused,
  ServerResumed,
  ServerRestarting,
  ServerControlFailed,
  ServerGone,
  ServerLoad,
  CancelStuck,
  ServerMessage
])
export type ServerEvent = typeof ServerEvent.Type

/** Everything that happens in a pool. */
export const PoolEvent = Schema.Union([ServerEvent, JobEvent])
export type PoolEvent = typeof PoolEvent.Type
