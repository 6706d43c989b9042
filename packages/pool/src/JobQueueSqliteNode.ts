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
export interface FileOptions extends JobQueueSqlite.Options, SqliteNode.SqliteOptions {}

/**
 * The queue in this file, which is made where there is none; beside it lie `-wal` and `-shm`. Other processes of this
 * machine may open the same file; on a network drive it is not safe. Fails with `QueueUnavailable`.
 */
export const layerFile = (path: string, options: FileOptions = {}): Layer.Layer<JobQueue, PoolError> =>
  JobQueueSqlite.layerSqliteWith(options).pipe(
    Layer.provide(Layer.effect(SqlClient, Effect.mapError(SqliteNode.make(path, options), unavailable))),
    Layer.provide(Reactivity.layer)
  )
