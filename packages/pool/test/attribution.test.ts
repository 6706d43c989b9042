// Whose fault it is: one bad server, one bad tenant, one bad content, cards that are too small.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import { Pool } from "@effect-comfyui/pool/Pool"
import type * as PoolModule from "@effect-comfyui/pool/Pool"
import * as Servers from "@effect-comfyui/pool/Servers"
import { ComfyTest, NodeClass, Plan, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Redacted from "effect/Redacted"
import type * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet } from "./support/fleet.ts"

const endingOf = (events: ReadonlyArray<JobEvent>) => events.find(isJobEnding)

const endings = (jobs: ReadonlyArray<PoolModule.PoolJob>) =>
  ComfyTest.advanceWhile(
    Effect.forEach(jobs, (job) => Effect.map(Stream.runCollect(job.events()), endingOf), { concurrency: "unbounded" }),
    { limit: "1 day", step: "5 seconds" }
  )

const range = (count: number) => Array.from({ length: count }, (_, i) => i)

const promptsOn = (n: number) =>
  Effect.map(
    Effect.flatMap(ComfyTest.serverOf(ComfyTest.nameOf(n)), ({ ledger }) => ledger),
    ({ prompts }) => prompts.filter(({ startedAt }) => startedAt !== undefined).length
  )

const GB = 1024 ** 3

/** A class that does on each server what the function says of it. */
const own = (
  name: string,
  run: (inputs: { readonly width: number | bigint; readonly n: number | bigint }) => Plan.Plan
) =>
  NodeClass.define({
    class: name,
    required: {
      width: NodeClass.int({ default: 512, min: 1, max: 100_000 }),
      height: NodeClass.int({ default: 512, min: 1, max: 100_000 }),
      n: NodeClass.int({ default: 0, min: 0, max: 1_000_000 })
    },
    outputs: ["*"],
    outputNode: true,
    info: { module: "custom_nodes.fake", category: "fake" },
    run
  })

const works = () => Plan.returns([null], { ui: { text: ["done"] }, steps: [Plan.wait(500)] })

const workflow = (name: string, n: number, side = 512) =>
  Workflow.fromNodes({ "1": { class_type: name, inputs: { width: side, height: side, n } } })

describe("one server of eight whose card is broken", () => {
  const poisoned = () => Plan.raises("torch.AcceleratorError", "CUDA error: an illegal memory access was encountered")
  it.effect("is touched by at most 5 of 1,000 jobs, and none of them fails for it", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const jobs = yield* Effect.forEach(range(1_000), (n) => pool.submit(workflow("Draw", n)))
      const ended = yield* endings(jobs)
      assert.deepStrictEqual([...new Set(ended.map((ending) => ending?._tag))], ["JobSucceeded"])
      assert.isAtMost(yield* promptsOn(8), 5)
    }).pipe(Effect.provide(layerFleet(8, {
      servers: (n) => ({ nodes: [own("Draw", n === 8 ? poisoned : works)] })
    }))))
})

describe("a tenant with 50 bad inputs", () => {
  const bad = NodeClass.define({
    class: "Draw",
    required: { n: NodeClass.int({ default: 0, min: 0, max: 1_000_000 }) },
    outputs: ["*"],
    outputNode: true,
    info: { module: "custom_nodes.fake", category: "fake" },
    run: ({ n }) => Number(n) >= 1_000 ? Plan.raises("ValueError", "it does not fit") : works()
  })
  const draw = (n: number) => Workflow.fromNodes({ "1": { class_type: "Draw", inputs: { n } } })
  /** Milliseconds until the last of 100 jobs of the other tenant has succeeded. */
  const taken = (inputs: number) =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const since = yield* Clock.currentTimeMillis
      const others = yield* Effect.forEach(range(inputs), (n) => pool.submit(draw(1_000 + n), { tenant: "a" }))
      const jobs = yield* Effect.forEach(range(100), (n) => pool.submit(draw(n), { tenant: "b" }))
      const ended = yield* endings(jobs)
      assert.isTrue(ended.every((ending) => ending?._tag === "JobSucceeded"))
      const failed = yield* endings(others)
      assert.isTrue(failed.every((ending) => ending?._tag === "JobFailed"))
      return Math.max(...ended.map((ending) => ending?.at ?? 0)) - since
    }).pipe(Effect.provide(layerFleet(4, { servers: () => ({ nodes: [bad] }) })))

  it.effect("costs another one on the same workflow at most a twentieth of its throughput", () =>
    Effect.gen(function*() {
      const alone = yield* taken(0)
      const beside = yield* taken(50)
      assert.isAtLeast(alone / beside, 0.95)
    }))
})

describe("a content that ends processes", () => {
  it.effect("takes down at most 2 of 60 servers, however often it is sent; other jobs of its workflow succeed", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const deadly = Workflow.fromNodes({ "1": { class_type: "FakeExit", inputs: { seconds: 1 } } })
      const first = yield* pool.submit(deadly)
      const later = yield* Effect.forEach(range(5), () =>
        Effect.delay(pool.submit(deadly), "1 millis").pipe(
          (job) => ComfyTest.advanceWhile(Effect.delay(job, "30 seconds"))
        ))
      const others = yield* Effect.forEach(range(60), (n) => pool.submit(Workflows.slow({ seconds: 2 + n / 100 })))
      const ended = yield* endings([first, ...later])
      for (const ending of ended) {
        // Those that only waited, too: a person may redrive each.
        const error = ending?._tag === "DeadLettered" ? ending.error : undefined
        assert.strictEqual(error?.reason._tag, "PoisonJob")
      }
      assert.isTrue((yield* endings(others)).every((ending) => ending?._tag === "JobSucceeded"))
      let down = 0
      for (const n of range(60)) {
        const { prompts } = yield* (yield* ComfyTest.serverOf(ComfyTest.nameOf(n + 1))).ledger
        down += prompts.filter(({ outcome }) => outcome === "lost").length
      }
      assert.isAtMost(down, 2)
    }).pipe(Effect.provide(layerFleet(60))))
})

describe("a server that sends a partner's key along", () => {
  const key = Redacted.make("comfyui-key")
  const keyed = (n: number) => ({
    make: Effect.map(
      ComfyClient.make({
        id: ComfyTest.nameOf(n),
        url: ComfyTest.urlOf(ComfyTest.nameOf(n)),
        comfyOrgApiKey: Effect.succeed(key)
      }),
      ComfyClient.backend
    )
  })
  const lostOn = (paid: boolean | undefined) =>
    Effect.gen(function*() {
      const fakes = yield* Effect.context<HttpClient.HttpClient | Socket.WebSocketConstructor>()
      const pool = yield* Pool
      for (const n of [1, 2]) yield* pool.servers.add(Servers.provide({ id: idOf(n), ...keyed(n) }, fakes))
      yield* TestClock.adjust("1 second")
      const job = yield* pool.submit(Workflows.slow({ seconds: 60 }), paid === undefined ? {} : { paid })
      yield* TestClock.adjust("5 seconds")
      const [attempt] = yield* job.why
      const server = yield* ComfyTest.serverOf(attempt?.server ?? "")
      yield* server.kill
      yield* server.restart
      return endingOf(yield* all(job))
    }).pipe(Effect.provide(layerFleet(2, { members: 0 })))

  it.effect("runs nothing twice that may have cost money, unless the job says that it costs none", () =>
    Effect.gen(function*() {
      const ending = yield* lostOn(undefined)
      assert.strictEqual(ending?._tag === "DeadLettered" ? ending.error.reason._tag : ending?._tag, "MaybeExecuted")
      assert.strictEqual((yield* lostOn(false))?._tag, "JobSucceeded")
    }))
})

describe("cards of 12, 24 and 80 GB", () => {
  const cards = [12, 12, 24, 80]
  const draw = (bytes: number) =>
    own("Draw", ({ width }) => Number(width) > 1_024 && bytes < 20 * GB ? Plan.outOfMemory({}) : works())

  it.effect("a job that needs 20 runs twice at most, the next of its size once; small ones go on using the small cards", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      yield* TestClock.adjust("1 second")
      const first = yield* all(yield* pool.submit(workflow("Draw", 0, 2_048)))
      const ending = endingOf(first)
      assert.strictEqual(ending?._tag, "JobSucceeded")
      assert.isAtMost(ending?.executions.atMost ?? 9, 2)
      const large = yield* endings(
        yield* Effect.forEach(range(20), (n) => pool.submit(workflow("Draw", 1 + n, 2_048)))
      )
      const ranOut = first.some((event) => event._tag === "AttemptEnded" && event.ending._tag === "Failed")
      assert.isTrue(large.every((one) => one?._tag === "JobSucceeded"))
      if (ranOut) assert.isTrue(large.every((one) => one?.executions.atMost === 1))
      const before = (yield* promptsOn(1)) + (yield* promptsOn(2))
      const small = yield* endings(yield* Effect.forEach(range(40), (n) => pool.submit(workflow("Draw", 100 + n))))
      assert.isTrue(small.every((one) => one?._tag === "JobSucceeded" && one.executions.atMost === 1))
      assert.isAbove((yield* promptsOn(1)) + (yield* promptsOn(2)) - before, 10)
    }).pipe(Effect.provide(layerFleet(4, {
      servers: (n) => ({ nodes: [draw((cards[n - 1] ?? 0) * GB)], hardware: { vramBytes: (cards[n - 1] ?? 0) * GB } })
    }))))
})
