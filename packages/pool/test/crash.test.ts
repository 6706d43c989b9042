// A dispatcher that is killed, and the one that takes its place: no job lost, none run twice, each told of once.
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Process from "./support/process.ts"

const servers = 8

/** How often the prompt of each job was started, on all servers together. */
const executions = Effect.gen(function*() {
  const started = new Map<string, number>()
  for (let n = 1; n <= servers; n++) {
    const { prompts } = yield* (yield* ComfyTest.serverOf(ComfyTest.nameOf(n))).ledger
    for (const { promptId, startedAt } of prompts) {
      if (startedAt !== undefined) started.set(promptId, (started.get(promptId) ?? 0) + 1)
    }
  }
  return started
})

const isDone = (jobs: number) =>
  Effect.gen(function*() {
    const { claimed, dead, ended, waiting } = yield* (yield* JobQueue).stats
    return waiting + claimed === 0 && ended + dead === jobs
  })

/** Somewhere in the life of a process, before a request is made or after it was answered. */
const someRequests = Effect.map(Random.next, (random) => 40 + Math.floor(random * 1_200) / 2)

const play = (seed: number, jobs: number, kills: number) =>
  Effect.gen(function*() {
    const queue = yield* JobQueue
    const first = yield* Process.start(servers)
    yield* TestClock.adjust("1 second")
    yield* Effect.forEach(
      Array.from({ length: jobs }, (_, i) => i),
      (i) => first.pool.submit(Workflows.slow({ seconds: 1 + i % 5 + i / 1000 })),
      { discard: true }
    )
    yield* TestClock.adjust(Math.floor(20_000 * (yield* Random.next)))
    yield* first.kill
    const all = [first]
    while (all.length <= kills) {
      const mortal = yield* Process.start(servers, { requests: yield* someRequests })
      all.push(mortal)
      yield* ComfyTest.advanceUntil(
        Effect.map(isDone(jobs), (done) => done || mortal.isDead()),
        { step: "1 second", limit: "2 hours" }
      )
    }
    const process = yield* Process.start(servers)
    all.push(process)
    yield* ComfyTest.advanceUntil(isDone(jobs), { step: "5 seconds", limit: "2 hours" })
    const wrong: Array<string> = []
    const records = yield* queue.list({ limit: 1_000 })
    for (const { ending, head, state } of records) {
      if (state !== "succeeded") wrong.push(`${head.id} is ${state}: ${JSON.stringify(ending)}`)
      const told = all.flatMap(({ endings }) => endings).filter(({ jobId }) => jobId === head.id)
      if (told.length > 1) wrong.push(`${head.id} was told of ${told.length} times`)
      // Whoever died between writing it and telling it left it in the queue, where the next process finds it.
      const events = yield* Stream.runCollect((yield* process.pool.get(head.id)).events())
      const endings = events.filter(isJobEnding)
      if (endings.length !== 1 || endings[0]?._tag !== ending?._tag) wrong.push(`${head.id} is not told of later`)
    }
    const started = yield* executions
    const runs = [...started.values()].reduce((sum, times) => sum + times, 0)
    yield* process.close
    return { wrong, runs, seed }
  }).pipe(
    Effect.provide(Process.layerWorld(servers, seed).pipe(Layer.provideMerge(TestClock.layer()))),
    Random.withSeed(seed),
    Effect.scoped
  )

const count = Number(process.env["CRASH_SEEDS"] ?? 6)

describe("a dispatcher that is killed", { concurrent: false }, () => {
  for (const seed of Array.from({ length: count }, (_, i) => i + 1)) {
    const kills = 1 + seed % 3
    it.live(
      `amid 200 jobs, ${kills} times: each runs once, and is told of once (seed ${seed})`,
      () =>
        Effect.gen(function*() {
          const { runs, wrong } = yield* play(seed, 200, kills)
          assert.deepStrictEqual(wrong, [])
          assert.strictEqual(runs, 200)
        }),
      120_000
    )
  }
})
