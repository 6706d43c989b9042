// Writes that come together are one transaction: a commit waits for the disk, and one wait serves them all. Each write is
// whole or not at all; a refused one has written nothing, and one that the database cannot do takes no other with it.
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { isSqlError, type SqlError } from "effect/sql/SqlError"

const maxText = 500

/** What the store said, as the queue tells it. */
export const unavailable = (error: SqlError | string): PoolError => {
  const cause = typeof error === "string" ? error : `${error.reason._tag}: ${error.message}`
  return new PoolError({ reason: { _tag: "QueueUnavailable", cause: cause.slice(0, maxText) } })
}

/** What is done in one transaction, on its connection. */
export type Operation<A> = (connection: Connection) => Effect.Effect<A, PoolError | SqlError>

interface Write {
  /** Runs the statements; fails only where the database did. */
  readonly attempt: (connection: Connection) => Effect.Effect<void, SqlError>
  /** Tells the caller: what the last attempt came to, or this failure. */
  readonly answer: (failure?: PoolError) => void
}

const control = (connection: Connection, word: string) => connection.execute(word, [], undefined)

/** By hand: `withTransaction` costs more than the statements of a claim do. */
const transaction = (connection: Connection, batch: ReadonlyArray<Write>) =>
  Effect.onError(
    Effect.gen(function*() {
      yield* control(connection, "BEGIN IMMEDIATE")
      for (const { attempt } of batch) yield* attempt(connection)
      yield* control(connection, "COMMIT")
    }),
    // The connection is ours alone. Where nothing was begun, or SQLite went back by itself, there is nothing to do.
    () => Effect.ignore(control(connection, "ROLLBACK"))
  )

/** One fiber writes, at most `most` at a time; `committed` is called after each commit. */
export const make = Effect.fnUntraced(function*(sql: SqlClient, most: number, committed: () => void) {
  let pending: Array<Write> = []
  let waker: (() => void) | undefined
  let closed = false
  const shut = unavailable("the queue was closed")

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      for (const write of pending) write.answer(shut)
      pending = []
    })
  )

  const asleep = Effect.callback<void>((resume) => {
    if (pending.length > 0) return resume(Effect.void)
    waker = () => {
      waker = undefined
      // Not at once: what comes together is written together.
      resume(Effect.yieldNow)
    }
    return Effect.sync(() => {
      waker = undefined
    })
  })

  const commit = (batch: ReadonlyArray<Write>): Effect.Effect<void> =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(
        Effect.scoped(Effect.flatMap(sql.reserve, (connection) => transaction(connection, batch)))
      )
      if (Exit.isSuccess(exit)) {
        for (const { answer } of batch) answer()
        return committed()
      }
      const { cause } = exit
      const error = Option.getOrUndefined(Cause.findErrorOption(cause))
      // A lock was waited for already, and not every write should wait again.
      if (batch.length === 1 || error?.reason._tag === "LockTimeoutError") {
        const failure = unavailable(error ?? Cause.pretty(cause))
        for (const { answer } of batch) answer(failure)
        return
      }
      for (const write of batch) yield* commit([write])
    })

  const loop = Effect.forever(
    Effect.gen(function*() {
      yield* asleep
      const batch = pending.splice(0, most)
      if (batch.length === 0) return
      yield* Effect.onInterrupt(commit(batch), () =>
        Effect.sync(() => {
          for (const { answer } of batch) answer(shut)
        }))
    })
  )
  yield* Effect.forkScoped(Effect.withTracerEnabled(loop, false))

  /**
   * Runs the operation in a transaction and answers once that is committed. What it fails with itself is no failure of the
   * database: nothing may have been written by then. Interrupted before its turn, it is not run.
   */
  return <A>(operation: Operation<A>): Effect.Effect<A, PoolError> =>
    Effect.callback<A, PoolError>((resume) => {
      if (closed) return resume(Effect.fail(shut))
      let exit: Exit.Exit<A, PoolError> = Exit.fail(shut)
      const write: Write = {
        attempt: (connection) =>
          Effect.matchEffect(operation(connection), {
            onFailure: (error) =>
              isSqlError(error) ? Effect.fail(error) : Effect.sync(() => void (exit = Exit.fail(error))),
            onSuccess: (value) => Effect.sync(() => void (exit = Exit.succeed(value)))
          }),
        answer: (failure) => resume(failure === undefined ? exit : Effect.fail(failure))
      }
      pending.push(write)
      waker?.()
      return Effect.sync(() => {
        pending = pending.filter((one) => one !== write)
      })
    })
})
