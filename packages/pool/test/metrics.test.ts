import { isJobEnding, type JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as MetricLabels from "@effect-comfyui/pool/MetricLabels"
import { descriptions } from "@effect-comfyui/pool/MetricTable"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { readFileSync } from "node:fs"
import { all, idOf, layerFleet, type Setup } from "./support/fleet.ts"
import { layerRegistry, type Series, series, total } from "./support/metrics.ts"
import { bucket } from "./support/sinks.ts"

const measured = (n: number, setup: Setup = {}, registry = layerRegistry()) =>
  Effect.provide(layerFleet(n, { ...setup, pool: { metrics: true, ...setup.pool } }).pipe(Layer.provideMerge(registry)))

const isRunning = ({ status }: { readonly status: Effect.Effect<{ readonly _tag: string }> }) =>
  ComfyTest.advanceUntil(Effect.map(status, ({ _tag }) => _tag === "Running"))

/** Every series is one that is described, with the labels that are described. */
const describedAll = (written: ReadonlyArray<Series>) => {
  const known = new Map(Object.entries(descriptions).map(([name, { kind, labels }]) => [name, { kind, labels }]))
  for (const { labels, name, type } of written) {
    const of = known.get(name)
    assert.strictEqual(of?.kind, type.toLowerCase(), name)
    assert.sameMembers(Object.keys(labels), [...of?.labels ?? []], name)
  }
}

describe("the page of the metrics", () => {
  it("is the table in the code", () => {
    const page = readFileSync(new URL("../../../docs/metrics.md", import.meta.url), "utf8")
    const rows = page.split("\n").filter((line) => line.startsWith("| `")).map((line) =>
      line.split("|").slice(1, -1).map((cell) => cell.trim())
    )
    assert.deepStrictEqual(
      rows,
      Object.entries(descriptions).map(([name, { kind, labels, meaning, unit }]) => [
        `\`${name}\``,
        kind,
        labels.map((label) => `\`${label}\``).join(", "),
        unit,
        meaning
      ])
    )
  })

  it("has names that say their unit", () => {
    for (const [name, { kind, unit }] of Object.entries(descriptions)) {
      assert.match(name, /^comfy_[a-z_]+$/)
      assert.strictEqual(name.endsWith("_total"), kind === "counter", name)
      if (unit === "seconds" || unit === "bytes") assert.include(name, unit)
    }
  })
})

describe("metrics of a pool", () => {
  it.effect(
    "add up with the ledgers after a storm of a thousand jobs",
    () =>
      Effect.gen(function*() {
        const pool = yield* Pool
        const bad = yield* ComfyTest.serverOf("gpu-3")
        yield* bad.inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
        const jobs = yield* Effect.forEach(
          Array.from({ length: 1_000 }, (_, i) => i),
          (i) =>
            pool.submit(i % 50 === 49 ? Workflows.failing : Workflows.picture({ color: i }), {
              tenant: `tenant-${i % 7}`
            })
        )
        for (const job of jobs.slice(-20)) yield* job.cancel
        // The queue announces what it took a moment later.
        yield* TestClock.adjust("1 millis")
        const before = yield* series
        assert.isAbove(total(before, "comfy_queue_jobs"), 800)
        assert.strictEqual(
          total(before, "comfy_queue_jobs") + total(before, "comfy_jobs_running") +
            total(before, "comfy_jobs_ended_total"),
          1_000
        )
        yield* ComfyTest.advanceUntil(
          Effect.map(pool.servers.get, (views) => views.some(({ jobs }) => jobs.length > 0))
        )
        yield* (yield* ComfyTest.serverOf("gpu-1")).restart
        const events: Array<JobEvent> = []
        for (const job of jobs) events.push(...yield* all(job))
        yield* TestClock.adjust("1 minute")
        const written = yield* series
        describedAll(written)
        const count = (tag: JobEvent["_tag"]) => events.filter(({ _tag }) => _tag === tag).length
        assert.strictEqual(total(written, "comfy_jobs_queued_total"), 1_000)
        assert.strictEqual(total(written, "comfy_jobs_queued_total", { tenant: "tenant-3" }), 143)
        assert.strictEqual(total(written, "comfy_jobs_ended_total"), 1_000)
        for (const ending of ["JobSucceeded", "JobFailed", "JobCancelled", "DeadLettered"] as const) {
          assert.strictEqual(total(written, "comfy_jobs_ended_total", { ending }), count(ending), ending)
        }
        assert.strictEqual(total(written, "comfy_jobs_failed_total"), count("JobFailed") + count("DeadLettered"))
        assert.strictEqual(total(written, "comfy_placements_total"), count("Placed"))
        assert.strictEqual(total(written, "comfy_attempts_total"), count("AttemptEnded"))
        assert.strictEqual(total(written, "comfy_job_wait_seconds"), 1_000 - 20)
        const { atLeast, atMost } = events.filter(isJobEnding).reduce(
          (sum, { executions }) => ({
            atLeast: sum.atLeast + executions.atLeast,
            atMost: sum.atMost + executions.atMost
          }),
          { atLeast: 0, atMost: 0 }
        )
        assert.strictEqual(total(written, "comfy_executions_total", { bound: "at_least" }), atLeast)
        assert.strictEqual(total(written, "comfy_executions_total", { bound: "at_most" }), atMost)
        const ledgers = yield* Effect.forEach(
          [1, 2, 3, 4, 5, 6],
          (n) => Effect.flatMap(ComfyTest.serverOf(ComfyTest.nameOf(n)), ({ ledger }) => ledger)
        )
        const started = ledgers.flatMap(({ prompts }) => prompts).filter(({ startedAt }) =>
          startedAt !== undefined
        ).length
        assert.isAtLeast(started, atLeast)
        assert.isAtMost(started, atMost)
        assert.strictEqual(total(written, "comfy_queue_jobs"), 0)
        assert.strictEqual(total(written, "comfy_queue_oldest_age_seconds"), 0)
        assert.strictEqual(total(written, "comfy_jobs_running"), 0)
        assert.strictEqual(total(written, "comfy_servers"), 6)
        assert.isAtLeast(total(written, "comfy_servers_restarted_total", { server: "gpu-1" }), 1)
        assert.isAtLeast(
          total(written, "comfy_breakers_opened_total", { server: "gpu-3", scope: "server", cause: "GpuPoisoned" }),
          1
        )
      }).pipe(measured(6))
  )

  it.effect("say what waits of whom, and since when; of more tenants than there is room for, of all others together", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* isRunning(yield* pool.submit(Workflows.slow({ seconds: 600 }), { tenant: "film" }))
      yield* pool.submit(Workflows.picture(), { tenant: "shop" })
      yield* TestClock.adjust("40 seconds")
      yield* pool.submit(Workflows.picture(), { tenant: "shop" })
      yield* TestClock.adjust("1 millis")
      const some = yield* series
      assert.strictEqual(total(some, "comfy_queue_jobs", { tenant: "shop" }), 2)
      assert.strictEqual(total(some, "comfy_queue_oldest_age_seconds", { tenant: "shop" }), 40.001)
      assert.strictEqual(total(some, "comfy_queue_jobs", { tenant: "film" }), 0)
      assert.strictEqual(total(some, "comfy_servers", { status: "busy" }), 1)
      for (let i = 0; i < 250; i++) yield* pool.submit(Workflows.picture(), { tenant: `visitor ${i}` })
      yield* TestClock.adjust("1 millis")
      const many = yield* series
      const tenants = many.filter(({ name }) => name === "comfy_queue_jobs")
      assert.strictEqual(tenants.length, MetricLabels.maxValues + 1)
      assert.strictEqual(total(many, "comfy_queue_jobs", { tenant: MetricLabels.other }), 52)
      assert.strictEqual(total(many, "comfy_queue_jobs"), 252)
      describedAll(many)
    }).pipe(measured(1)))

  it.effect("of files, of runs and of what a socket missed", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const bytes = new TextEncoder().encode("a picture of a kind")
      const job = yield* pool.submit(Workflows.picture(), { attachments: [{ filename: "in.png", content: bytes }] })
      yield* all(job)
      const files = yield* series
      assert.strictEqual(total(files, "comfy_transferred_bytes_total", { server: "gpu-1" }), bytes.byteLength)
      assert.strictEqual(total(files, "comfy_transfer_seconds"), 1)
      assert.strictEqual(total(files, "comfy_collected_files_total", { sink: "s3://bucket" }), 1)
      assert.strictEqual(total(files, "comfy_collect_seconds", { sink: "s3://bucket" }), 1)
      const long = yield* pool.submit(Workflows.counting({ steps: 60, stepMs: 16_000 }))
      yield* isRunning(long)
      yield* TestClock.adjust("5 minutes")
      yield* (yield* ComfyTest.serverOf("gpu-1")).deafenSockets()
      yield* all(long)
      const written = yield* series
      assert.strictEqual(total(written, "comfy_sockets_lost_total", { server: "gpu-1", reason: "Deaf" }), 1)
      assert.isAtLeast(total(written, "comfy_gaps_total", { server: "gpu-1", cause: "socket" }), 1)
      const runs = written.find(({ name }) => name === "comfy_run_seconds")
      assert.strictEqual(runs?.value, 2)
      assert.isAtLeast(runs?.sum ?? 0, 900)
      describedAll(written)
    }).pipe(measured(1, { pool: { collect: bucket(new Map()) } })))

  it.effect("of a server go with it, and gauges with the pool", () =>
    Effect.gen(function*() {
      const inside = Effect.gen(function*() {
        const pool = yield* Pool
        yield* all(yield* pool.submit(Workflows.picture()))
        yield* pool.servers.remove(idOf(2))
        return yield* series
      })
      const written = yield* Effect.provide(inside, layerFleet(2, { pool: { metrics: true } }))
      const blocked = written.filter(({ name }) => name === "comfy_breakers_open")
      assert.deepStrictEqual(blocked.map(({ labels }) => labels), [{ server: "gpu-1" }])
      const after = yield* series
      assert.deepStrictEqual(after.filter(({ type }) => type === "Gauge"), [])
      assert.strictEqual(total(after, "comfy_jobs_ended_total", { ending: "JobSucceeded" }), 1)
    }).pipe(Effect.provide(layerRegistry())))

  it.effect("are none where nobody wants them", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* all(yield* pool.submit(Workflows.picture()))
      assert.deepStrictEqual(yield* series, [])
    }).pipe(measured(1, { pool: { metrics: false } })))
})

/** Refuses all that is asked of it. */
class Broken extends Map<string, never> {
  override get(): never {
    throw new Error("no registry today")
  }
}

const logging = (logger: Logger.Logger<unknown, void>): Layer.Layer<never> =>
  Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, "All"))

const broken = Logger.make(() => {
  throw new Error("no log today")
})

describe("no job is touched", () => {
  const lines: Array<unknown> = []
  const seen = Logger.make(({ message }) => void lines.push(message))
  it.effect("by a registry that throws, which is said once", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const jobs = yield* Effect.forEach([1, 2, 3, 4], (color) => pool.submit(Workflows.picture({ color })))
      for (const job of jobs) assert.strictEqual((yield* all(job)).at(-1)?._tag, "JobSucceeded")
      const said = lines.filter((line) => JSON.stringify(line).includes("no registry today"))
      assert.strictEqual(said.length, 1)
    }).pipe(measured(2, { log: logging(seen) }, layerRegistry(new Broken()))))

  it.effect("by one series that throws: the others are as they should be", () => {
    const registry = new Map()
    const thrown: Array<string> = []
    return Effect.gen(function*() {
      const pool = yield* Pool
      yield* all(yield* pool.submit(Workflows.picture({ color: 1 })))
      for (const one of registry.values()) {
        if (one.id !== "comfy_attempts_total") continue
        one.hooks.update = () => {
          thrown.push(one.id)
          throw new Error("this series is closed")
        }
      }
      yield* all(yield* pool.submit(Workflows.picture({ color: 2 })))
      assert.deepStrictEqual(thrown, ["comfy_attempts_total"])
      const written = yield* series
      assert.strictEqual(total(written, "comfy_attempts_total"), 1)
      assert.strictEqual(total(written, "comfy_jobs_ended_total", { ending: "JobSucceeded" }), 2)
    }).pipe(measured(1, {}, layerRegistry(registry)))
  })

  it.effect("by subscribers that throw, by one that never reads, by a logger that throws; and nothing is miscounted", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const own = Effect.die(new Error("a subscriber's own fault"))
      const thrown = yield* Effect.forkChild(Effect.exit(Stream.runForEach(pool.events, () => own)), {
        startImmediately: true
      })
      yield* Effect.forkChild(Stream.runForEach(pool.events, () => Effect.never), { startImmediately: true })
      yield* Effect.forkChild(Stream.runForEach(pool.state.changes, () => Effect.never), { startImmediately: true })
      const jobs = yield* Effect.forEach(
        Array.from({ length: 300 }, (_, color) => color),
        (color) => pool.submit(Workflows.picture({ color }))
      )
      for (const job of jobs) assert.strictEqual((yield* all(job)).at(-1)?._tag, "JobSucceeded")
      assert.strictEqual((yield* Fiber.join(thrown))._tag, "Failure")
      // More happened than a listener may lag behind.
      assert.strictEqual(total(yield* series, "comfy_jobs_ended_total", { ending: "JobSucceeded" }), 300)
    }).pipe(measured(4, { log: logging(broken) })))
})
