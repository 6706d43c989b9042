// What other clients did on real servers when they were measured, and is not so here: the last table of docs/parity.md.
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import type * as Pool from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { executionsOf, fleet, lastOf, outcomes, posted, ready, reasonOf, running, server } from "./support/ask.ts"
import { all, told } from "./support/fleet.ts"

const once = { atLeast: 1, atMost: 1 }

/** Watches from now on; gives all events when the job has ended, and moves the clock for it. */
const watch = (job: Pool.PoolJob, options: Parameters<Pool.PoolJob["events"]>[0] = {}) =>
  Effect.map(
    Effect.forkChild(Stream.runCollect(job.events(options)), { startImmediately: true }),
    (fiber) => ComfyTest.advanceWhile(Fiber.join(fiber))
  )

const run = (events: ReadonlyArray<JobEvent>) =>
  events.flatMap((event) => event._tag === "Attempt" ? [event.event] : [])

describe("tiny jobs", () => {
  for (const count of [30, 300]) {
    it.effect(`${count} of them on two servers: none is called failed or expired, none is run twice`, () =>
      Effect.gen(function*() {
        const pool = yield* ready
        const jobs = yield* Effect.forEach(
          Array.from({ length: count }, (_, color) => color),
          (color) => pool.submit(Workflows.picture({ color: color % 7 }))
        )
        for (const job of jobs) assert.deepStrictEqual(executionsOf(yield* all(job)), once)
        const taken = yield* Effect.forEach([1, 2], outcomes)
        assert.deepStrictEqual(taken.flat(), jobs.map(() => "success"))
        for (const one of taken) assert.isAtLeast(one.length, count / 4)
      }).pipe(fleet(2)))
  }
})

describe("a node that raises", () => {
  it.effect("ends its job with the whole cause, on one server, and blocks none (M01)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const events = yield* all(
        yield* pool.submit(Workflows.raising({ type: "ValueError", message: "it is too wide" }))
      )
      const reason = reasonOf(events)
      assert.deepInclude(reason, {
        _tag: "NodeFailed",
        nodeId: "1",
        classType: "FakeRaise",
        exceptionType: "ValueError"
      })
      assert.isTrue(
        reason?._tag === "NodeFailed" && reason.message.trim() === "it is too wide" && reason.traceback.length > 0
      )
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), ["error"])
      assert.deepStrictEqual((yield* pool.snapshot).blocked.filter(({ state }) => state !== "closed"), [])
      const next = yield* Effect.forEach([1, 2], (color) => pool.submit(Workflows.picture({ color })))
      for (const job of next) assert.strictEqual(lastOf(yield* all(job)), "JobSucceeded")
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).map((all) => all.at(-1)), ["success", "success"])
    }).pipe(fleet(2)))
})

describe("a socket", () => {
  for (const cuts of [1, 2, 5]) {
    it.effect(`that is cut ${cuts} times under a job: it runs on, once, and what was missed is told (P01)`, () =>
      Effect.gen(function*() {
        const pool = yield* ready
        const job = yield* pool.submit(Workflows.counting({ steps: 100, stepMs: 1_000 }))
        const ended = yield* watch(job)
        yield* running(job)
        for (let cut = 0; cut < cuts; cut++) {
          yield* TestClock.adjust("5 seconds")
          yield* (yield* server(1)).cutSockets()
          yield* TestClock.adjust("5 seconds")
        }
        const events = yield* ended
        assert.deepStrictEqual(told(events).slice(2), ["Completed → done", "JobSucceeded"])
        assert.deepStrictEqual(executionsOf(events), once)
        const gaps = run(events).filter((event) => event._tag === "Gap" && event.cause === "socket")
        assert.strictEqual(gaps.length, cuts)
        assert.deepStrictEqual(yield* outcomes(1), ["success"])
        assert.strictEqual((yield* pool.servers.get)[0]?.status, "ready")
      }).pipe(fleet(1)))
  }

  it.effect("that is down while the job ends: the end is asked for (M10)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const bad = yield* server(1)
      for (
        const [workflow, ending] of [
          [Workflows.slow({ seconds: 30 }), "JobSucceeded"],
          [Workflows.raising(), "JobFailed"]
        ] as const
      ) {
        const job = yield* pool.submit(workflow)
        yield* running(job)
        yield* bad.inject(Fault.refuseUpgrades({ status: 503 }, { forMs: 120_000 }))
        yield* bad.cutSockets()
        const events = yield* all(job)
        assert.strictEqual(lastOf(events), ending)
        assert.strictEqual(executionsOf(events)?.atMost, 1)
        yield* TestClock.adjust("10 minutes")
      }
      assert.deepStrictEqual(yield* outcomes(1), ["success", "error"])
    }).pipe(fleet(1)))
})

describe("a limit of two seconds for a node that is silent for ten", () => {
  it.effect("strikes, ends the run on the server, and the server takes the next job (W01)", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const events = yield* all(
        yield* pool.submit(Workflows.slow({ seconds: 10 }), { timeouts: { nodeIdle: "2 seconds" } })
      )
      assert.deepStrictEqual(reasonOf(events), { _tag: "NodeTimeout", nodeId: "2", limitMs: 2_000 })
      const next = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("7 seconds")
      const status = yield* next.status
      assert.strictEqual(status._tag === "Ended" && status.ending._tag, "JobSucceeded")
      assert.deepStrictEqual(yield* outcomes(1), ["interrupted", "success"])
    }).pipe(fleet(1, { pool: { failover: { serverFaults: 0 } } })))
})

describe("a total limit of five seconds for a run of ten", () => {
  it.effect("ends the job, not only its attempt, and counts against no server", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      for (const paid of [false, true]) {
        for (const seconds of [10, 11, 12]) {
          const job = yield* pool.submit(Workflows.slow({ seconds }), { timeouts: { total: "5 seconds" }, paid })
          const events = yield* all(job)
          assert.strictEqual(lastOf(events), "JobFailed")
          assert.deepStrictEqual(reasonOf(events), { _tag: "TotalTimeout", limitMs: 5_000 })
          yield* TestClock.adjust("10 seconds")
        }
      }
      assert.deepStrictEqual((yield* pool.snapshot).blocked, [])
      assert.deepStrictEqual((yield* Effect.forEach([1, 2], outcomes)).flat(), Array(6).fill("interrupted"))
    }).pipe(fleet(2)))
})

describe("numbers and refusals", () => {
  it.effect("a seed of 2^64 − 1 arrives as it is, and its picture is there", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const largest = 2n ** 64n - 1n
      const events = yield* all(yield* pool.submit(Workflows.textToImage({ seed: largest })))
      const last = events.at(-1)
      assert.strictEqual(last?._tag === "JobSucceeded" && Outputs.files(last.outputs, "image").length, 1)
      const [body = ""] = yield* posted(1)
      assert.match(body, /"seed":18446744073709551615\b/)
    }).pipe(fleet(1)))

  /** One output that the server takes, and one that it refuses inside its 200. */
  const halfBad = Workflow.fromNodes({
    "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 1 } },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "good" } },
    "3": { class_type: "EmptyImage", inputs: { width: -1, height: 8, batch_size: 1, color: 1 } },
    "4": { class_type: "SaveImage", inputs: { images: ["3", 0], filename_prefix: "bad" } }
  })

  it.effect("an output that is refused inside a 200 is no success, unless what is left was wanted", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      const events = yield* all(yield* pool.submit(halfBad))
      const reason = reasonOf(events)
      assert.isTrue(reason?._tag === "Rejected" && reason.complaints.some(({ nodeId }) => nodeId === "3"))
      assert.strictEqual((yield* Effect.forEach([1, 2], outcomes)).flat().length, 1)
      const partial = yield* all(yield* pool.submit(halfBad, { acceptPartial: true }))
      assert.strictEqual(lastOf(partial), "JobSucceeded")
      assert.deepInclude(run(partial).find(({ _tag }) => _tag === "Warning"), {
        code: "partially-rejected",
        nodeIds: ["4"]
      })
    }).pipe(fleet(2)))
})

describe("previews", () => {
  it.effect("all 64 of a job reach whoever wants all, though they come later than its ending", () =>
    Effect.gen(function*() {
      const pool = yield* ready
      yield* (yield* server(1)).inject(Fault.delayFrames(1_500))
      const job = yield* pool.submit(Workflows.counting({ steps: 64, stepMs: 10, previews: true }))
      const events = yield* yield* watch(job, { previews: "all" })
      assert.strictEqual(lastOf(events), "JobSucceeded")
      assert.strictEqual(run(events).filter(({ _tag }) => _tag === "Preview").length, 64)
    }).pipe(fleet(1, { servers: () => ({ previewMethod: "auto" }) })))
})
