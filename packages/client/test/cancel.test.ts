import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { RunId } from "@effect-comfyui/execution/Ids"
import { Fault, VersionProfile } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { asked, connect, ending, fake, listen, origin, outcomes, theServer, watchRun } from "./support/client.ts"
import { picture, sleep, steps } from "./support/workflows.ts"

const versions = ["0.3.64", "0.12.3", "0.33.0"] as const

const idOf = (run: { readonly events: ReadonlyArray<{ readonly runId: RunId }> }): RunId =>
  run.events[0]?.runId ?? RunId.make("00000000-0000-4000-8000-000000000000")

describe("cancel", () => {
  for (const version of versions) {
    it.effect(`hits exactly this run, running or waiting (${version})`, () =>
      Effect.gen(function*() {
        const server = yield* theServer
        const client = yield* connect()
        const running = yield* watchRun(client, sleep(100))
        const waiting = yield* watchRun(client, sleep(1))
        const last = yield* watchRun(client, picture())
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual(yield* client.cancel(idOf(waiting)), "removed")
        assert.strictEqual(yield* client.cancel(idOf(running)), "interrupted")
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(ending(waiting.events), "Cancelled by us via http")
        assert.strictEqual(ending(running.events), "Cancelled by us via socket")
        assert.strictEqual(ending(last.events), "Completed via socket")
        assert.deepStrictEqual(yield* outcomes(server), ["interrupted", "removed", "success"])
        assert.strictEqual(yield* client.cancel(idOf(last)), "already-finished")
        assert.strictEqual(
          yield* client.cancel(RunId.make("00000000-0000-4000-8000-000000000000")),
          "unknown-run"
        )
      }).pipe(Effect.provide(fake({ version }))))
  }

  // The last release whose interrupt hits whatever runs.
  const v0350 = { ...VersionProfile.profiles["0.3.64"], version: "0.3.50" }

  it.effect("is refused where only a global interrupt exists, and nobody is hit", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(10))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* client.cancel(idOf(run)), "unsafe")
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.isFalse((yield* asked(server)).some((line) => line.includes("interrupt")))
    }).pipe(Effect.provide(fake({ version: v0350 }))))

  it.effect("uses the global interrupt where the option says so", () =>
    Effect.gen(function*() {
      const client = yield* connect({ allowGlobalInterrupt: true })
      const run = yield* watchRun(client, sleep(10))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* client.cancel(idOf(run)), "interrupted")
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(ending(run.events), "Cancelled by us via socket")
    }).pipe(Effect.provide(fake({ version: v0350 }))))

  it.effect("racing the completion: whatever the server did is told, once", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      for (const milliseconds of [0, 1, 2, 500, 990, 999, 1000, 1001, 1002, 1010]) {
        const run = yield* watchRun(client, sleep(1 + milliseconds / 1e6))
        yield* TestClock.adjust(milliseconds)
        yield* Effect.forkChild(Effect.exit(client.cancel(idOf(run))), { startImmediately: true })
        yield* TestClock.adjust("20 seconds")
        const outcome = (yield* outcomes(server)).at(-1)
        const expected = outcome === "success" ? /^Completed/ : /^Cancelled by us/
        assert.match(ending(run.events), expected, `cancelled after ${milliseconds} ms, the server says ${outcome}`)
        assert.strictEqual(
          run.events.filter((event) => ["Completed", "Failed", "Cancelled"].includes(event._tag)).length,
          1
        )
      }
    }).pipe(Effect.provide(fake())))

  it.effect("an interrupt that is lost is repeated", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(100))
      yield* TestClock.adjust("1 second")
      const lie = { status: 200, headers: { "content-type": "application/json" }, body: "{\"cancelled\": true}" }
      yield* server.inject(Fault.on(Fault.path("/jobs/*/cancel"), Fault.respond(lie), { times: 2 }))
      assert.strictEqual(yield* client.cancel(idOf(run)), "interrupted")
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(ending(run.events), "Cancelled by us via socket")
    }).pipe(Effect.provide(fake())))

  it.effect("without effect: a warning after a minute, and the truth at the end", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(200, false))
      yield* TestClock.adjust("1 second")
      yield* client.cancel(idOf(run))
      yield* TestClock.adjust("90 seconds")
      assert.deepInclude(run.events.find((event) => event._tag === "Warning"), { code: "cancel-stuck" })
      yield* TestClock.adjust("3 minutes")
      // The node did not look; the server says what became of it.
      assert.match(ending(run.events), /^(Completed|Cancelled by us)/)
    }).pipe(Effect.provide(fake())))

  it.effect("by somebody else is told as such", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(100))
      yield* TestClock.adjust("1 second")
      yield* client.http.interrupt(idOf(run))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(ending(run.events), "Cancelled by elsewhere via socket")
    }).pipe(Effect.provide(fake())))
})

describe("a consumer that leaves", () => {
  for (const version of versions) {
    it.effect(`by interruption cancels its run and nothing else (${version})`, () =>
      Effect.gen(function*() {
        const server = yield* theServer
        const client = yield* connect()
        const run = yield* watchRun(client, sleep(100))
        const other = yield* watchRun(client, picture())
        yield* TestClock.adjust("1 second")
        const stopped = yield* Effect.forkChild(run.stop, { startImmediately: true })
        yield* TestClock.adjust("6 seconds")
        yield* Fiber.join(stopped)
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual(yield* outcomes(server), ["interrupted", "success"])
        assert.strictEqual(ending(other.events), "Completed via socket")
      }).pipe(Effect.provide(fake({ version }))))
  }

  it.effect("by take cancels its run", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* listen(
        Stream.takeUntil(client.run(steps(100, 1_000)), (event) => event._tag === "NodeProgress")
      )
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(run.fiber)
      assert.deepStrictEqual(yield* outcomes(server), ["interrupted"])
    }).pipe(Effect.provide(fake())))

  it.effect("is let go after 5 seconds, though the server is away", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(100))
      yield* TestClock.adjust("1 second")
      yield* server.inject(Fault.on(Fault.any, Fault.hang({ done: false })))
      const stopped = yield* Effect.forkChild(run.stop, { startImmediately: true })
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(stopped.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.isDefined(stopped.pollUnsafe())
      // And it is cancelled when the server is back.
      yield* server.heal
      yield* TestClock.adjust("90 seconds")
      assert.deepStrictEqual(yield* outcomes(server), ["interrupted"])
    }).pipe(Effect.provide(fake())))

  it.effect("with onInterrupt: leave leaves the run alone", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(10), { onInterrupt: "leave" })
      yield* TestClock.adjust("1 second")
      yield* run.stop
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))
})

describe("submit", () => {
  it.effect("returns after acceptance; the handle tells everything, to many, and dropping it cancels nothing", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const handle = yield* client.submit(sleep(5))
      const first = yield* listen(handle.events())
      yield* TestClock.adjust("2 seconds")
      const second = yield* listen(handle.events())
      yield* first.stop
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(second.events), "Completed via socket")
      assert.deepStrictEqual(second.tags().slice(0, 2), ["Submitted", "Started"])
      assert.strictEqual((yield* handle.result)._tag, "Completed")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))

  it.effect("fails with the run's error where the server refuses", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.unauthorized)))
      const error = yield* Effect.flip(client.submit(picture()))
      assert.strictEqual(error.reason._tag, "Unauthorized")
    }).pipe(Effect.provide(fake())))

  it.effect("the handle cancels its run", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const handle = yield* client.submit(sleep(100))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* handle.cancel, "interrupted")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* Effect.flip(handle.result)).reason._tag, "Cancelled")
      assert.deepStrictEqual(yield* outcomes(server), ["interrupted"])
    }).pipe(Effect.provide(fake())))
})

describe("attach", () => {
  it.effect("watches a run of another client, begins with a gap, and cancels nothing", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const owner = yield* connect()
      const watcher = yield* connect({ id: "watcher" })
      const handle = yield* owner.submit(sleep(20))
      yield* TestClock.adjust("1 second")
      const first = yield* listen(watcher.attach(handle.runId))
      const second = yield* listen(watcher.attach(handle.runId))
      yield* TestClock.adjust("2 seconds")
      yield* first.stop
      yield* TestClock.adjust("40 seconds")
      assert.deepStrictEqual(second.tags(), ["Gap", "Started", "Completed"])
      assert.deepInclude(second.events[0], { cause: "attached", sequence: 0 })
      assert.strictEqual(ending(second.events), "Completed via http")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))

  it.effect("to a run that is over tells how it ended, and to one that nobody knows, that it is lost", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const done = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      const over = yield* listen(client.attach(idOf(done)))
      const never = yield* listen(client.attach(RunId.make("00000000-0000-4000-8000-000000000000")))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(over.tags(), ["Gap", "Completed"])
      assert.strictEqual(ending(never.events), "Failed(Lost) via http")
      assert.deepInclude(yield* client.status(idOf(done)), { _tag: "Finished" })
    }).pipe(Effect.provide(fake())))
})

describe("closing the client's scope", () => {
  it.effect("settles open runs as Closed, cancels those of run and leaves those of submit", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(connect(), scope)
      const left = yield* client.submit(sleep(10))
      const run = yield* watchRun(client, sleep(20))
      const submitted = yield* listen(left.events())
      const attached = yield* listen(client.attach(RunId.make("00000000-0000-4000-8000-000000000001")))
      yield* TestClock.adjust("1 second")
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("6 seconds")
      yield* Fiber.join(closing)
      for (const open of [run, submitted, attached]) {
        assert.strictEqual(ending(open.events), "Failed(Closed) via client")
      }
      assert.deepStrictEqual((yield* server.snapshot).sockets, [])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* outcomes(server), ["success", "removed"])
      const late = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(late.events), "Failed(Closed) via client")
    }).pipe(Effect.provide(fake())))

  it.effect("right after the last event asks nothing and cancels nothing", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const scope = yield* Scope.make()
      const client = yield* Scope.provide(connect(), scope)
      yield* Effect.forkChild(
        Effect.andThen(Stream.runDrain(client.run(sleep(1))), Scope.close(scope, Exit.void)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* asked(server), ["POST /prompt 200"])
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))

  it.effect("while it connects, and while it waits to dial again: no socket afterwards, no defect (C05, C06)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      yield* Effect.scoped(ComfyClient.make({ url: origin }))
      yield* Effect.scoped(connect())
      yield* server.kill
      const scope = yield* Scope.make()
      yield* Scope.provide(ComfyClient.make({ url: origin }), scope)
      yield* TestClock.adjust("5 seconds")
      yield* Scope.close(scope, Exit.void)
      yield* server.restart
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual((yield* server.snapshot).sockets, [])
    }).pipe(Effect.provide(fake())))
})
