// Who reads what waits, and who looks after the clock. A reader keeps its place in the changes, nothing else: the database
// knows the latest state of each job. Own commits wake the readers; those of others are found by looking.
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import * as Defaults from "../Defaults.ts"
import type { HeadChange } from "../JobHead.ts"
import { type Operation, unavailable } from "./groupCommit.ts"
import * as Rows from "./sqliteRows.ts"
import * as Tables from "./sqliteTables.ts"

const batch = 4_096
/** Rows deleted by one statement: other writers have their turn between two. */
const trimmed = 1_000

interface Options {
  readonly history: number
  readonly historyAgeMs: number
  readonly pollMs: number
}

/** A reader's place: first among what waits, then among the changes. */
interface Reader {
  /** The last waiting job that it was told of; undefined: all of them. */
  waiting: number | undefined
  version: number
  sequence: number
  wake: (() => void) | undefined
}

const changeRows = Rows.decode(Rows.Change)
const sequences = Rows.decode(Schema.Struct({ sequence: Schema.Int }))
const lookRows = Rows.decode(Schema.Struct({
  version: Schema.Int,
  remembered: Schema.Int,
  due: Schema.NullOr(Schema.Number)
}))

/** A read for a caller: no spans, and the store's errors as the queue's. */
export const read = <A>(effect: Effect.Effect<A, PoolError | SqlError>): Effect.Effect<A, PoolError> =>
  Effect.withTracerEnabled(Effect.mapError(effect, (error) => isSqlError(error) ? unavailable(error) : error), false)

type Write = <A>(operation: Operation<A>) => Effect.Effect<A, PoolError>

export const make = Effect.fnUntraced(function*(sql: SqlClient, write: Write, options: Options) {
  const readers = new Set<Reader>()
  let closed = false
  /** Grows with every sign of a change: a reader that looked before it looks again. */
  let signs = 0
  const changed = () => {
    signs++
    for (const reader of readers) reader.wake?.()
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      changed()
    })
  )

  const look = Effect.flatMap(
    read(Effect.flatMap(sql.unsafe(Tables.look), lookRows)),
    ([row]) => row === undefined ? Effect.fail(unavailable("the database lost its counters")) : Effect.succeed(row)
  )
  const expire = write((connection) => Rows.query(connection, sequences, Tables.expire))

  // ── Heads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const page = (text: string, ...after: ReadonlyArray<number>) =>
    read(Effect.flatMap(sql.unsafe(text, [...after, batch]), changeRows))

  const take = Effect.fnUntraced(function*(reader: Reader) {
    if (reader.waiting !== undefined) {
      const rows = yield* page(Tables.waiting, reader.waiting)
      reader.waiting = rows.length < batch ? undefined : rows.at(-1)?.sequence
      if (rows.length > 0) return yield* Effect.forEach(rows, Rows.toChange)
    }
    const rows = yield* page(Tables.changes, reader.version, reader.sequence)
    const last = rows.at(-1)
    if (last !== undefined) {
      reader.version = last.version
      reader.sequence = last.sequence
    }
    return yield* Effect.forEach(rows, Rows.toChange)
  })

  const asleep = (reader: Reader, seen: number) =>
    Effect.callback<void>((resume) => {
      if (closed || signs !== seen) return resume(Effect.void)
      reader.wake = () => {
        reader.wake = undefined
        resume(Effect.yieldNow)
      }
      return Effect.sync(() => {
        reader.wake = undefined
      })
    })

  const next = (reader: Reader): Effect.Effect<ReadonlyArray<HeadChange>, PoolError | Cause.Done> =>
    Effect.suspend(() => {
      if (closed) return Cause.done()
      const seen = signs
      // The database may be closed by now, too.
      const taken = Effect.catchIf(take(reader), () => closed, () => Effect.succeed([]))
      return Effect.filterOrElse(
        taken,
        (changes) => changes.length > 0,
        () => Effect.flatMap(asleep(reader, seen), () => next(reader))
      )
    })

  const subscribe = Effect.acquireRelease(
    Effect.map(look, ({ version }) => {
      const reader: Reader = { waiting: -1, version, sequence: Number.MAX_SAFE_INTEGER, wake: undefined }
      readers.add(reader)
      return reader
    }),
    (reader) => Effect.sync(() => readers.delete(reader))
  )

  const heads: Stream.Stream<ReadonlyArray<HeadChange>, PoolError> = Stream.fromPull(
    Effect.map(subscribe, (reader) => Effect.map(next(reader), (changes) => [changes] as const))
  ).pipe(Stream.scoped)

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

  let looked = 0
  /** A claim was made that may run out before the next look. */
  let sooner = false
  let waker: (() => void) | undefined

  /** In steps, between which others may write. */
  const trim = (text: string, ...params: ReadonlyArray<number>) =>
    Effect.repeat(write((connection) => Rows.query(connection, sequences, text, ...params, trimmed)), {
      while: (rows) => rows.length === trimmed
    })

  const round = Effect.gen(function*() {
    const { due, remembered, version } = yield* look
    if (version !== looked) {
      looked = version
      changed()
    }
    if (remembered > options.history) yield* trim(Tables.trimCount, remembered - options.history)
    if (due === null || due > 0) return Math.min(options.pollMs, due ?? options.pollMs)
    yield* expire
    return 0
  })

  const woken = Effect.callback<void>((resume) => {
    if (sooner) return resume(Effect.void)
    waker = () => resume(Effect.void)
    return Effect.sync(() => {
      waker = undefined
    })
  })

  const loop = Effect.forever(
    Effect.gen(function*() {
      sooner = false
      // What fails now is tried again; whoever asks for something is told.
      const wait = yield* Effect.orElseSucceed(round, () => options.pollMs)
      yield* Effect.race(woken, Effect.sleep(Math.max(1, Math.ceil(wait))))
    })
  )
  yield* Effect.forkScoped(Effect.withTracerEnabled(loop, false))

  const trimEvery = Math.max(options.pollMs, Math.min(options.historyAgeMs, Duration.toMillis(Defaults.sqlite.trim)))
  const forgetOld = Effect.ignore(trim(Tables.trimAge, options.historyAgeMs))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(forgetOld, Effect.sleep(trimEvery))))

  return {
    heads,
    changed,
    /** A claim was made or kept for so long. */
    expires: (ttlMs: number) => {
      if (ttlMs >= options.pollMs) return
      sooner = true
      waker?.()
    },
    /** Gives back what ran out, so that a read does not tell of claims that are none; a store that is full is still read. */
    fresh: Effect.flatMap(look, ({ due }) => due !== null && due <= 0 ? Effect.ignore(expire) : Effect.void)
  }
})
