import { JobId, RunId } from "@effect-comfyui/execution/Ids"
import { Explanation } from "@effect-comfyui/pool/Explanation"
import { Pool } from "@effect-comfyui/pool/Pool"
import type { PoolJob } from "@effect-comfyui/pool/Pool"
import * as Trail from "@effect-comfyui/pool/Trail"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { all, idOf, layerFleet } from "./support/fleet.ts"
import { server } from "./support/heads.ts"
import * as Process from "./support/process.ts"
import { bucket } from "./support/sinks.ts"

const isRunning = (job: PoolJob) => ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"))

/** As it comes back from text: what is not plain JSON would not. */
const explained = Effect.fnUntraced(function*(job: PoolJob) {
  const text = JSON.stringify(yield* Schema.encodeEffect(Explanation)(yield* job.explain))
  return yield* Schema.decodeUnknownEffect(Explanation)(JSON.parse(text))
})

const words = ({ steps }: Explanation): ReadonlyArray<string> =>
  steps.map((step) => {
    switch (step._tag) {
      case "Placed":
        return `Placed ${step.server}`
      case "AttemptEnded":
        return `${step.ending} → ${step.verdict}${step.recalled ? ", recalled" : ""}`
      case "Blocked":
      case "Unblocked":
        return `${step._tag} ${step.scope} ${step.server}`
      case "Ended":
        return step.ending
      default:
        return step._tag
    }
  })

describe("what explains a job", () => {
  it.effect("has every decision with its evidence, the servers that were not chosen, and no word of the prompt", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* pool.servers.pause(idOf(3))
      const busy = yield* pool.submit(Workflows.slow({ seconds: 600 }), { exclude: [idOf(1)] })
      yield* isRunning(busy)
      yield* (yield* ComfyTest.serverOf("gpu-1")).inject(
        Fault.onNode({}, Fault.poisonGpu(), { times: 1 })
      )
      const workflow = Workflows.textToImage({ prompt: "a secret garden" })
      const job = yield* pool.submit(workflow, { tenant: "shop", priority: 3 })
      yield* isRunning(job)
      yield* TestClock.adjust("30 seconds")
      const found = yield* explained(job)
      assert.include(found, { jobId: job.id, tenant: "shop", priority: 3 })
      assert.deepStrictEqual(words(found).slice(0, 3), [
        "Placed gpu-1",
        "Blocked server gpu-1",
        "GpuPoisoned → another-server"
      ])
      const [placed, , ended] = found.steps
      assert.deepStrictEqual(placed?._tag === "Placed" ? placed.others : undefined, {
        groups: [{ why: "busy", servers: [idOf(2)] }, { why: "paused", servers: [idOf(3)] }],
        more: 0
      })
      assert.strictEqual(placed?._tag === "Placed" ? placed.why["policy"] : undefined, "cost-aware")
      assert.isString(ended?._tag === "AttemptEnded" ? ended.evidence["exceptionType"] : undefined)
      assert.deepStrictEqual(found.now?.holds, [])
      assert.deepStrictEqual(found.now?.servers.groups.map(({ why }) => why), [
        "blocked after failures",
        "busy: it may run there later",
        "paused"
      ])
      assert.deepStrictEqual(found.now?.blocked.map(({ cause, scope }) => [scope, cause]), [["server", "GpuPoisoned"]])
      assert.notInclude(JSON.stringify(found), "secret")
      yield* pool.servers.resume(idOf(3))
      yield* all(job)
      const over = yield* pool.explain(job.id)
      assert.deepStrictEqual(words(over).slice(-3), ["Placed gpu-3", "Completed → done", "JobSucceeded"])
      assert.strictEqual(over.now, null)
      assert.strictEqual(over.attempts, 2)
    }).pipe(Effect.provide(layerFleet(3))))

  it.effect("says of a job that waits what holds it, and keeps nothing of its waiting", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* isRunning(yield* pool.submit(Workflows.slow({ seconds: 600 }), { tenant: "film" }))
      const [one, ...more] = yield* Effect.forEach([1, 2, 3], (color) =>
        pool.submit(Workflows.picture({ color }), { tenant: color === 1 ? "film" : "shop" }))
      if (one === undefined) {
        return assert.fail("no job")
      }
      yield* TestClock.adjust("5 minutes")
      const held = yield* explained(one)
      assert.strictEqual(held.status, "Queued")
      assert.deepStrictEqual(held.steps, [])
      assert.deepStrictEqual(held.now?.holds, ["its tenant may run 1 jobs at once, and does"])
      assert.deepStrictEqual(held.now?.router?._tag, "Place")
      for (const job of more) {
        yield* all(job)
      }
      yield* pool.servers.pause(idOf(2))
      const nowhere = yield* pool.submit(Workflows.picture({ color: 9 }), { exclude: [idOf(1)] })
      yield* TestClock.adjust("1 millis")
      const { now } = yield* explained(nowhere)
      assert.deepStrictEqual(now?.router, null)
      assert.deepStrictEqual(
        now?.servers.groups.map(({ servers }) =>
          servers
        ),
        [[idOf(1)], [idOf(2)]]
      )
    }).pipe(Effect.provide(layerFleet(2, { pool: { maxRunningPerTenant: 1 } }))))

  it.effect("says nothing of other pools right after the submission", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      assert.deepStrictEqual((yield* explained(job)).now?.holds, ["the queue has not announced it yet"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual((yield* explained(job)).now?.holds, ["it is claimed, and about to begin"])
      yield* isRunning(job)
      assert.isNull((yield* explained(job)).now)
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("says that another pool holds it, where one does", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* Process.start(1), yield* Process.start(1)]
      const id = JobId.make("poster")
      yield* second.pool.servers.pause(idOf(1))
      yield* TestClock.adjust("1 second")
      const job = yield* second.pool.submit(Workflows.slow({ seconds: 60 }), { id })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* (yield* first.pool.get(id)).status)._tag, "Running")
      assert.deepStrictEqual((yield* explained(job)).now?.holds, ["another pool has claimed or ended it"])
      yield* all(job)
      yield* first.close
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("says that its deadline decided, where there is no time to try again", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* (yield* ComfyTest.serverOf("gpu-1")).inject(
        Fault.onNode({ classType: "FakeSleep" }, Fault.silent(600_000))
      )
      const submittedAt = yield* Clock.currentTimeMillis
      const job = yield* pool.submit(Workflows.slow({ seconds: 5 }), {
        deadline: "20500 millis",
        timeouts: { nodeIdle: "20 seconds" }
      })
      yield* all(job)
      const found = yield* explained(job)
      assert.deepStrictEqual(words(found), ["Placed gpu-1", "NodeTimeout → give-up", "OutOfTime", "JobFailed"])
      const step = found.steps[2]
      if (step?._tag !== "OutOfTime") return assert.fail("no such step")
      assert.strictEqual(step.deadline, submittedAt + 20_500)
      assert.isAbove(step.at + step.retryInMs, step.deadline)
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("has what became of its files", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* all(job)
      const found = yield* explained(job)
      assert.deepStrictEqual(words(found), ["Placed gpu-1", "Completed → done", "Collected", "JobSucceeded"])
      const collected = found.steps.find(({ _tag }) => _tag === "Collected")
      assert.include(collected, { sink: "s3://bucket", files: 1 })
    }).pipe(Effect.provide(layerFleet(1, { pool: { collect: bucket(new Map()) } }))))

  it.effect("says that a run was there when the pool began", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      const id = JobId.make("poster")
      yield* isRunning(yield* first.pool.submit(Workflows.slow({ seconds: 60 }), { id }))
      yield* TestClock.adjust("1 second")
      yield* first.close
      const second = yield* Process.start(1)
      const job = yield* second.pool.get(id)
      yield* all(job)
      const [placed] = (yield* explained(job)).steps
      assert.deepInclude(placed, { _tag: "Placed", others: null })
      assert.strictEqual(placed?._tag === "Placed" ? placed.why["policy"] : undefined, "recovered")
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))

  it.effect("names a hundred servers, and counts the others", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const job = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("1 millis")
      const { now } = yield* explained(job)
      assert.strictEqual(now?.servers.groups.reduce((sum, { servers }) => sum + servers.length, 0), 100)
      assert.strictEqual(now?.servers.more, 20)
    }).pipe(Effect.provide(layerFleet(120, { specs: () => ({ make: Effect.never }) }))))
})

const step = (at: number): Trail.Step => ({ _tag: "Collected", at, sink: "s", files: 0, bytes: 0, ms: 0 })

describe("a trail", () => {
  it("keeps the first and the last steps in order, and says how many it dropped", () =>
    fc.assert(fc.property(fc.nat({ max: 200 }), (count) => {
      const owner: Trail.Owner = { trail: undefined }
      for (let at = 0; at < count; at++) Trail.add(owner, step(at))
      const kept = (owner.trail?.steps ?? []).map(({ at }) => at)
      const all = Array.from({ length: count }, (_, at) => at)
      const expected = count <= 64 ? all : [...all.slice(0, 16), ...all.slice(count - 48)]
      assert.deepStrictEqual(kept, expected)
      assert.strictEqual(owner.trail?.dropped ?? 0, Math.max(0, count - 64))
    })))

  it("counts waits for one reason as one step, with the last time and the last limit", () => {
    const owner: Trail.Owner = { trail: undefined }
    const waits = (at: number, reason: string, until: number | null) =>
      Trail.waited(owner, { at: 1_000_000 + at, now: at }, { _tag: "Wait", until, why: { policy: "p", reason } })
    for (let at = 0; at < 100; at++) waits(at, "a busy server will be warm sooner", at + 50)
    waits(100, "no idle server may run a candidate", null)
    assert.deepStrictEqual(owner.trail?.steps, [
      {
        _tag: "Waited",
        at: 1_000_000,
        lastAt: 1_000_099,
        times: 100,
        until: 1_000_149,
        why: { policy: "p", reason: "a busy server will be warm sooner" }
      },
      {
        _tag: "Waited",
        at: 1_000_100,
        lastAt: 1_000_100,
        times: 1,
        until: null,
        why: { policy: "p", reason: "no idle server may run a candidate" }
      }
    ])
  })

  it("has no limit where a router names none that ends", () => {
    const owner: Trail.Owner = { trail: undefined }
    Trail.waited(owner, { at: 1, now: 1 }, { _tag: "Wait", until: Number.POSITIVE_INFINITY, why: {} })
    const [first] = owner.trail?.steps ?? []
    assert.strictEqual(first?._tag === "Waited" ? first.until : undefined, null)
  })

  it("says what was weighed of the run that was placed, and of no other", () => {
    const run = { number: 1, runId: RunId.make("11111111-1111-4111-8111-111111111111") }
    const others = { groups: [{ why: "busy", servers: [server("b")] }], more: 0 }
    const placed = (weighed: RunId) => {
      const owner: Trail.Owner = { trail: undefined }
      Trail.weighed(owner, weighed, others)
      const common = { jobId: JobId.make("job"), sequence: 1, at: 5 }
      Trail.told(owner, { _tag: "Placed", ...common, server: server("a"), why: {} }, run)
      const [first] = owner.trail?.steps ?? []
      return first?._tag === "Placed" ? first.others : undefined
    }
    assert.deepStrictEqual(placed(run.runId), others)
    assert.strictEqual(placed(RunId.make("22222222-2222-4222-8222-222222222222")), null)
  })

  it("keeps of a failure what is no prompt's text", () => {
    const raised = { nodeId: "3", classType: "KSampler", exceptionType: "ValueError", message: "a secret garden" }
    const evidence = Trail.evidenceOf({ _tag: "NodeFailed", ...raised, traceback: ["a secret garden"] })
    assert.deepStrictEqual(evidence, { nodeId: "3", classType: "KSampler", exceptionType: "ValueError" })
  })
})
