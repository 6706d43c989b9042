import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import type { HeadChange } from "@effect-comfyui/pool/JobHead"
import { type Claim, JobQueue, type Offer } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqlite from "@effect-comfyui/pool/JobQueueSqlite"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as SqliteNode from "@effect-comfyui/pool/SqliteNode"
import type * as Json from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { DatabaseSync } from "node:sqlite"
import { headOf } from "./support/heads.ts"

// ── Tools ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "comfy-queue-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
const newFile = Effect.map(folder, (path) => join(path, "queue.db"))

const id = (name: string) => JobId.make(name)

const offerOf = (name: string, more: Partial<Offer["payload"]> = {}, head: Partial<Offer["head"]> = {}): Offer => {
  const { sequence: _, ...rest } = headOf(0)
  return {
    head: { ...rest, id: id(name), ...head },
    payload: {
      workflow: Workflow.fromNodes({ "1": { class_type: "EmptyImage", inputs: {} } }),
      options: null,
      attachments: [],
      ...more
    },
    fingerprint: name
  }
}

const common = (name: string) => ({ jobId: id(name), sequence: 9, at: 1, executions: { atLeast: 1, atMost: 1 } })
const succeeded = (name: string): JobEnding => ({
  _tag: "JobSucceeded",
  ...common(name),
  server: BackendId.make("gpu-1"),
  outputs: {},
  receipts: []
})

/** A queue on this file, open as long as the scope. */
const open = (file: string, options: JobQueueSqliteNode.FileOptions = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(JobQueueSqliteNode.layerFile(file, { poll: "50 millis", ...options }))),
    (context) => Context.get(context, JobQueue)
  )

/** The same with its client, for statements of our own on that connection. */
const openBoth = (file: string, options: SqliteNode.SqliteOptions = {}) =>
  Effect.map(
    Layer.build(JobQueueSqlite.layerSqlite.pipe(Layer.provideMerge(SqliteNode.layer(file, options)))),
    (context) => ({ queue: Context.get(context, JobQueue), sql: Context.get(context, SqlClient) })
  )

const within = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.scoped(effect)

const failure = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<E, never, R> =>
  Effect.match(effect, { onFailure: (error) => error, onSuccess: () => assert.fail("was not refused") })

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(failure(effect), (error) => error instanceof PoolError ? error.reason : assert.fail(`${String(error)}`))

const isUnavailable = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>, why: RegExp) {
  const reason = yield* reasonOf(effect)
  if (reason._tag !== "QueueUnavailable") return assert.fail(`${reason._tag} is not QueueUnavailable`)
  assert.match(reason.cause, why)
})

const claimed = Effect.fnUntraced(function*(queue: JobQueue["Service"], name: string) {
  const claim = yield* queue.claim(id(name), "1 minute")
  return Option.isSome(claim) ? claim.value : assert.fail(`${name} was not there to be claimed`)
})

const stateOf = (queue: JobQueue["Service"], name: string) =>
  Effect.map(queue.get(id(name)), (found) => Option.getOrUndefined(found)?.state)

const offerAll = (queue: JobQueue["Service"], names: ReadonlyArray<string>) =>
  Effect.forEach(names, (name) => queue.offer(offerOf(name)), { concurrency: "unbounded", discard: true })

const follow = Effect.fnUntraced(function*(queue: JobQueue["Service"]) {
  const ready = new Set<string>()
  const apply = (change: HeadChange) =>
    void (change._tag === "Ready" ? ready.add(change.head.id) : ready.delete(change.id))
  yield* Effect.forkScoped(
    Stream.runForEach(queue.heads, (changes) => Effect.sync(() => changes.forEach(apply))),
    { startImmediately: true }
  )
  return ready
})

const until = (condition: () => boolean, limit: Duration.Input = "10 seconds") =>
  Effect.gen(function*() {
    while (!condition()) yield* Effect.sleep(5)
  }).pipe(Effect.timeout(limit), Effect.orDie)

/** It trims in its own time. */
const remembers = (queue: JobQueue["Service"], jobs: number) =>
  Effect.repeat(Effect.delay(queue.list(), 5), { until: ({ length }) => length <= jobs }).pipe(
    Effect.timeout("10 seconds"),
    Effect.orDie
  )

/** A process on this file; it ends with the scope. */
const child = Effect.fnUntraced(function*(mode: "offer" | "claim", file: string, jobs = 0) {
  const said: Array<string> = []
  let code: number | null | undefined
  const one = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        [
          "--conditions=@effect-comfyui/source",
          join(import.meta.dirname, "support/sqliteChild.ts"),
          mode,
          file,
          `${jobs}`
        ],
        { stdio: ["ignore", "pipe", "inherit"] }
      )
    ),
    (one) => Effect.sync(() => one.kill("SIGKILL"))
  )
  createInterface({ input: one.stdout }).on("line", (line) => void said.push(line))
  one.on("close", (ended) => void (code = ended))
  return { said, kill: () => one.kill("SIGKILL"), ended: until(() => code !== undefined, "1 minute"), code: () => code }
})

// ── What survives ───────────────────────────────────────────────────────────────────────────────────────────────────────

describe("a queue in a file survives", () => {
  it.live("being closed and opened: every state, its place, its numbers", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const before = yield* within(Effect.gen(function*() {
        const queue = yield* open(file)
        yield* Effect.forEach(["w", "c", "d", "s", "x", "l"], (name) => queue.offer(offerOf(name)))
        const held = yield* claimed(queue, "c")
        const dead = yield* claimed(queue, "d")
        const error = new PoolError({ reason: { _tag: "PoisonJob", deaths: 2 } })
        yield* queue.deadLetter(id("d"), dead.token, { _tag: "DeadLettered", ...common("d"), error })
        const done = yield* claimed(queue, "s")
        yield* queue.settle(id("s"), done.token, succeeded("s"))
        yield* queue.cancel(id("x"))
        const late = yield* claimed(queue, "l")
        yield* queue.release(id("l"), late.token, { delay: "1 hour", ledger: { big: 12_345_678_901_234_567_890n } })
        return { held, records: yield* queue.list(), stats: yield* queue.stats, last: late.token }
      }))
      assert.isFalse(existsSync(`${file}-wal`), "the log was not put into the file")
      const queue = yield* open(file)
      assert.deepStrictEqual(yield* queue.list(), before.records)
      assert.deepStrictEqual(yield* queue.stats, before.stats)
      assert.deepStrictEqual(before.stats, { waiting: 2, delayed: 1, claimed: 1, dead: 1, ended: 2 })
      const ready = yield* follow(queue)
      yield* until(() => ready.size === 2)
      assert.deepStrictEqual([...ready], ["w", "l"])
      yield* queue.settle(id("c"), before.held.token, succeeded("c"))
      assert.isTrue(yield* queue.redrive(id("d")))
      const again = yield* claimed(queue, "d")
      assert.isAbove(again.token, before.last)
      assert.deepInclude(again, { attempt: 1, ledger: null })
      yield* queue.offer(offerOf("new"))
      const places = (yield* queue.list()).map(({ head }) => head.sequence)
      assert.deepStrictEqual(places, places.toSorted((a, b) => a - b))
      assert.strictEqual(new Set(places).size, places.length)
      const record = Option.getOrThrow(yield* queue.get(id("l")))
      assert.deepInclude(record, { attempt: 1, state: "waiting" })
    })))

  it.live("no number is given twice, though everything was forgotten in between", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const tokens: Array<number> = []
      const places: Array<number> = []
      for (let round = 0; round < 3; round++) {
        yield* within(Effect.gen(function*() {
          const queue = yield* open(file)
          yield* queue.offer(offerOf("a"))
          const { head, token } = yield* claimed(queue, "a")
          yield* queue.settle(head.id, token, succeeded("a"))
          assert.isTrue(yield* queue.forget(head.id))
          tokens.push(token)
          places.push(head.sequence)
        }))
      }
      assert.strictEqual(new Set(tokens).size, 3)
      assert.strictEqual(new Set(places).size, 3)
      assert.deepStrictEqual(tokens, tokens.toSorted((a, b) => a - b))
    })))

  it.live("kill -9 amid offers: every one it had said yes to is there", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const { ended, kill, said } = yield* child("offer", file)
      yield* until(() => said.length >= 60, "1 minute")
      kill()
      yield* ended
      const queue = yield* open(file)
      const ready = yield* follow(queue)
      const { waiting } = yield* queue.stats
      yield* until(() => ready.size === waiting)
      assert.isAtLeast(waiting, said.length)
      assert.deepStrictEqual(said.filter((name) => !ready.has(name)), [])
      // What it had not said yet is there as a whole or not at all.
      for (const name of ready) assert.deepStrictEqual((yield* claimed(queue, name)).payload.options, { name })
    })), 120_000)

  it.live("a log that was torn: what was written before it is there", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const torn = `${file}.torn`
      const queue = yield* open(file)
      yield* Effect.forEach(["a", "b", "c"], (name) => queue.offer(offerOf(name)))
      const whole = statSync(`${file}-wal`).size
      yield* queue.offer(offerOf("d"))
      copyFileSync(file, torn)
      for (const cut of [1, 7, 4_096, statSync(`${file}-wal`).size - whole]) {
        copyFileSync(`${file}-wal`, `${torn}-wal`)
        rmSync(`${torn}-shm`, { force: true })
        copyFileSync(file, torn)
        truncateSync(`${torn}-wal`, statSync(`${torn}-wal`).size - cut)
        const names = yield* within(Effect.gen(function*() {
          const again = yield* open(torn)
          const names = (yield* again.list()).map(({ head }) => head.id)
          for (const name of names) yield* claimed(again, name)
          assert.strictEqual(yield* again.offer(offerOf("e")), "queued")
          return names
        }))
        assert.deepStrictEqual(names, [id("a"), id("b"), id("c")], `${cut} bytes less`)
      }
    })))
})

// ── Who shares it ───────────────────────────────────────────────────────────────────────────────────────────────────────

describe("who shares the file", () => {
  it.live("two processes at 2,000 jobs: each job once", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const names = Array.from({ length: 2_000 }, (_, i) => `job-${i}`)
      const workers = yield* Effect.all([child("claim", file, names.length), child("claim", file, names.length)])
      yield* until(() => workers.every(({ said }) => said.length > 0), "30 seconds")
      yield* within(Effect.flatMap(open(file), (queue) => offerAll(queue, names)))
      for (const { code, ended } of workers) {
        yield* ended
        assert.strictEqual(code(), 0)
      }
      const claimed = workers.map(({ said }) => said.filter((line) => line !== "ready"))
      const all = claimed.flat()
      assert.strictEqual(all.length, 2_000)
      assert.deepStrictEqual(new Set(all), new Set(names))
      for (const ids of claimed) assert.isAbove(ids.length, 0, "one did everything")
      const queue = yield* open(file)
      assert.deepStrictEqual(yield* queue.stats, { waiting: 0, delayed: 0, claimed: 0, dead: 0, ended: 2_000 })
    })), 120_000)

  it.live("learns of the other's jobs and claims, and takes over when it is late", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const one = yield* open(file)
      const other = yield* open(file)
      const seen = yield* follow(other)
      yield* offerAll(one, ["a", "b"])
      yield* until(() => seen.size === 2)
      const late = Option.getOrThrow(yield* one.claim(id("a"), "200 millis"))
      assert.isTrue(Option.isNone(yield* other.claim(id("a"), "1 minute")))
      yield* until(() => !seen.has("a"))
      yield* until(() => seen.has("a"))
      const now = yield* claimed(other, "a")
      assert.isAbove(now.token, late.token)
      assert.strictEqual(now.attempt, 2)
      const lost: PoolError["reason"] = { _tag: "LeaseLost", jobId: id("a"), token: late.token }
      for (
        const write of [
          one.settle(id("a"), late.token, succeeded("a")),
          one.release(id("a"), late.token),
          Effect.asVoid(one.extend(id("a"), late.token, "1 minute"))
        ]
      ) {
        assert.deepStrictEqual(yield* reasonOf(write), lost)
      }
      assert.strictEqual(yield* one.cancel(id("a")), "requested")
      assert.isTrue((yield* other.extend(id("a"), now.token, "1 minute")).cancelRequested)
      yield* other.settle(id("a"), now.token, succeeded("a"))
      assert.strictEqual(yield* stateOf(one, "a"), "succeeded")
    })))

  it.live("opens it at the same moment as others", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const queues = yield* Effect.all(Array.from({ length: 8 }, () => open(file)), { concurrency: "unbounded" })
      yield* Effect.forEach(queues, (queue, i) => queue.offer(offerOf(`${i}`)), { concurrency: "unbounded" })
      for (const queue of queues) assert.strictEqual((yield* queue.stats).waiting, 8)
    })))

  it.live("waits for another's lock asleep, and is told when it lasts", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const queue = yield* open(file, { busyTimeout: "300 millis" })
      yield* queue.offer(offerOf("before"))
      const other = yield* Effect.acquireRelease(
        Effect.sync(() => new DatabaseSync(file)),
        (db) => Effect.sync(() => db.close())
      )
      other.exec("BEGIN IMMEDIATE")
      let ticks = 0
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sync(() => void ticks++), Effect.sleep(10))))
      yield* isUnavailable(queue.offer(offerOf("a")), /LockTimeoutError.*locked/)
      assert.isAbove(ticks, 1, "the thread was held")
      // What is read needs no lock.
      assert.strictEqual((yield* queue.stats).waiting, 1)
      yield* Effect.forkScoped(Effect.andThen(Effect.sleep(100), Effect.sync(() => other.exec("COMMIT"))))
      assert.strictEqual(yield* queue.offer(offerOf("a")), "queued")
      assert.strictEqual((yield* queue.stats).waiting, 2)
    })))

  it.live("wants it alone: others are refused, and what a lost holder had is there at once, with its run", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const run = {
        runId: RunId.make("11111111-1111-4111-8111-111111111111"),
        server: BackendId.make("s"),
        number: 1,
        startedAt: 1
      }
      yield* within(Effect.gen(function*() {
        const queue = yield* open(file)
        yield* queue.offer(offerOf("a"))
        yield* queue.claim(id("a"), "1 hour", run)
      }))
      yield* within(Effect.gen(function*() {
        const queue = yield* open(file, { access: "exclusive" })
        const [[change] = []] = Array.from(yield* Stream.runCollect(Stream.take(queue.heads, 1)))
        assert.strictEqual(change?._tag, "Ready")
        assert.deepStrictEqual(change?._tag === "Ready" ? change.left : undefined, run)
        yield* isUnavailable(open(file, { busyTimeout: "50 millis" }), /LockTimeoutError/)
        yield* isUnavailable(open(file, { access: "exclusive", busyTimeout: "50 millis" }), /LockTimeoutError/)
        assert.isTrue(Option.isSome(yield* queue.claim(id("a"), "1 hour", run)))
      }))
      const queue = yield* open(file)
      assert.strictEqual(yield* stateOf(queue, "a"), "claimed")
    })))
})

describe("writes that come together", () => {
  it.live("are one commit; one that is refused or taken back takes no other with it", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const queue = yield* open(file)
      yield* queue.offer(offerOf("a"))
      const outcomes = yield* Effect.all([
        queue.offer(offerOf("b")),
        reasonOf(queue.offer({ ...offerOf("a"), fingerprint: "other" })),
        reasonOf(queue.settle(id("a"), 99, succeeded("a"))),
        queue.offer(offerOf("b")),
        queue.cancel(id("a"))
      ], { concurrency: "unbounded" })
      assert.strictEqual(outcomes[0], "queued")
      assert.strictEqual(outcomes[1]._tag, "IdempotencyConflict")
      assert.strictEqual(outcomes[2]._tag, "LeaseLost")
      assert.strictEqual(outcomes[3], "duplicate")
      assert.strictEqual(outcomes[4], "removed")
      // Interrupted at once: not begun.
      yield* Effect.forEach(
        ["x", "y"],
        (name) =>
          Effect.flatMap(Effect.forkChild(queue.offer(offerOf(name)), { startImmediately: true }), Fiber.interrupt)
      )
      assert.isUndefined(yield* stateOf(queue, "x"))
      assert.isUndefined(yield* stateOf(queue, "y"))
    })))
})

// ── When the store cannot ───────────────────────────────────────────────────────────────────────────────────────────────

describe("a store that cannot", () => {
  it.live("a full one refuses with nothing half written, serves what is there, and works again", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const { queue, sql } = yield* openBoth(file, { maxBytes: 400_000 })
      const big = { attachments: [{ filename: "a.bin", content: new Uint8Array(20_000).fill(7) }] }
      let there = 0
      for (let i = 0; there === i; i++) {
        const offered = yield* Effect.result(queue.offer(offerOf(`job-${i}`, big)))
        if (Result.isSuccess(offered)) there++
        else if (offered.failure.reason._tag !== "QueueUnavailable") assert.fail(offered.failure.message)
        else assert.match(offered.failure.reason.cause, /full/)
      }
      assert.isAbove(there, 3)
      assert.strictEqual((yield* queue.stats).waiting, there)
      assert.isTrue(Option.isNone(yield* queue.get(id(`job-${there}`))))
      const [left] = yield* sql`SELECT (SELECT count(*) FROM comfy_job) AS jobs,
        (SELECT count(*) FROM comfy_payload) AS payloads, (SELECT count(*) FROM comfy_attachment) AS files`
      assert.deepStrictEqual({ ...left }, { jobs: there, payloads: there, files: there })
      // One that fits is not held up by one that does not.
      const [large, small] = yield* Effect.all(
        [Effect.result(queue.offer(offerOf("large", big))), Effect.result(queue.offer(offerOf("small")))],
        { concurrency: 2 }
      )
      assert.isTrue(Result.isFailure(large))
      assert.isTrue(Result.isSuccess(small))
      // An ended job leaves its files: there is room again.
      const { token } = yield* claimed(queue, "job-0")
      yield* queue.settle(id("job-0"), token, succeeded("job-0"))
      assert.strictEqual(yield* queue.offer(offerOf("large", big)), "queued")
      yield* isUnavailable(queue.offer(offerOf("more", big)), /full/)
      yield* sql`PRAGMA max_page_count = 100000`
      assert.strictEqual(yield* queue.offer(offerOf("more", big)), "queued")
      assert.deepStrictEqual((yield* claimed(queue, "more")).payload.attachments, big.attachments)
    })))

  it.live("a closed one, one that is none, one that may not be written: typed", () =>
    within(Effect.gen(function*() {
      const path = yield* folder
      const scope = yield* Scope.make()
      const queue = yield* Scope.provide(open(join(path, "closed.db")), scope)
      yield* queue.offer(offerOf("a"))
      const heads = yield* Effect.forkScoped(Stream.runDrain(queue.heads), { startImmediately: true })
      yield* Effect.sleep(20)
      yield* Scope.close(scope, Exit.void)
      yield* Effect.timeout(Fiber.join(heads), "1 second")
      yield* isUnavailable(queue.offer(offerOf("b")), /closed/)
      yield* isUnavailable(queue.claim(id("a"), "1 minute"), /closed/)
      yield* isUnavailable(queue.get(id("a")), /not open/)
      yield* isUnavailable(queue.stats, /not open/)
      const none = join(path, "none.db")
      writeFileSync(none, "this is no database, whatever its name says".repeat(200))
      yield* isUnavailable(within(open(none)), /not a database/)
      yield* isUnavailable(within(open(join(path, "no/such/folder.db"))), /unable to open/)
    })))

  it.live("a damaged one does not invent jobs", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      yield* within(
        Effect.flatMap(open(file), (queue) => offerAll(queue, Array.from({ length: 500 }, (_, i) => `job-${i}`)))
      )
      const db = new DatabaseSync(file)
      db.exec("UPDATE comfy_job SET affinity = 'mine' WHERE id = 'job-3'")
      db.exec("UPDATE comfy_payload SET workflow = '{\"1\":' WHERE sequence = 5")
      db.close()
      const queue = yield* open(file)
      yield* isUnavailable(queue.get(id("job-3")), /no queue wrote/)
      yield* isUnavailable(queue.claim(id("job-4"), "1 minute"), /no queue wrote/)
      assert.strictEqual(yield* stateOf(queue, "job-5"), "waiting")
    })))

  it.live("one of a newer library is refused and left as it is", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      yield* within(Effect.flatMap(open(file), (queue) => queue.offer(offerOf("a"))))
      const db = new DatabaseSync(file)
      db.exec("INSERT INTO comfy_queue_migrations (migration_id, name) VALUES (999, 'later')")
      db.close()
      yield* isUnavailable(within(open(file)), /newer/)
    })))
})

// ── What is kept of a job ───────────────────────────────────────────────────────────────────────────────────────────────

const text =
  `{"1": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "cfg": 8.0, "x": NaN, "y": -Infinity,
  "z": -0.0, "e": 1e2, "a": 0.1, "s": "\\u0000\\ud800 \\u2028", "model": ["2", 0]}, "_meta": {"title": "T"}, "own": [1]},
  "2": {"class_type": "Loader", "inputs": {}}}`

describe("what is kept of a job", () => {
  it.live("every digit of its workflow and options, names and bypassed nodes, bytes of files", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const read = Result.getOrThrow(Workflow.fromJson(text))
      const node = { class_type: "Lora", inputs: { strength: 1, big: 2n ** 70n, model: ["2", 0] } }
      const workflow: Workflow.Workflow = {
        nodes: read.nodes,
        aliases: { out: "1", ["__proto__"]: "2" },
        bypassed: { "7": { node, links: [{ nodeId: "1", inputName: "model", link: ["7", 2n ** 60n], through: null }] } }
      }
      const options: Json.Json = { n: 9_007_199_254_740_993n, nan: Number.NaN, deep: [[{ "": null }]], t: "\ud800" }
      const attachments: Offer["payload"]["attachments"] = [
        { filename: "ä\0.png", content: Uint8Array.from([0, 1, 255]), input: { nodeId: "1", inputName: "image" } },
        { filename: "empty", content: new Uint8Array(0), subfolder: "s", type: "temp", naming: "keep" },
        { filename: "part", content: new Uint8Array(100).fill(3).subarray(10, 20) }
      ]
      yield* queue.offer(offerOf("a", { workflow, options, attachments }))
      const { payload } = yield* claimed(queue, "a")
      assert.deepStrictEqual(payload, { workflow, options, attachments })
      assert.strictEqual(Workflow.toJson(payload.workflow), Workflow.toJson(workflow))
      assert.include(Workflow.toJson(payload.workflow), "\"cfg\":8.0")
    })))

  it.live("each number as it was written, alone in its workflow", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile, { synchronous: "normal" })
      const numbers = [
        "0",
        "-0",
        "-0.0",
        "8.0",
        "8.00",
        "-3.0",
        "1e2",
        "1E+2",
        "-1.50e3",
        "0.1",
        "1.25",
        "1e-7",
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "-Infinity",
        "9007199254740991",
        "9007199254740993",
        "-18446744073709551615",
        "100000000000000000000.0",
        "123456789012345678e3"
      ]
      const texts = numbers.flatMap((
        number
      ) => [`{"a":${number}}`, `{"a":[${number}]}`, `{"a":[1,${number},{"b":${number}}]}`])
      for (const [i, inputs] of texts.entries()) {
        const workflow = Result.getOrThrow(Workflow.fromJson(`{"1":{"class_type":"A","inputs":${inputs}}}`))
        yield* queue.offer(offerOf(`${i}`, { workflow }))
        const { payload } = yield* claimed(queue, `${i}`)
        assert.deepStrictEqual(payload.workflow, workflow, inputs)
        assert.strictEqual(Workflow.toJson(payload.workflow), Workflow.toJson(workflow))
      }
    })))

  it.live("its ending, errors and outputs too", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const error = new PoolError({ reason: { _tag: "PoisonJob", deaths: 2 } })
      const raw = { n: 2n ** 64n, nan: Number.NaN }
      const file = { kind: "image", filename: "\ud800.png", subfolder: "", type: "output", format: null, raw } as const
      const fileRef = { filename: "a.png", subfolder: "", type: "output" }
      const receipts = [{ nodeId: "9", file: fileRef, location: "/out/a.png", sizeBytes: 7 }]
      const endings: Record<string, JobEnding> = {
        s: {
          _tag: "JobSucceeded",
          ...common("s"),
          server: BackendId.make("gpu-1"),
          outputs: { "9": { files: [file], texts: ["\0"], raw } },
          receipts
        },
        f: { _tag: "JobFailed", ...common("f"), error },
        c: { _tag: "JobCancelled", ...common("c"), by: "elsewhere" }
      }
      for (const [name, ending] of Object.entries(endings)) {
        yield* queue.offer(offerOf(name))
        const { token } = yield* claimed(queue, name)
        yield* queue.settle(id(name), token, ending)
        assert.deepStrictEqual(Option.getOrThrow(yield* queue.get(id(name))).ending, ending)
      }
    })))

  it.live("whatever its id and its tenant are called", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const names = [
        "'; DROP TABLE comfy_job; --",
        "__proto__",
        "a\0b",
        "a\0",
        "a",
        "\ud800",
        "\ud801",
        "\udc00x",
        "\ufffd",
        "\"",
        "\"a\"",
        "\\ud800",
        "\"\\ud800\"",
        "%",
        "Ä",
        "A\u0308",
        "ä",
        "💥",
        " ",
        "\n",
        "1",
        "1.0",
        "01",
        "null",
        "x".repeat(200)
      ]
      const ready = yield* follow(queue)
      for (const name of names) {
        assert.strictEqual(yield* queue.offer(offerOf(name, {}, { tenant: name })), "queued", name)
      }
      for (const name of names) {
        assert.strictEqual(yield* queue.offer(offerOf(name)), "duplicate", name)
      }
      yield* until(() => ready.size === names.length)
      assert.deepStrictEqual([...ready].toSorted(), names.toSorted())
      for (const name of names) {
        assert.deepStrictEqual((yield* queue.list({ tenant: name })).map(({ head }) => head.id), [id(name)])
        const claim: Claim = yield* claimed(queue, name)
        assert.deepInclude(claim.head, { id: id(name), tenant: name })
        yield* queue.settle(id(name), claim.token, succeeded(name))
      }
      assert.strictEqual((yield* queue.stats).ended, names.length)
    })))

  it.live("a stream is refused, and so is what cannot be written", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const stream = { filename: "a.png", content: Stream.make(new Uint8Array(1)) }
      const reason = yield* reasonOf(queue.offer(offerOf("a", { attachments: [stream] })))
      assert.deepInclude(reason, { _tag: "InvalidOptions", option: "attachments" })
      for (const head of [{ priority: Number.NaN }, { cost: Number.POSITIVE_INFINITY }, { notBefore: Number.NaN }]) {
        assert.strictEqual((yield* reasonOf(queue.offer(offerOf("b", {}, head))))._tag, "InvalidOptions")
      }
      const nodes = JSON.parse(`{"__proto__": {"class_type": "A", "inputs": {}}}`)
      const workflow: Workflow.Workflow = { nodes, aliases: {}, bypassed: {} }
      assert.strictEqual((yield* reasonOf(queue.offer(offerOf("c", { workflow }))))._tag, "InvalidOptions")
      assert.deepStrictEqual(yield* queue.list(), [])
    })))
})

// ── Limits ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

describe("limits", () => {
  it.live("every choice of states is listed, in order", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const error = new PoolError({ reason: { _tag: "PoisonJob", deaths: 2 } })
      const endings: ReadonlyArray<JobEnding> = [
        succeeded("x"),
        { _tag: "JobFailed", ...common("x"), error },
        { _tag: "JobCancelled", ...common("x"), by: "us" },
        { _tag: "DeadLettered", ...common("x"), error }
      ]
      // Ended in another order than they came in.
      for (const name of ["w", "c", "0", "1", "2", "3", "v"]) yield* queue.offer(offerOf(name))
      yield* claimed(queue, "c")
      for (const [i, ending] of [...endings.entries()].toReversed()) {
        const { token } = yield* claimed(queue, `${i}`)
        yield* queue.settle(id(`${i}`), token, ending)
      }
      const all = yield* queue.list()
      const states = ["waiting", "claimed", "succeeded", "failed", "cancelled", "dead"] as const
      for (let choice = 0; choice < 64; choice++) {
        const chosen = states.filter((_, i) => (choice >> i) % 2 === 1)
        const expected = all.filter(({ state }) => chosen.includes(state))
        assert.deepStrictEqual(yield* queue.list({ states: chosen }), expected, chosen.join())
        const after = { states: chosen, tenant: "tenant", after: all[2]?.head.sequence ?? 0, limit: 3 }
        const rest = expected.filter(({ head }) => head.sequence > after.after).slice(0, 3)
        assert.deepStrictEqual(yield* queue.list(after), rest, chosen.join())
        assert.deepStrictEqual(yield* queue.list({ states: chosen, tenant: "nobody" }), [])
      }
    })))

  it.live("no more waits than may", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile, { maxQueued: 2 })
      yield* offerAll(queue, ["a", "b"])
      assert.deepInclude(yield* reasonOf(queue.offer(offerOf("c"))), { _tag: "QueueFull", limit: 2 })
      assert.strictEqual(yield* queue.offer(offerOf("a")), "duplicate")
      yield* claimed(queue, "a")
      assert.strictEqual(yield* queue.offer(offerOf("c")), "queued")
    })))

  it.live("the oldest endings go, their files at once; dead jobs do not age", () =>
    within(Effect.gen(function*() {
      const file = yield* newFile
      const { sql } = yield* openBoth(file)
      const queue = yield* open(file, { history: 4 })
      const names = ["a", "b", "c", "d", "e", "f"]
      for (const name of names) {
        yield* queue.offer(offerOf(name, { attachments: [{ filename: name, content: new Uint8Array(9) }] }))
        const { token } = yield* claimed(queue, name)
        const error = new PoolError({ reason: { _tag: "PoisonJob", deaths: 2 } })
        if (name === "d") yield* queue.deadLetter(id(name), token, { _tag: "DeadLettered", ...common(name), error })
        else yield* queue.settle(id(name), token, succeeded(name))
        yield* Effect.sleep(2)
      }
      yield* remembers(queue, 4)
      assert.deepStrictEqual((yield* queue.list()).map(({ head }) => head.id), ["c", "d", "e", "f"].map(id))
      assert.deepStrictEqual(yield* queue.stats, { waiting: 0, delayed: 0, claimed: 0, dead: 1, ended: 3 })
      const [kept] = yield* sql`SELECT (SELECT count(*) FROM comfy_payload) AS payloads,
        (SELECT count(*) FROM comfy_attachment) AS files`
      assert.deepStrictEqual({ ...kept }, { payloads: 1, files: 1 })
      yield* within(Effect.gen(function*() {
        yield* open(file, { historyAge: "1 millis" })
        yield* remembers(queue, 1)
      }))
      assert.deepStrictEqual((yield* queue.list()).map(({ head }) => head.id), [id("d")])
      assert.isTrue(yield* queue.redrive(id("d")))
      assert.strictEqual((yield* claimed(queue, "d")).payload.attachments.length, 1)
      assert.strictEqual(yield* queue.offer(offerOf("a")), "queued")
    })))

  it.live("20,000 jobs are told in batches, in order of arrival", () =>
    within(Effect.gen(function*() {
      const queue = yield* open(yield* newFile)
      const names = Array.from({ length: 20_000 }, (_, i) => `job-${i}`)
      yield* offerAll(queue, names)
      const seen: Array<string> = []
      yield* Stream.runForEachWhile(queue.heads, (changes) =>
        Effect.sync(() => {
          assert.isAtMost(changes.length, 4_096)
          for (const change of changes) if (change._tag === "Ready") seen.push(change.head.id)
          return seen.length < names.length
        }))
      assert.deepStrictEqual(seen, names)
    })), 120_000)
})
