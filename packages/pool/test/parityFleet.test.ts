// Servers that hold others up, are forgotten, or take everything with them in other clients, and do none of it here. The
// ids are those of docs/parity.md.
import type { PoolEvent } from "@effect-comfyui/pool/PoolEvent"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import * as Bypass from "@effect-comfyui/workflow/Bypass"
import * as Edit from "@effect-comfyui/workflow/Edit"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import {
  anotherPool,
  executionsOf,
  fleet,
  isReady,
  lastOf,
  outcomes,
  posted,
  ready,
  requests,
  running,
  server
} from "./support/ask.ts"
import { all, idOf, told } from "./support/fleet.ts"

const once = { atLeast: 1, atMost: 1 }

describe("a dead server", () => {
  for (const dead of [1, 3]) {
    it.effect(`delays nobody: not the pool, not its jobs, not a new server (W06, W38; number ${dead} of three)`, () =>
      Effect.gen(function*() {
        yield* (yield* server(dead)).kill
        const pool = yield* anotherPool(3)
        const jobs = yield* Effect.forEach([1, 2, 3, 4], (color) => pool.submit(Workflows.picture({ color })))
        yield* TestClock.adjust("2 seconds")
        for (const job of jobs) {
          const status = yield* job.status
          assert.strictEqual(status._tag === "Ended" && status.ending._tag, "JobSucceeded")
        }
        assert.deepStrictEqual(yield* outcomes(dead), [])
        assert.strictEqual((yield* Effect.forEach([1, 2, 3], outcomes)).flat().length, 4)
      }).pipe(Effect.scoped, fleet(3, { members: 0 })))
  }

  it.effect("that comes back gets the jobs that waited for it, and the one that ran there (W21)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const jobs = yield* Effect.forEach([1, 2, 3, 4], (n) => pool.submit(Workflows.slow({ seconds: 10 + n })))
      yield* ComfyTest.advanceUntil(Effect.map(outcomes(1), ({ length }) => length === 1))
      yield* TestClock.adjust("2 seconds")
      const gone = yield* server(1)
      yield* gone.kill
      yield* TestClock.adjust("1 minute")
      yield* gone.restart
      for (const job of jobs) assert.strictEqual(lastOf(yield* all(job)), "JobSucceeded")
      assert.deepStrictEqual(yield* outcomes(1), ["lost", "success", "success", "success", "success"])
    }).pipe(fleet(1)))
})

describe("a server", () => {
  it.effect("of two pools serves both, and each hears of its own jobs (M06)", () =>
    Effect.gen(function*() {
      const one = yield* ready
      const two = yield* anotherPool(1)
      yield* ComfyTest.advanceUntil(isReady(two))
      const jobs = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (n) =>
        (n % 2 === 0 ? one : two).submit(Workflows.counting({ steps: 3 + n, stepMs: 500 })))
      const all = yield* Effect.forEach(jobs, (job) =>
        Effect.forkChild(Stream.runCollect(job.events())))
      for (const [index, fiber] of all.entries()) {
        const events = yield* ComfyTest.advanceWhile(Fiber.join(fiber))
        assert.deepStrictEqual(told(events).slice(2), ["Completed → done", "JobSucceeded"])
        assert.deepStrictEqual(executionsOf(events), once)
        const run = events.flatMap((event) => event._tag === "Attempt" ? [event.event] : [])
        const ending = run.at(-1)
        assert.strictEqual(ending?._tag === "Completed" && ending.via, "socket")
        const steps = run.flatMap((event) => event._tag === "NodeProgress" ? [event.max] : [])
        assert.deepStrictEqual([...new Set(steps)], [4 + index])
      }
      assert.deepStrictEqual(yield* outcomes(1), jobs.map(() => "success"))
      const { sockets } = yield* (yield* server(1)).snapshot
      assert.strictEqual(new Set(sockets.map(({ clientId }) => clientId)).size, 2)
    }).pipe(Effect.scoped, fleet(1)))

  it.effect("that is removed has no socket of ours, and its workflows run elsewhere (M18)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* pool.servers.pause(idOf(2))
      assert.strictEqual(told(yield* all(yield* pool.submit(Workflows.textToImage())))[1], "Placed gpu-1")
      yield* pool.servers.resume(idOf(2))
      yield* ComfyTest.advanceWhile(pool.servers.remove(idOf(1)))
      assert.deepStrictEqual((yield* (yield* server(1)).snapshot).sockets, [])
      assert.deepStrictEqual((yield* pool.servers.get).map(({ id }) => id), [idOf(2)])
      const words = told(yield* all(yield* pool.submit(Workflows.textToImage({ seed: 2 }))))
      assert.deepStrictEqual(words.slice(1), ["Placed gpu-2", "Completed → done", "JobSucceeded"])
      const before = (yield* requests(1)).length
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual((yield* requests(1)).length, before)
    }).pipe(fleet(2)))

  it.effect("that is removed leaves the workflows of its group to the others, where those may fall back (M18)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      assert.strictEqual(told(yield* all(yield* pool.submit(Workflows.picture())))[1], "Placed gpu-2")
      yield* ComfyTest.advanceWhile(pool.servers.remove(idOf(2)))
      const words = told(yield* all(yield* pool.submit(Workflows.picture({ color: 2 }))))
      assert.deepStrictEqual(words.slice(1), ["Placed gpu-1", "Completed → done", "JobSucceeded"])
    }).pipe(fleet(2, { router: grouped })))

  const grouped = RouterPolicies.layerAffinity([[
    Result.getOrThrow(WorkflowKey.affinity(Workflows.picture())),
    { servers: new Map([[idOf(2), 1]]), mode: "fallback" }
  ]])

  it.effect("is asked as often as the pool was told, and with 0 not at all (W07)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const quiet = yield* anotherPool(1, { probe: 0 })
      yield* ComfyTest.advanceUntil(isReady(quiet))
      const before = (yield* requests(1)).length
      yield* TestClock.adjust("10 minutes")
      const asked = (yield* requests(1)).slice(before)
      // Twice a minute, and nobody asks for the whole queue.
      assert.isAtMost(asked.length, 25)
      assert.isFalse(asked.some((line) => line.endsWith("/queue")))
      yield* ComfyTest.advanceWhile(pool.servers.remove(idOf(1)))
      const left = (yield* requests(1)).length
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* requests(1)).length, left)
    }).pipe(Effect.scoped, fleet(1, { pool: { probe: "30 seconds" } })))

  it.effect("that takes a job and never starts it is given up, and its job runs elsewhere (W02)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* (yield* server(1)).killWorker
      yield* pool.servers.pause(idOf(2))
      const job = yield* pool.submit(Workflows.picture(), { timeouts: { start: "5 seconds" } })
      yield* running(job)
      yield* pool.servers.resume(idOf(2))
      const events = yield* all(job)
      assert.deepStrictEqual(told(events).slice(1), [
        "Placed gpu-1",
        "StartTimeout → another-server",
        "Placed gpu-2",
        "Completed → done",
        "JobSucceeded"
      ])
      assert.deepStrictEqual(yield* Effect.forEach([1, 2], outcomes), [["removed"], ["success"]])
    }).pipe(fleet(2)))

  it.effect("is blocked by failures of one workflow, and told of when that is over (W08, W09)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const heard: Array<PoolEvent> = []
      yield* Effect.forkChild(
        Stream.runForEach(pool.events, (event) => Effect.sync(() => void heard.push(event))),
        { startImmediately: true }
      )
      const raise = (message: string) => Effect.flatMap(pool.submit(Workflows.raising({ message })), all)
      // Two failures, far apart in what was asked: the count is kept between attempts.
      for (const message of ["a", "b"]) assert.strictEqual(lastOf(yield* raise(message)), "JobFailed")
      const blocks = () => heard.filter(({ _tag }) => _tag === "ServerBlocked" || _tag === "ServerUnblocked")
      assert.deepStrictEqual(blocks().map(({ _tag }) => _tag), ["ServerBlocked"])
      const [blocked] = blocks()
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(blocks().map(({ _tag }) => _tag), ["ServerBlocked", "ServerUnblocked"])
      assert.isTrue(
        blocked?._tag === "ServerBlocked" && blocks()[1]?.at !== undefined &&
          Math.abs((blocks()[1]?.at ?? 0) - blocked.until) <= 1_000
      )
    }).pipe(
      fleet(1, { pool: { breakers: { keyFailures: 2, keyContents: 2, ejectShare: 1, open: 120_000 }, probe: 0 } })
    ))
})

describe("a workflow", () => {
  it.effect("is a value: three edits of one are three prompts (M03)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const blocker = yield* pool.submit(Workflows.slow({ seconds: 30 }))
      yield* running(blocker)
      const base = Workflows.textToImage()
      const jobs = yield* Effect.forEach(["one", "two", "three"], (text) =>
        pool.submit(Result.getOrThrow(Edit.setInput(base, "6", "text", text))))
      for (const job of jobs) {
        assert.strictEqual(lastOf(yield* all(job)), "JobSucceeded")
      }
      const texts = (yield* posted(1)).slice(1).map((body) =>
        /"text":"(one|two|three)"/.exec(body)?.[1]
      )
      assert.deepStrictEqual(texts, ["one", "two", "three"])
    }).pipe(fleet(1)))

  it.effect("with a bypassed node runs without it, wherever it is tried (W13, M14)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const through = { inputs: [{ name: "image", type: "IMAGE", widget: false, options: [] }], outputs: ["IMAGE"] }
      const inverted = Workflow.fromNodes({
        "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 1 } },
        "57:8": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
        "2": { class_type: "SaveImage", inputs: { images: ["57:8", 0], filename_prefix: "plain" } }
      })
      for (const n of [1, 2]) {
        yield* (yield* server(n)).inject(Fault.on(Fault.request("POST", "/prompt"), Fault.dropRequest, { times: 1 }))
      }
      const job = yield* pool.submit(Result.getOrThrow(Bypass.bypass(inverted, ["57:8"], () => through)))
      assert.strictEqual(lastOf(yield* all(job)), "JobSucceeded")
      const bodies = (yield* Effect.forEach([1, 2], posted)).flat()
      assert.isAtLeast(bodies.length, 2)
      for (const body of bodies) assert.notInclude(body, "57:8")
    }).pipe(fleet(2)))

  it.effect("is plain data, whichever copy of the package made it; one that is none blames no server (M08, W22)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const copy: Workflow.Workflow = structuredClone(Workflows.picture())
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(copy))), "JobSucceeded")
      const circle = Workflow.fromNodes({ "1": { class_type: "ImageInvert", inputs: { image: ["1", 0] } } })
      const refused = yield* Effect.flip(pool.submit(circle))
      assert.deepInclude(refused.reason, { _tag: "InvalidOptions", option: "workflow" })
      const builder = { prompt: { "1": { class_type: "X", inputs: {} } }, mapInputKeys: { seed: "3.inputs.seed" } }
      const document = Workflow.fromDocument(builder)
      assert.isTrue(Result.isFailure(document) && document.failure.reason._tag === "MissingClassType")
      assert.deepStrictEqual((yield* pool.servers.get).map(({ status }) => status), ["ready"])
      assert.deepStrictEqual((yield* pool.snapshot).blocked, [])
      assert.strictEqual(lastOf(yield* all(yield* pool.submit(Workflows.picture({ color: 2 })))), "JobSucceeded")
      assert.deepStrictEqual(yield* outcomes(1), ["success", "success"])
    }).pipe(fleet(1)))
})
