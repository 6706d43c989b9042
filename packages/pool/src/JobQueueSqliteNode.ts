/** The durable queue in a file, through Node's own SQLite. */
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient } from "effect/sql/SqlClient"
import { unavailable } from "./internal/groupCommit.ts"
import type { JobQueue } from "./JobQueue.ts"
import * as JobQueueSqlite from "./JobQueueSqlite.ts"
import * as SqliteNode from "./SqliteNode.ts"

/** Options of the queue and of its file. */
export interface FileOptions
  extends Omit<JobQueueSqlite.Options, "alone">, Omit<SqliteNode.SqliteOptions, "exclusive">
{
  /**
   * `shared` (default): other processes may work on the file, and what one of them held when it was killed is taken over
   * once its lease has run out, after at most 30 s. `exclusive`: a second process is refused with `QueueUnavailable`, and
   * what a killed one held is taken over at once.
   */
  readonly access?: "shared" | "exclusive"
}

/**
 * The queue in this file, which is made where there is none; beside it lies `-wal`, and `-shm` where it is shared. On a
 * network drive it is not safe. Fails with `QueueUnavailable`.
 */
export const layerFile = (
  path: string,
  { access = "shared", ...options }: FileOptions = {}
): Layer.Layer<JobQueue, PoolError> => {
  const exclusive = access === "exclusive"
  const client = Effect.mapError(SqliteNode.make(path, { ...options, exclusive }), unavailable)
  return JobQueueSqlite.layerSqliteWith({ ...options, alone: exclusive }).pipe(
    Layer.provide(Layer.effect(SqlClient, client)),
    Layer.provide(Reactivity.layer)
  )
}
