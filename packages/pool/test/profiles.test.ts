// Where the time of a pool's jobs went.
import type { NodeBegan } from "@effect-comfyui/pool/NodeHooks"
import { Pool } from "@effect-comfyui/pool/Pool"
import type { JobProfile } from "@effect-comfyui/profiling/JobProfile"
import type { SlowNode } from "@effect-comfyui/profiling/SlowNodes"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet } from "./support/fleet.ts"
import * as Process from "./support/process.ts"

describe("a pool that is asked for profiles", () => {
  it.effect("has one of each job, open or ended, with its waits and all its attempts", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const heard: Array<JobProfile> = []
      yield* Effect.forkScoped(
        Stream.runForEach(pool.profiles.finished, (profile) => Effect.sync(() => void heard.push(profile))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      const first = yield* pool.submit(Workflows.slow({ seconds: 30 }), { tenant: "a" })
      const second = yield* pool.submit(Workflows.slow({ seconds: 5 }), { tenant: "b" })
      yield* TestClock.adjust("10 seconds")
      const open = Option.getOrThrow(yield* pool.profiles.get(first.id))
      assert.deepInclude(open, { state: "running", queueMs: 0 })
      assert.strictEqual(Option.getOrThrow(yield* pool.profiles.get(second.id)).state, "queued")
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.kill
      yield* server.restart
      for (const job of [first, second]) yield* all(job)
      const done = Option.getOrThrow(yield* pool.profiles.get(first.id))
      assert.deepInclude(done, { state: "succeeded", decidedBy: 2 })
      assert.deepStrictEqual(done.attempts.map(({ reason }) => reason), ["Lost", null])
      const [, last] = done.attempts
      const slow = last?.run.nodes.find(({ nodeId }) => nodeId === "2")
      assert.approximately(slow?.durationMs ?? 0, 30_000, 50)
      assert.isAbove(Option.getOrThrow(yield* pool.profiles.get(second.id)).queueMs ?? 0, 10_000)
      assert.deepStrictEqual(heard.map(({ jobId }) => jobId).toSorted(), [first.id, second.id].toSorted())
      const { tenants, servers } = yield* pool.profiles.statistics.get
      assert.strictEqual(JSON.stringify(tenants).includes("\"a\""), true)
      assert.strictEqual(JSON.stringify(servers).includes("gpu-1"), true)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))

  it.effect("counts nothing that ended in another process", () =>
    Effect.gen(function*() {
      const first = yield* Process.start(1)
      const job = yield* first.pool.submit(Workflows.picture())
      yield* all(job)
      yield* first.close
      const second = yield* Process.start(1, { profiles: true })
      const again = yield* second.pool.get(job.id)
      assert.strictEqual((yield* again.status)._tag, "Ended")
      assert.isTrue(Option.isNone(yield* second.pool.profiles.get(job.id)))
      assert.strictEqual(JSON.stringify(yield* second.pool.profiles.statistics.get).includes("gpu-1"), false)
      yield* second.close
    }).pipe(Effect.provide(Process.layerWorld(1, 1))))
})

describe("hooks of a pool that is asked for profiles", () => {
  it.effect("tell of each node that begins, with its title and what it is expected to take", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const began: Array<NodeBegan> = []
      yield* Effect.forkScoped(
        Stream.runForEach(pool.profiles.nodeStarts, (node) => Effect.sync(() => void began.push(node))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      for (const seconds of [30, 31]) {
        const { nodes } = Workflows.slow({ seconds })
        const titled = Object.entries(nodes).map(([id, node]) =>
          [id, { ...node, _meta: { title: `node ${id}` } }] as const
        )
        yield* all(yield* pool.submit(Workflow.fromNodes(Object.fromEntries(titled))))
      }
      const sleeps = began.filter(({ classType }) => classType === "FakeSleep")
      assert.deepStrictEqual(sleeps.map(({ nodeId, server, title }) => [nodeId, server, title]), [
        ["2", idOf(1), "node 2"],
        ["2", idOf(1), "node 2"]
      ])
      assert.deepStrictEqual(sleeps.map(({ expectedMs }) => Math.round((expectedMs ?? 0) / 1_000)), [0, 30])
      assert.isNull(sleeps[0]?.expectedMs ?? null)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))

  it.effect("tell of a node that takes three times as long as its like, while it still runs", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const slow: Array<SlowNode> = []
      yield* Effect.forkScoped(
        Stream.runForEach(pool.profiles.slowNodes(), (node) => Effect.sync(() => void slow.push(node))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      for (let i = 0; i < 5; i++) yield* all(yield* pool.submit(Workflows.slow({ seconds: 10 + i / 100 })))
      const job = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      yield* TestClock.adjust("20 seconds")
      assert.deepStrictEqual(slow, [])
      yield* TestClock.adjust("13 seconds")
      assert.deepStrictEqual((yield* job.status)._tag, "Running")
      assert.deepStrictEqual(slow.map(({ by, classType, jobId }) => [jobId, classType, by]), [[
        job.id,
        "FakeSleep",
        "estimate"
      ]])
      yield* all(job)
      assert.strictEqual(slow.length, 1)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))

  it.effect("report that jobs of three checkpoints alternate on one server, from figures", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const names = ["people", "scenery", "posters"].map((name) => `${name}.safetensors`)
      const picture = (i: number, n: number) =>
        Workflows.textToImage({ checkpoint: names[n] ?? "", seed: i, steps: 4, width: 64, height: 64 })
      // Each twice, so that cold and warm are both known; then one after the other.
      for (let i = 0; i < 24; i++) {
        yield* all(yield* pool.submit(picture(i, i < 6 ? Math.floor(i / 2) : i % 3)))
      }
      const { findings, jobs } = yield* pool.profiles.bottlenecks.get
      assert.strictEqual(jobs, 24)
      const cold = findings.find(({ kind }) => kind === "cold")
      assert.deepInclude(cold, { kind: "cold", server: idOf(1) })
      assert.deepInclude(cold?.figures, { runs: 24, keys: 3 })
      assert.include(cold?.advice ?? "", "jobs of 3 sets of models alternate there")
      const [profile] = yield* Stream.runCollect(Stream.take(pool.profiles.bottlenecks.changes, 1))
      assert.deepStrictEqual(profile?.findings, findings)
    }).pipe(Effect.provide(layerFleet(1, {
      pool: { profiles: true },
      servers: () => ({
        hardware: { vramBytes: 8_000_000_000, diskBytesPerSecond: 1_000_000_000, stepMsPerMegapixel: 48_828 },
        models: {
          checkpoints: ["people", "scenery", "posters"].map((name) => ({
            name: `${name}.safetensors`,
            bytes: 2_000_000_000
          }))
        }
      })
    }))))

  it.effect("keep no graph of jobs that wait, and have their profiles all the same", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const jobs = yield* Effect.forEach([1, 2, 3], (i) =>
        pool.submit(Workflows.slow({ seconds: i + 10 }), { tenant: "a" }))
      yield* TestClock.adjust("1 second")
      const states = yield* Effect.forEach(jobs, (job) =>
        Effect.map(job.profile, Option.getOrThrow))
      assert.deepStrictEqual(states.map(({ state }) => state), ["running", "queued", "queued"])
      const last = jobs.at(-1)
      if (last === undefined) return assert.fail()
      yield* pool.cancel(last.id)
      assert.deepInclude(Option.getOrThrow(yield* last.profile), { state: "cancelled", attempts: [] })
      for (const job of jobs) yield* all(job)
      const done = Option.getOrThrow(yield* (jobs[1] ?? last).profile)
      assert.deepInclude(done, { state: "succeeded", decidedBy: 1 })
      assert.closeTo(done.queueMs ?? 0, 11_000, 200)
      // Its graph came with the attempt: titles, and the critical path.
      assert.deepStrictEqual(done.attempts[0]?.run.criticalPath?.nodeIds.includes("2"), true)
    }).pipe(Effect.provide(layerFleet(1, { pool: { profiles: true } }))))
})

it.effect("a pool that is not asked has none", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const job = yield* pool.submit(Workflows.picture())
    yield* all(job)
    assert.isTrue(Option.isNone(yield* pool.profiles.get(job.id)))
    assert.isTrue(Option.isNone(yield* job.profile))
    assert.isTrue(Option.isNone(yield* job.eta))
    assert.deepStrictEqual(Array.from(yield* Stream.runCollect(pool.profiles.finished)), [])
  }).pipe(Effect.provide(layerFleet(1))))
