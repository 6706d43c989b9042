/**
 * SQLite through Node's own driver, as Effect's `SqlClient`: one connection in WAL mode, statements prepared once.
 *
 * The driver is synchronous: a commit holds this thread until the disk has it, as long as `fsync` takes. A lock of another
 * process does not: its end is waited for asleep.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, SqlError } from "effect/sql/SqlError"
import { makeCompilerSqlite } from "effect/sql/Statement"
import * as Stream from "effect/Stream"
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import * as Defaults from "./Defaults.ts"

/** How the database is opened. */
export interface SqliteOptions {
  /**
   * `full` (default): what was committed survives a power failure. `normal`: it survives the end of the process, but the
   * last transactions before a power failure may be lost; commits then wait for no disk.
   */
  readonly synchronous?: "full" | "normal"
  /** How long a statement waits for the lock of another process before it fails with `LockTimeoutError`. Default 5 s. */
  readonly busyTimeout?: Duration.Input
  /** The file is locked for as long as it is open: no other process can read or write it. Default false. */
  readonly exclusive?: boolean
  /** The file may not grow beyond; then writes fail until rows are deleted. Default: no limit but the disk's. */
  readonly maxBytes?: number
  /** Prepared statements kept, the oldest go first. Default 128. */
  readonly statements?: number
}

const toValue = (value: unknown): SQLInputValue => {
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
      return value
    case "boolean":
      return value ? 1 : 0
    case "undefined":
      return null
  }
  if (value === null) return null
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  throw new TypeError(`${typeof value} is no value of SQLite`)
}

/** The driver's errors carry SQLite's number as `errcode`; Effect's classifier reads `errno`. */
const toSqlError = (cause: unknown): SqlError => {
  const text = cause instanceof Error ? cause.message : String(cause)
  const number = cause instanceof Error && "errcode" in cause ? cause.errcode : undefined
  const message = typeof number === "number" ? `${text} (SQLite ${number})` : text
  const known = Object.assign(new Error(message, { cause }), typeof number === "number" ? { errno: number } : {})
  return new SqlError({ reason: classifySqliteError(known, { message, operation: "execute" }) })
}

const isBusy = ({ reason }: SqlError): boolean => reason._tag === "LockTimeoutError"

/** Keeps the last so many statements by their text. */
const makeStatements = (db: DatabaseSync, most: number, prepared: (statement: StatementSync) => void) => {
  const statements = new Map<string, StatementSync>()
  return (sql: string): StatementSync => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const statement = db.prepare(sql)
    prepared(statement)
    for (const oldest of statements.keys()) {
      if (statements.size < most) break
      statements.delete(oldest)
    }
    statements.set(sql, statement)
    return statement
  }
}

const open = (path: string) =>
  Effect.acquireRelease(
    Effect.try({ try: () => new DatabaseSync(path, { timeout: 0 }), catch: toSqlError }),
    (db) => Effect.ignore(Effect.try({ try: () => db.isOpen && db.close(), catch: toSqlError }))
  )

/**
 * A client of the database at this path, `:memory:` for none on disk; closed with the scope. Integers beyond ±(2^53 − 1)
 * in a column fail the statement.
 */
export const make: (
  path: string,
  options?: SqliteOptions
) => Effect.Effect<SqlClient.SqlClient, SqlError, Scope | Reactivity.Reactivity> = Effect.fnUntraced(
  function*(path: string, options: SqliteOptions = {}) {
    const most = Math.max(1, options.statements ?? Defaults.sqlite.statements)
    const db = yield* open(path)
    const isTransaction = () => db.isOpen && db.isTransaction
    const asObjects = makeStatements(db, most, () => undefined)
    const asArrays = makeStatements(db, most, (statement) => statement.setReturnArrays(true))
    const patience = Schedule.min([Schedule.exponential("1 millis"), Schedule.spaced("25 millis")]).pipe(
      Schedule.jittered,
      Schedule.upTo({ duration: options.busyTimeout ?? Defaults.sqlite.busyTimeout })
    )
    /** The driver's own waiting would hold this thread. Inside a transaction the lock is ours already. */
    const attempt = <A>(act: () => A): Effect.Effect<A, SqlError> => {
      const once = Effect.try({
        try: () => {
          if (!db.isOpen) throw new Error("the database is not open")
          return act()
        },
        catch: toSqlError
      })
      const mayWait = (error: SqlError) => isBusy(error) && !isTransaction()
      return Effect.catchIf(once, mayWait, () => Effect.retry(once, { schedule: patience, while: isBusy }))
    }
    const run = (sql: string, params: ReadonlyArray<unknown>) =>
      attempt(() => asObjects(sql).all(...params.map(toValue)))
    const values = (sql: string, params: ReadonlyArray<unknown>) =>
      attempt(() => asArrays(sql).all(...params.map(toValue)).map((row) => Array.isArray(row) ? row : []))
    const unprepared = (sql: string, params: ReadonlyArray<unknown>) =>
      attempt(() => db.prepare(sql).all(...params.map(toValue)))

    const connection: Connection = {
      execute: (sql, params, transform) =>
        transform === undefined ? run(sql, params) : Effect.map(run(sql, params), transform),
      executeRaw: run,
      executeUnprepared: (sql, params, transform) =>
        transform === undefined ? unprepared(sql, params) : Effect.map(unprepared(sql, params), transform),
      executeValues: values,
      executeValuesUnprepared: values,
      executeStream: (sql, params, transform) =>
        Stream.fromIterableEffect(Effect.map(run(sql, params), (rows) => transform?.(rows) ?? rows))
    }

    // Before the first access, or the log's index would lie in shared memory.
    if (options.exclusive === true) yield* run("PRAGMA locking_mode = EXCLUSIVE", [])
    yield* run("PRAGMA journal_mode = WAL", [])
    yield* run(`PRAGMA synchronous = ${options.synchronous === "normal" ? "NORMAL" : "FULL"}`, [])
    // SQLite's own 2 MB are too few for the inner pages of the indexes of a million rows.
    yield* run("PRAGMA cache_size = -32768", [])
    if (options.maxBytes !== undefined) {
      const [size] = yield* values("PRAGMA page_size", [])
      const pages = Math.max(1, Math.floor(options.maxBytes / Number(size?.[0] ?? 4096)))
      yield* run(`PRAGMA max_page_count = ${pages}`, [])
    }
    const semaphore = yield* Semaphore.make(1)
    return yield* SqlClient.make({
      driver: "node-sqlite",
      ...SqlClient.makeSqliteAcquirers({ connection: Effect.succeed(connection), semaphore, isTransaction }),
      compiler: makeCompilerSqlite(),
      beginTransaction: "BEGIN IMMEDIATE",
      prepareTransactionControls: true,
      spanAttributes: [["db.system.name", "sqlite"]]
    })
  }
)

/** A client of its own per call, see {@link make}. */
export const layer = (path: string, options?: SqliteOptions): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.effect(SqlClient.SqlClient, make(path, options)).pipe(Layer.provide(Reactivity.layer))
