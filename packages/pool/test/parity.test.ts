// Jobs that hang, get lost, run twice or end twice in other clients, and do none of it here. The ids are those of
// docs/parity.md.
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import * as Breakers from "@effect-comfyui/pool/Breakers"
import { ComfyTest, Fault, NodeClass, Plan, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  anotherPool,
  executionsOf,
  fleet,
  interrupt,
  isReady,
  lastOf,
  outcomes,
  posted,
  ready,
  requests,
  running,
  server
} from "./support/ask.ts"
import { all, foreign, idOf, told } from "./support/fleet.ts"

const once = { atLeast: 1, atMost: 1 }

describe("a job ends once", () => {
  it.effect("though its events come before the answer to its POST, on every server at once (M13, C12)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const endings: Array<string> = []
      yield* Effect.forkChild(
        Stream.runForEach(pool.events, (event) =>
          Effect.sync(() => {
            if ("jobId" in event && event._tag !== "CancelStuck" && isJobEnding(event)) endings.push(event._tag)
          })),
        { startImmediately: true }
      )
      // The same graph again and again: everything is cached.
      const jobs = yield* Effect.forEach(Array.from({ length: 80 }), () => pool.submit(Workflows.picture()))
      for (const job of jobs) assert.deepStrictEqual(executionsOf(yield* all(job)), once)
      assert.deepStrictEqual(endings, jobs.map(() => "JobSucceeded"))
      const taken = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], outcomes)
      assert.deepStrictEqual(taken.flat(), jobs.map(() => "success"))
    }).pipe(fleet(8, { servers: () => ({ dequeueMs: 0 }) })))

  it.effect("though the server's history is a gateway's page for a while (W30)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const job = yield* pool.submit(Workflows.slow({ seconds: 30 }))
      const first = yield* server((yield* running(job)) === "gpu-1" ? 1 : 2)
      for (const path of ["/history/*", "/jobs/*"]) {
        yield* first.inject(Fault.on(Fault.path(path), Fault.respond(Fault.badGateway), { times: 5 }))
      }
      yield* first.cutSockets()
      const events = yield* all(job)
      assert.deepStrictEqual(told(events).slice(2), ["Completed → done", "JobSucceeded"])
      assert.deepStrictEqual(executionsOf(events), once)
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["success"])
    }).pipe(fleet(2)))

  it.effect("though the answer to its POST takes longer than it may take to start (W03)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      for (const n of [1, 2]) {
        yield* (yield* server(n)).inject(Fault.on(Fault.request("POST", "/prompt"), Fault.holdAnswer(60_000)))
      }
      const events = yield* all(yield* pool.submit(Workflows.picture(), { timeouts: { start: "500 millis" } }))
      assert.strictEqual(lastOf(events), "JobSucceeded")
      assert.deepStrictEqual(executionsOf(events), once)
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["success"])
    }).pipe(fleet(2)))

  it.effect("on another server, where the first resets its POST (W05)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* (yield* server(1)).inject(Fault.on(Fault.request("POST", "/prompt"), Fault.dropRequest))
      yield* pool.servers.pause(idOf(2))
      const job = yield* pool.submit(Workflows.picture())
      yield* running(job)
      yield* pool.servers.resume(idOf(2))
      const events = yield* all(job)
      assert.deepStrictEqual(told(events).slice(1), [
        "Placed gpu-1",
        "Unreachable → another-server",
        "Placed gpu-2",
        "Completed → done",
        "JobSucceeded"
      ])
      assert.deepStrictEqual(executionsOf(events), once)
      assert.deepStrictEqual(yield* Effect.forEach([1, 2], outcomes), [[], ["success"]])
    }).pipe(fleet(2)))

  it.effect("after a fault of the only server, when its block has run out and nothing else happens (W04)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* (yield* server(1)).inject(Fault.onNode({ classType: "FakeSleep" }, Fault.silent(40_000), { times: 1 }))
      const job = yield* pool.submit(Workflows.slow({ seconds: 5 }), { timeouts: { nodeIdle: "20 seconds" } })
      const events = yield* all(job)
      assert.deepStrictEqual(told(events).slice(1), [
        "Placed gpu-1",
        "NodeTimeout → another-server",
        "Placed gpu-1",
        "Completed → done",
        "JobSucceeded"
      ])
      const [first, second] = yield* job.why
      const waited = (second?.startedAt ?? 0) - (first?.endedAt ?? 0)
      assert.isAtLeast(waited, 60_000)
      assert.isAtMost(waited, 61_000)
    }).pipe(fleet(1, { pool: { breakers: Breakers.oneFailure, probe: 0 } })))

  it.effect("though it shows nothing and says nothing of progress; its start is told (W27, W32)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const graph = Workflow.fromNodes({ "1": { class_type: "Mute", inputs: {} } })
      // The second time everything is cached.
      for (const _ of [1, 2]) {
        const events = yield* all(yield* pool.submit(graph))
        const run = events.flatMap((event) => event._tag === "Attempt" ? [event.event] : [])
        assert.strictEqual(run.filter(({ _tag }) => _tag === "Started").length, 1)
        assert.isFalse(run.some(({ _tag }) => _tag === "NodeProgress" || _tag === "NodeOutput"))
        assert.deepStrictEqual(told(events).slice(2), ["Completed → done", "JobSucceeded"])
        assert.deepStrictEqual(executionsOf(events), once)
      }
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["success", "success"])
    }).pipe(fleet(2, { servers: () => ({ nodes: [mute] }) })))

  const mute = NodeClass.define({
    class: "Mute",
    outputs: [],
    outputNode: true,
    run: () => Plan.returns([], { steps: [Plan.wait(5_000)] })
  })

  it.effect("though the server's 200 names no prompt: it is asked what it did (M17)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* foreign(1, Workflows.slow({ seconds: 100 }))
      yield* TestClock.adjust("2 seconds")
      const post = Fault.request("POST", "/prompt")
      const bare = { status: 200, headers: { "content-type": "application/json" }, body: "{}" }
      // Taken, and waiting where no frame tells of it; then not taken at all.
      for (const [n, fault] of [Fault.replaceAnswer(bare), Fault.respond(bare)].entries()) {
        yield* (yield* server(1)).inject(Fault.on(post, fault, { times: 1 }))
        const events = yield* all(yield* pool.submit(Workflows.slow({ seconds: 20 + n })))
        assert.strictEqual(lastOf(events), "JobSucceeded")
        assert.deepStrictEqual(executionsOf(events), once)
      }
      assert.deepStrictEqual(yield* outcomes(1), ["success", "success", "success"])
    }).pipe(fleet(1, { pool: { sharing: "greedy" } })))

  it.effect("though it is refused before anything is posted, and its server takes the next one (P03)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const content = new Uint8Array([1])
      const job = yield* pool.submit(Workflows.picture(), {
        attachments: [{ content, filename: "a.png", input: { nodeId: "99", inputName: "image" } }]
      })
      const events = yield* all(job)
      assert.deepStrictEqual(told(events).slice(-2), ["Rejected → give-up", "JobFailed"])
      assert.deepStrictEqual(executionsOf(events), { atLeast: 0, atMost: 0 })
      assert.deepStrictEqual(yield* posted(1), [])
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.picture()))), "JobSucceeded")
    }).pipe(fleet(1)))

  it.effect("where the pool closes: whoever waits is told, and what runs is ended on its server (W28, M15)", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const pool = yield* Scope.provide(anotherPool(1), scope)
      yield* ComfyTest.advanceUntil(isReady(pool))
      const jobs = yield* Effect.forEach([1, 2, 3], (n) => pool.submit(Workflows.slow({ seconds: 600 + n })))
      const results = yield* Effect.forEach(jobs, (job) => Effect.forkChild(Effect.flip(job.result)))
      const streams = yield* Effect.forEach(jobs, (job) => Effect.forkChild(Stream.runCollect(job.events())))
      yield* ComfyTest.advanceUntil(Effect.map(outcomes(1), ({ length }) => length === 1))
      yield* TestClock.adjust("1 second")
      yield* ComfyTest.advanceWhile(Scope.close(scope, Exit.void), { limit: "10 seconds" })
      for (const waiter of results) assert.strictEqual((yield* Fiber.join(waiter)).reason._tag, "Closed")
      for (const stream of streams) {
        const endings = (yield* Fiber.join(stream)).filter(isJobEnding)
        assert.deepStrictEqual(endings.map(({ _tag }) => _tag), ["JobFailed"])
      }
      assert.deepStrictEqual(yield* outcomes(1), ["interrupted"])
      assert.strictEqual((yield* Effect.flip(pool.submit(Workflows.picture()))).reason._tag, "Closed")
    }).pipe(fleet(1, { members: 0 })))

  it.effect("where the pool closes and was told to leave what runs (W28)", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const pool = yield* Scope.provide(anotherPool(1, { onClose: "leave" }), scope)
      yield* ComfyTest.advanceUntil(isReady(pool))
      const job = yield* pool.submit(Workflows.slow({ seconds: 60 }))
      yield* ComfyTest.advanceUntil(Effect.map(outcomes(1), ({ length }) => length === 1))
      yield* TestClock.adjust("1 second")
      yield* ComfyTest.advanceWhile(Scope.close(scope, Exit.void), { limit: "10 seconds" })
      assert.strictEqual((yield* Effect.flip(job.result)).reason._tag, "Closed")
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* outcomes(1), ["success"])
    }).pipe(fleet(1, { members: 0 })))
})

describe("a job that is cancelled", () => {
  it.effect("while it runs, beside an idle server, ends once and runs nowhere else (W10)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const job = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      const name = yield* running(job)
      yield* TestClock.adjust("5 seconds")
      yield* job.cancel
      assert.deepStrictEqual(told(yield* all(job)), ["Queued", `Placed ${name}`, "Cancelled → give-up", "JobCancelled"])
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["interrupted"])
    }).pipe(fleet(2)))

  it.effect("behind somebody else's prompt is taken out of the queue, and theirs runs on (W29)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* foreign(1, Workflows.slow({ seconds: 300 }))
      yield* TestClock.adjust("2 seconds")
      const job = yield* pool.submit(Workflows.slow({ seconds: 10 }))
      yield* running(job)
      yield* TestClock.adjust("10 seconds")
      yield* job.cancel
      const events = yield* all(job)
      assert.strictEqual(lastOf(events), "JobCancelled")
      assert.deepStrictEqual(executionsOf(events), { atLeast: 0, atMost: 0 })
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(yield* outcomes(1), ["success", "removed"])
      assert.isFalse((yield* requests(1)).some((line) => line.includes("/interrupt")))
    }).pipe(fleet(1, { pool: { sharing: "greedy" } })))

  it.effect("by an operator is tried once more elsewhere, and is then cancelled by somebody else (W19)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const job = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      const names: Array<string> = []
      for (const attempts of [1, 2]) {
        yield* ComfyTest.advanceUntil(Effect.map(job.why, ({ length }) => length === attempts))
        const name = yield* running(job)
        yield* TestClock.adjust("5 seconds")
        yield* interrupt(name === "gpu-1" ? 1 : 2)
        names.push(name)
      }
      const events = yield* all(job)
      // Where its models are not, but where nobody stopped it.
      assert.deepStrictEqual(names.toSorted(), ["gpu-1", "gpu-2"])
      assert.deepStrictEqual(told(events), [
        "Queued",
        `Placed ${names[0]}`,
        "Cancelled → another-server",
        `Placed ${names[1]}`,
        "Cancelled → give-up",
        "JobCancelled"
      ])
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "JobCancelled" && last.by, "elsewhere")
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["interrupted", "interrupted"])
    }).pipe(fleet(2)))

  it.effect("by an operator ends there, where the policy says that one interrupt is enough (W19)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const job = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      yield* running(job)
      yield* TestClock.adjust("5 seconds")
      yield* interrupt((yield* job.why)[0]?.server === "gpu-1" ? 1 : 2)
      assert.deepStrictEqual(told(yield* all(job)).slice(2), ["Cancelled → give-up", "JobCancelled"])
    }).pipe(fleet(2, { pool: { failover: { foreignInterrupts: 0 } } })))
})
