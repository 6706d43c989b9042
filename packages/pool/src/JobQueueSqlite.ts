/**
 * The queue in a SQLite database: what `offer` said yes to survives the end of the process, and with a client that
 * commits `FULL`, a power failure. Several processes of one machine may work on one database. All times are the database's
 * own, so a step of the machine's clock moves leases and delays with it.
 *
 * Writes that come together share one commit. A workflow, its options and its files are stored as they are; files must
 * be bytes, a stream is refused with `InvalidOptions`. Whatever the database cannot do is `QueueUnavailable`, with nothing
 * half written, and works again when the database does.
 */
import type { JobId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import * as Defaults from "./Defaults.ts"
import * as GroupCommit from "./internal/groupCommit.ts"
import { fail, lost, stateOfEnding } from "./internal/queueAnswers.ts"
import * as Readers from "./internal/sqliteReaders.ts"
import * as Rows from "./internal/sqliteRows.ts"
import * as Tables from "./internal/sqliteTables.ts"
import type { OpenRun } from "./JobHead.ts"
import { type Cancelled, type Claim, type Filter, JobQueue, type Offer, type Offered } from "./JobQueue.ts"

/** Limits of a queue in a database. */
export interface Options {
  /** Waiting jobs; at it `offer` fails with `QueueFull`. Default 100,000. */
  readonly maxQueued?: number
  /**
   * Ended and dead jobs that are remembered, default 10,000, and ended ones for how long, default 24 h; the oldest go
   * first, a `poll` or a minute late.
   */
  readonly history?: number
  readonly historyAge?: Duration.Input
  /** How often changes of other processes are looked for. Default 500 ms; own ones are told at once. */
  readonly poll?: Duration.Input
  /**
   * Nobody else works on this database: what is claimed when it is opened was claimed by a process that has ended, and is
   * given back at once instead of when its lease runs out. Default false.
   */
  readonly alone?: boolean
}

const offeredRows = Rows.decode(Schema.Struct({ fingerprint: Schema.String }))
const sequences = Rows.decode(Schema.Struct({ sequence: Schema.Int }))
const claimedRows = Rows.decode(Rows.Claimed)
const payloadRows = Rows.decode(Rows.Payload)
const fileRows = Rows.decode(Rows.File)
const recordRows = Rows.decode(Rows.Record)
const extendedRows = Rows.decode(Schema.Struct({ cancel_requested: Schema.Int }))
const stateRows = Rows.decode(Schema.Struct({ state: Rows.state }))
const statsRows = Rows.decode(Schema.Struct({
  waiting: Schema.Int,
  delayed: Schema.Int,
  claimed: Schema.Int,
  dead: Schema.Int,
  ended: Schema.Int
}))
const formRows = Rows.decode(Schema.Struct({ latest: Schema.NullOr(Schema.Int) }))

/** Brings the tables up to date; a database of a newer library is refused. */
const prepare = Effect.fnUntraced(function*(sql: SqlClient) {
  if (!sql.onDialectOrElse({ sqlite: () => true, orElse: () => false })) {
    return yield* fail({ _tag: "InvalidOptions", option: "SqlClient", problem: "not a client of SQLite" })
  }
  yield* Effect.mapError(
    Effect.provideService(Tables.migrate, SqlClient, sql),
    (error) => GroupCommit.unavailable(error._tag === "SqlError" ? error : `migration: ${error.message}`)
  )
  const [form] = yield* Effect.flatMap(Effect.mapError(sql.unsafe(Tables.formOf), GroupCommit.unavailable), formRows)
  if ((form?.latest ?? 0) > Tables.latest) {
    return yield* GroupCommit.unavailable(`the database is of a newer version (${form?.latest})`)
  }
})

const make = Effect.fnUntraced(function*(options: Options = {}) {
  const sql = yield* SqlClient
  const maxQueued = options.maxQueued ?? Defaults.queue.maxQueued
  yield* Effect.withTracerEnabled(prepare(sql), false)

  let changed = () => {}
  const write = yield* GroupCommit.make(sql, Defaults.sqlite.group, () => changed())
  const readers = yield* Readers.make(sql, write, {
    history: options.history ?? Defaults.queue.history,
    historyAgeMs: Duration.toMillis(options.historyAge ?? Defaults.queue.historyAge),
    pollMs: Duration.toMillis(options.poll ?? Defaults.sqlite.poll)
  })
  changed = readers.changed
  if (options.alone === true) yield* write((connection) => Rows.query(connection, sequences, Tables.orphan))

  const known = Effect.fnUntraced(function*(connection: Connection, { fingerprint, head: { id } }: Offer) {
    const [row] = yield* Rows.query(connection, offeredRows, Tables.offered, Rows.toStored(id))
    if (row === undefined) return Option.none<Offered>()
    return row.fingerprint === Rows.toStored(fingerprint)
      ? Option.some<Offered>("duplicate")
      : yield* fail({ _tag: "IdempotencyConflict", key: id, jobId: id })
  })

  const offer = Effect.fnUntraced(function*(offer: Offer) {
    const { files, job, payload } = yield* Effect.fromResult(Rows.fromOffer(offer))
    return yield* write(Effect.fnUntraced(function*(connection) {
      const [row] = yield* Rows.query(connection, sequences, Tables.offer, ...job, maxQueued)
      if (row === undefined) {
        const before = yield* known(connection, offer)
        return Option.isSome(before)
          ? before.value
          : yield* fail({ _tag: "QueueFull", tenant: null, limit: maxQueued, retryAfterMs: 1000 })
      }
      yield* connection.execute(Tables.addPayload, [row.sequence, ...payload], undefined)
      for (const [number, file] of files.entries()) {
        yield* connection.execute(Tables.addAttachment, [row.sequence, number, ...file], undefined)
      }
      return "queued" as const
    }))
  })

  const claim = Effect.fnUntraced(function*(id: JobId, ttl: Duration.Input, run?: OpenRun) {
    const ttlMs = Duration.toMillis(ttl)
    const [written, runId] = Rows.fromRun(run)
    const taken = yield* write(Effect.fnUntraced(function*(connection) {
      const take = Rows.query(connection, claimedRows, Tables.claim, ttlMs, written, runId, Rows.toStored(id), runId)
      let [row] = yield* take
      // Whoever held it may be late: then it is there to be claimed now.
      if (row === undefined && (yield* Rows.query(connection, sequences, Tables.expire)).length > 0) [row] = yield* take
      if (row === undefined) return undefined
      const files = row.files === 0 ? [] : yield* Rows.query(connection, fileRows, Tables.attachments, row.sequence)
      return { row, files }
    }))
    if (taken === undefined) return Option.none<Claim>()
    readers.expires(ttlMs)
    return Option.some(yield* Rows.toClaim(taken.row, taken.files))
  })

  /** Does what only the holder may do: no row is changed for anybody else. */
  const fenced = <A>(
    id: JobId,
    token: number,
    rows: (rows: unknown) => Effect.Effect<ReadonlyArray<A>, PoolError>,
    text: string,
    ...params: ReadonlyArray<string | number | null>
  ) =>
    write((connection) =>
      Effect.flatMap(
        Rows.query(connection, rows, text, ...params, Rows.toStored(id), token),
        ([row]) => row === undefined ? lost(id, token) : Effect.succeed(row)
      )
    )

  const extend = Effect.fnUntraced(function*(id: JobId, token: number, ttl: Duration.Input) {
    const ttlMs = Duration.toMillis(ttl)
    const row = yield* fenced(id, token, extendedRows, Tables.extend, ttlMs)
    readers.expires(ttlMs)
    return { cancelRequested: row.cancel_requested !== 0 }
  })

  const settle = Effect.fnUntraced(function*(id: JobId, token: number, ending: JobEnding) {
    const text = yield* Effect.fromResult(Rows.fromEnding(ending))
    yield* fenced(id, token, sequences, Tables.settle, stateOfEnding(ending), text)
  })

  const release = Effect.fnUntraced(function*(
    id: JobId,
    token: number,
    { delay = 0, ledger, left = false }: {
      readonly delay?: Duration.Input
      readonly ledger?: Json.Json
      readonly left?: boolean
    } = {}
  ) {
    const delayMs = Duration.toMillis(delay)
    const text = ledger === undefined ? null : Json.stringify(ledger)
    yield* fenced(id, token, sequences, left ? Tables.leave : Tables.release, text, delayMs, delayMs)
  })

  const cancel = Effect.fnUntraced(function*(id: JobId, ending?: JobEnding) {
    const text = ending === undefined ? null : yield* Effect.fromResult(Rows.fromEnding(ending))
    const state = ending === undefined ? "cancelled" : stateOfEnding(ending)
    return yield* write<Cancelled>(Effect.fnUntraced(function*(connection) {
      yield* Rows.query(connection, sequences, Tables.expire)
      const [row] = yield* Rows.query(connection, stateRows, Tables.cancel, text, state, Rows.toStored(id))
      // Where a run was left, whoever claims that one is told.
      if (row !== undefined) return row.state === "waiting" || row.state === "claimed" ? "requested" : "removed"
      const before = yield* Rows.query(connection, offeredRows, Tables.offered, Rows.toStored(id))
      return before.length > 0 ? "ended" : "unknown"
    }))
  })

  const changes = (text: string, id: JobId) =>
    write((connection) =>
      Effect.map(Rows.query(connection, sequences, text, Rows.toStored(id)), (rows) => rows.length > 0)
    )

  const read = <A>(
    rows: (rows: unknown) => Effect.Effect<ReadonlyArray<A>, PoolError>,
    text: string,
    ...params: ReadonlyArray<string | number>
  ) => Readers.read(Effect.flatMap(sql.unsafe(text, params), rows))

  const get = Effect.fnUntraced(function*(id: JobId) {
    yield* readers.fresh
    const [row] = yield* read(recordRows, Tables.get, Rows.toStored(id))
    return row === undefined ? Option.none() : Option.some(yield* Rows.toRecord(row))
  })

  const payload = Effect.fnUntraced(function*(id: JobId) {
    const [row] = yield* read(payloadRows, Tables.payload, Rows.toStored(id))
    if (row === undefined) return Option.none()
    const files = row.files === 0 ? [] : yield* read(fileRows, Tables.attachments, row.sequence)
    return Option.some(yield* Rows.toPayload(row, files))
  })

  const list = Effect.fnUntraced(function*({ after = -1, limit = 100, states, tenant }: Filter = {}) {
    if (states?.length === 0) return []
    yield* readers.fresh
    const most = Math.min(Math.max(Math.trunc(limit), 0), 1000)
    const params = [after, ...tenant === undefined ? [] : [Rows.toStored(tenant)], most]
    const rows = yield* read(recordRows, Tables.list(states, tenant !== undefined), ...params)
    return yield* Effect.forEach(rows, Rows.toRecord)
  })

  const stats = Effect.gen(function*() {
    yield* readers.fresh
    const [row] = yield* read(statsRows, Tables.stats)
    return row === undefined ? yield* GroupCommit.unavailable("the database lost its counters") : { ...row }
  })

  return JobQueue.of({
    durable: true,
    offer,
    heads: readers.heads,
    claim,
    extend,
    settle,
    release,
    cancel,
    deadLetter: settle,
    redrive: (id) => changes(Tables.redrive, id),
    get,
    payload,
    list,
    stats,
    forget: (id) => changes(Tables.forget, id)
  })
})

/** The queue in the database of the client, with these limits. Fails with `QueueUnavailable`. */
export const layerSqliteWith = (options: Options): Layer.Layer<JobQueue, PoolError, SqlClient> =>
  Layer.effect(JobQueue, make(options))

/** The queue in the database of the client: 100,000 waiting jobs, 10,000 ended ones for 24 h. */
export const layerSqlite: Layer.Layer<JobQueue, PoolError, SqlClient> = layerSqliteWith({})
