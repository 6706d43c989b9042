import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { LinkState } from "@effect-comfyui/client/Link"
import { Fault } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { asked, connect, connected, ending, fake, origin, outcomes, theServer, watchRun } from "./support/client.ts"
import { alone, picture, raise, sleep, steps } from "./support/workflows.ts"

const never = Schedule.recurs(0)

const gaps = (events: ReadonlyArray<{ readonly _tag: string }>) => events.filter((event) => event._tag === "Gap").length

const failure = (events: ReadonlyArray<Parameters<typeof ending>[0][number]>) => {
  const last = events.at(-1)
  return last?._tag === "Failed" ? last.error.reason : undefined
}

describe("a socket that is lost", () => {
  it.effect("is noticed each time, and the run ends with the truth (C01)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const states: Array<LinkState["_tag"]> = []
      yield* Effect.forkChild(
        Stream.runForEach(client.link.changes, (state) => Effect.sync(() => void states.push(state._tag))),
        { startImmediately: true }
      )
      const run = yield* watchRun(client, steps(100, 1_000))
      for (let loss = 1; loss <= 3; loss++) {
        yield* TestClock.adjust("10 seconds")
        yield* server.cutSockets()
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(gaps(run.events), loss)
        assert.strictEqual((yield* client.link.get)._tag, "Up")
      }
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Completed via http")
      assert.strictEqual(states.filter((tag) => tag === "Down").length, 3)
      // Progress went on after each loss: the id was kept, so the frames came to the new socket.
      assert.isAbove(run.events.filter((event) => event._tag === "NodeProgress").length, 60)
    }).pipe(Effect.provide(fake())))

  it.effect("again and again is dialled at most ten times a minute, and is up soon after", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      // Each dial ends in one of these, those that nobody answers at once.
      const lost: Array<number> = []
      yield* Effect.forkChild(
        Stream.runForEach(
          client.link.changes,
          ({ _tag }) => Effect.map(Clock.currentTimeMillis, (at) => void (_tag === "Down" && lost.push(at)))
        ),
        { startImmediately: true }
      )
      yield* server.inject(Fault.flapping({ upMs: 11_500, downMs: 3_500, schedule: { forMs: 600_000 } }))
      for (let second = 0; second < 600; second++) yield* TestClock.adjust("1 second")
      for (const from of lost) assert.isAtMost(lost.filter((at) => at >= from && at < from + 60_000).length, 11)
      assert.isAbove(lost.length, 60)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* client.link.get)._tag, "Up")
    }).pipe(Effect.provide(fake())))

  it.effect("while the run ends badly: the error is the server's own (C23)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({ reconnect: never })
      const run = yield* watchRun(client, raise("RuntimeError", "CUDA out of memory. Tried to allocate 20 MiB"))
      yield* server.cutSockets()
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(run.events), "Failed(OutOfMemory) via http")
    }).pipe(Effect.provide(fake({ dequeueMs: 100 }))))

  it.effect("with no run open: the next socket has a fresh id; with one open, the same", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const clientId = Effect.map(server.snapshot, (snapshot) => snapshot.sockets.at(-1)?.clientId)
      const first = yield* clientId
      yield* server.cutSockets()
      yield* TestClock.adjust("1 second")
      const second = yield* clientId
      assert.notStrictEqual(second, first)
      yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("1 second")
      yield* server.cutSockets()
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* clientId, second)
    }).pipe(Effect.provide(fake())))

  it.effect("is dialled again for ever, with growing waits, while the server is away", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.kill
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* client.link.get)._tag, "Down")
      const dials = (yield* server.requests).filter((request) => request.target.startsWith("/ws")).length
      assert.isAbove(dials, 100)
      assert.isBelow(dials, 600)
      yield* server.restart
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual((yield* client.link.get)._tag, "Up")
    }).pipe(Effect.provide(fake())))

  it.effect("is given up when the schedule ends, for good, and runs are told by asking (C07)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({ reconnect: never })
      const states: Array<LinkState["_tag"]> = []
      yield* Effect.forkChild(
        Stream.runForEach(client.link.changes, (state) => Effect.sync(() => void states.push(state._tag))),
        { startImmediately: true }
      )
      yield* server.kill
      yield* TestClock.adjust("5 seconds")
      yield* server.restart
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(states, ["Up", "Down"])
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Completed via http")
    }).pipe(Effect.provide(fake())))

  it.effect("sends its feature flags first", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      yield* connect()
      yield* TestClock.adjust("1 milli")
      assert.strictEqual((yield* server.snapshot).sockets[0]?.flags, "{\"supports_preview_metadata\": true}")
    }).pipe(Effect.provide(fake())))
})

describe("a socket that lies", () => {
  it.effect("deaf from the start: HTTP says that the run runs, the socket is replaced, nothing hangs", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.deafenSockets()
      const run = yield* watchRun(client, steps(60, 1_000))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
      // It was heard again after the redial.
      assert.isTrue(run.events.some((event) => event._tag === "NodeProgress"))
    }).pipe(Effect.provide(fake())))

  it.effect("deaf in the middle: asked for after silence, and ended by HTTP", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, steps(20, 1_000))
      yield* TestClock.adjust("5 seconds")
      yield* server.deafenSockets()
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Completed via http")
    }).pipe(Effect.provide(fake())))

  it.effect("half open: unanswered pings while HTTP answers end it (C02)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(300))
      yield* TestClock.adjust("5 seconds")
      yield* server.halfOpenSockets()
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual((yield* client.link.get)._tag, "Up")
      assert.strictEqual(gaps(run.events), 1)
      yield* TestClock.adjust("4 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
    }).pipe(Effect.provide(fake())))

  it.effect("half open, and the old half dies after the new dial: the second socket is deaf, the run ends all the same", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(200))
      yield* TestClock.adjust("5 seconds")
      yield* server.halfOpenSockets({ serverNoticesMs: 120_000 })
      yield* TestClock.adjust("6 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
    }).pipe(Effect.provide(fake())))

  it.effect("cut by a proxy every 60 seconds", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(600))
      yield* Effect.forkChild(
        Effect.forever(Effect.andThen(Effect.sleep("60 seconds"), server.cutSockets())),
        { startImmediately: true }
      )
      yield* TestClock.adjust("11 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
    }).pipe(Effect.provide(fake())))

  it.effect("frames late behind HTTP: previews and outputs on their way are waited for", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(9.9))
      yield* TestClock.adjust("1 second")
      // HTTP is asked after 10 s of silence, and knows the end before the socket has said it.
      yield* server.inject(Fault.delayFrames(300))
      yield* TestClock.adjust("15 seconds")
      assert.deepStrictEqual(run.tags().slice(-3), ["NodeOutput", "NodeFinished", "Completed"])
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.include(yield* asked(server), "GET /history/ID 200")
    }).pipe(Effect.provide(fake())))
})

describe("sockets that are refused", () => {
  it.effect("three times: the client polls, and tries again every 5 minutes", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const refusal = yield* server.inject(Fault.refuseUpgrades({ status: 403 }))
      const client = yield* ComfyClient.make({ url: origin })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* client.link.get)._tag, "Refused")
      const run = yield* watchRun(client, steps(20, 1_000))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Completed via http")
      assert.deepStrictEqual(run.tags().slice(0, 3), ["Submitted", "Gap", "Started"])
      yield* refusal.heal
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* client.link.get)._tag, "Up")
    }).pipe(Effect.provide(fake())))

  it.effect("403 while the machine boots: back-off, no tight loop", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      yield* server.inject(Fault.refuseUpgrades({ status: 403 }))
      yield* ComfyClient.make({ url: origin, socket: "required" })
      yield* TestClock.adjust("10 minutes")
      const dials = (yield* server.requests).filter((request) => request.target.startsWith("/ws")).length
      assert.isAbove(dials, 20)
      assert.isBelow(dials, 120)
    }).pipe(Effect.provide(fake())))

  it.effect("socket: none never dials", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* ComfyClient.make({ url: origin, socket: "none" })
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(run.events), "Completed via http")
      assert.isFalse((yield* server.requests).some((request) => request.target.startsWith("/ws")))
    }).pipe(Effect.provide(fake())))
})

describe("a server that changes", () => {
  it.effect("restarts and forgets the run: Lost, with the evidence", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("5 seconds")
      yield* server.restart
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(ending(run.events), "Failed(Lost) via http")
    }).pipe(Effect.provide(fake())))

  it.effect("is away for a while and still has the run in its history", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(5))
      yield* TestClock.adjust("1 second")
      yield* server.stall("60 seconds")
      yield* TestClock.adjust("3 minutes")
      assert.match(ending(run.events), /^Completed/)
    }).pipe(Effect.provide(fake())))

  it.effect("goes away for good: held for a while, then Unreachable", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("5 seconds")
      yield* server.kill
      yield* TestClock.adjust("90 seconds")
      assert.notMatch(ending(run.events), /Failed/)
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(ending(run.events), "Failed(Unreachable) via http")
    }).pipe(Effect.provide(fake())))

  it.effect("is replaced by a 404 page for a machine that is gone: never an unknown id", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("5 seconds")
      yield* server.inject(Fault.on(Fault.any, Fault.respond(Fault.notFoundPage)))
      yield* server.inject(Fault.refuseUpgrades(Fault.notFoundPage))
      yield* server.cutSockets()
      yield* TestClock.adjust("10 minutes")
      assert.deepInclude(failure(run.events), { _tag: "Unreachable", by: "proxy", status: 404 })
    }).pipe(Effect.provide(fake())))

  it.effect("sits behind a login after a while: 302 is a proxy's word", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("5 seconds")
      yield* server.inject(Fault.on(Fault.any, Fault.respond(Fault.loginRedirect("https://login.test/?next=x"))))
      yield* server.cutSockets()
      yield* server.inject(Fault.refuseUpgrades({ status: 302 }))
      yield* TestClock.adjust("10 minutes")
      assert.deepInclude(failure(run.events), { _tag: "Unreachable", by: "proxy", status: 302 })
    }).pipe(Effect.provide(fake())))

  it.effect("answers 500 and junk to single questions: no crash, and the truth later (C20, C22)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(30))
      yield* TestClock.adjust("1 second")
      yield* server.cutSockets()
      const junk = { status: 500, headers: { "content-type": "application/json" }, body: "{\"error\":\"boom\"}" }
      yield* server.inject(Fault.on(Fault.path("/history/*"), Fault.respond(junk), { times: 3 }))
      yield* server.inject(Fault.on(Fault.path("/jobs/*"), Fault.respond(junk), { times: 3 }))
      yield* server.inject(Fault.on(Fault.path("/queue"), Fault.respond({ status: 200, body: "<html>" }), { times: 3 }))
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
    }).pipe(Effect.provide(fake())))

  it.effect("dead worker: the run waits for nobody, and that is said with the evidence", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.killWorker
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(ending(run.events), "Failed(WorkerStuck) via http")
    }).pipe(Effect.provide(fake())))

  for (const version of ["0.3.64", "0.33.0"] as const) {
    it.effect(`worker dies in the run (${version}): started, and no node begins`, () =>
      Effect.gen(function*() {
        const client = yield* connect()
        const run = yield* watchRun(client, alone("FakeKillWorker"))
        yield* TestClock.adjust("2 hours")
        assert.strictEqual(ending(run.events), "Failed(WorkerStuck) via http")
      }).pipe(Effect.provide(fake({ version }))))
  }

  it.effect("worker dies in the run ahead: who waits behind it says so in the end, but not for a long run", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* watchRun(client, alone("FakeKillWorker"))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("5 hours")
      assert.notMatch(ending(run.events), /Failed/)
      yield* TestClock.adjust("3 hours")
      assert.strictEqual(ending(run.events), "Failed(WorkerStuck) via http")
    }).pipe(Effect.provide(fake({ version: "0.33.0" }))))

  it.effect("a long silent node is no dead worker", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(3 * 3600))
      yield* TestClock.adjust("59 minutes")
      assert.notMatch(ending(run.events), /Failed/)
    }).pipe(Effect.provide(fake())))

  it.effect("a prompt that another client deletes was cancelled elsewhere", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* watchRun(client, sleep(30))
      const run = yield* watchRun(client, sleep(1))
      yield* TestClock.adjust("1 second")
      const submitted = run.events[0]
      yield* client.http.removeWaiting([submitted?._tag === "Submitted" ? submitted.promptId : ""])
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(ending(run.events), "Cancelled by elsewhere via http")
    }).pipe(Effect.provide(fake())))
})

describe("what is asked", () => {
  it.effect("a long run on a whole connection costs a handful of small questions", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, sleep(600))
      yield* TestClock.adjust("601 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.isBelow((yield* asked(server)).length, 20)
    }).pipe(Effect.provide(fake())))

  it.effect("status events of a busy server cause no questions", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const other = yield* ComfyClient.make({ url: origin, id: "other" })
      yield* connected(other)
      const ours = yield* watchRun(client, steps(100, 100))
      for (let i = 0; i < 20; i++) yield* watchRun(other, picture(i))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(ending(ours.events), "Completed via socket")
      assert.isBelow((yield* asked(server)).filter((line) => line.includes("/queue")).length, 3)
    }).pipe(Effect.provide(fake())))
})
