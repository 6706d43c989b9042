import * as SqliteNode from "@effect-comfyui/pool/SqliteNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"

const tagOf = <A>(effect: Effect.Effect<A, SqlError>) =>
  Effect.match(effect, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "succeeded" })

const inMemory = <A, E>(test: Effect.Effect<A, E, SqlClient>, options?: SqliteNode.SqliteOptions) =>
  Effect.provide(test, SqliteNode.layer(":memory:", options))

describe("SqliteNode", () => {
  it.live("answers rows, values and streams, and binds what SQLite knows", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (a, b)`
      const bytes = new Uint8Array([1, 2, 3, 4]).subarray(1, 3)
      for (
        const value of [null, undefined, true, 1.5, 2n ** 40n, "x", bytes]
      ) yield* sql`INSERT INTO t VALUES (${value}, 0)`
      const expected = [null, null, 1, 1.5, 2 ** 40, "x", new Uint8Array([2, 3])]
      const select = sql<{ readonly a: unknown }>`SELECT a FROM t`
      assert.deepStrictEqual((yield* select).map(({ a }) => a), expected)
      assert.deepStrictEqual((yield* select.values).map(([a]) => a), expected)
      assert.deepStrictEqual((yield* Stream.runCollect(select.stream)).map(({ a }) => a), expected)
      assert.strictEqual(yield* tagOf(sql`INSERT INTO t VALUES (${Symbol("x")}, 0)`), "UnknownError")
    })))

  it.live("tells its errors apart", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL UNIQUE)`
      yield* sql`INSERT INTO t VALUES (1, 'x')`
      assert.strictEqual(yield* tagOf(sql`INSERT INTO t VALUES (2, 'x')`), "UniqueViolation")
      assert.strictEqual(yield* tagOf(sql`INSERT INTO t VALUES (2, NULL)`), "ConstraintError")
      assert.strictEqual(yield* tagOf(sql`SELECT * FROM nowhere`), "UnknownError")
      assert.strictEqual(
        yield* tagOf(
          Effect.scoped(SqliteNode.make("/no/such/folder/x.db"))
            .pipe(Effect.provide(Reactivity.layer))
        ),
        "ConnectionError"
      )
    })))

  it.live("a transaction that fails leaves nothing, and the next one begins", () =>
    inMemory(Effect.gen(function*() {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE t (a)`
      yield* Effect.ignore(sql.withTransaction(Effect.andThen(sql`INSERT INTO t VALUES (1)`, Effect.fail("no"))))
      yield* sql.withTransaction(sql`INSERT INTO t VALUES (2)`)
      assert.deepStrictEqual((yield* sql`SELECT a FROM t`).map((row) => row["a"]), [2])
    })))

  it.live("keeps few statements and prepares the others anew", () =>
    inMemory(
      Effect.gen(function*() {
        const sql = yield* SqlClient
        for (let i = 0; i < 3; i++) {
          for (let n = 0; n < 10; n++) assert.deepStrictEqual(yield* sql.unsafe(`SELECT ${n} AS n`).values, [[n]])
        }
      }),
      { statements: 2 }
    ))

  it.live("commits as it was told to", () =>
    Effect.gen(function*() {
      const mode = Effect.flatMap(SqlClient, (sql) => sql`PRAGMA synchronous`.values)
      assert.deepStrictEqual(yield* inMemory(mode), [[2]])
      assert.deepStrictEqual(yield* inMemory(mode, { synchronous: "normal" }), [[1]])
    }))
})
