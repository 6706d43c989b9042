import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { ready as known } from "./support/ask.ts"
import { all, foreign, idOf, layerFleet, type Setup, told } from "./support/fleet.ts"

const fleet = (n: number, setup: Setup = {}) => Effect.provide(layerFleet(n, setup))

const GiB = 1024 ** 3

describe("lanes", () => {
  const lanes = [{ under: "30 seconds", servers: [idOf(1)] }] as const

  it.effect("a hundred films leave the lane to pictures", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const film = (n: number) => pool.submit(Workflows.slow({ seconds: 600 + n }), { estimate: "10 minutes" })
      for (let n = 0; n < 5; n++) yield* film(n)
      yield* TestClock.adjust("1 minute")
      const picture = yield* pool.submit(Workflows.picture(), { estimate: "5 seconds" })
      const events = yield* all(picture)
      assert.deepStrictEqual(told(events).slice(0, 2), ["Queued", "Placed gpu-1"])
      const [one, two] = yield* pool.servers.get
      assert.deepStrictEqual([one?.jobs.length, two?.jobs.length], [0, 1])
    }).pipe(fleet(2, { pool: { lanes } })))

  it.effect("what has run before is judged by that, not by what it says of itself", () =>
    Effect.gen(function*() {
      const pool = yield* known
      for (let n = 0; n < 3; n++) {
        const job = yield* pool.submit(Workflows.slow({ seconds: 600 + n }), {
          estimate: n === 0 ? "1 hour" : "1 second"
        })
        assert.strictEqual(told(yield* all(job))[1], "Placed gpu-2")
      }
    }).pipe(fleet(2, { pool: { lanes } })))

  it.effect("a fleet of lanes only makes nobody wait for ever", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const job = yield* pool.submit(Workflows.slow({ seconds: 600 }))
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
    }).pipe(fleet(1, { pool: { lanes } })))
})

describe("wishes of a job", () => {
  it.effect("it goes to the server it prefers while that is idle, else to another", () =>
    Effect.gen(function*() {
      const pool = yield* known
      for (let n = 0; n < 3; n++) {
        const job = yield* pool.submit(Workflows.picture({ color: n }), { prefer: [idOf(3)] })
        assert.strictEqual(told(yield* all(job))[1], "Placed gpu-3")
      }
      yield* pool.servers.pause(idOf(3))
      const other = yield* pool.submit(Workflows.picture({ color: 9 }), { prefer: [idOf(3)] })
      assert.strictEqual(told(yield* all(other)).at(-1), "JobSucceeded")
    }).pipe(fleet(3)))
})

describe("memory", () => {
  const cards: Setup = { servers: (n) => ({ hardware: { vramBytes: (n === 3 ? 24 : 8) * GiB } }) }

  it.effect("what was too large for a card goes to a larger one, and to no other of its size", () =>
    Effect.gen(function*() {
      const pool = yield* known
      yield* pool.servers.pause(idOf(3))
      for (const n of [1, 2]) {
        yield* (yield* ComfyTest.serverOf(ComfyTest.nameOf(n))).inject(Fault.onNode({}, Fault.outOfMemory()))
      }
      const job = yield* pool.submit(Workflows.picture())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* job.why).length, 1)
      yield* pool.servers.resume(idOf(3))
      const words = told(yield* all(job))
      assert.deepStrictEqual(words.slice(2), [
        "OutOfMemory → another-server",
        "Placed gpu-3",
        "Completed → done",
        "JobSucceeded"
      ])
    }).pipe(fleet(3, cards)))

  it.effect("where no card is larger the job ends, and has run once", () =>
    Effect.gen(function*() {
      const pool = yield* known
      for (const n of [1, 2]) {
        yield* (yield* ComfyTest.serverOf(ComfyTest.nameOf(n))).inject(Fault.onNode({}, Fault.outOfMemory()))
      }
      const events = yield* all(yield* pool.submit(Workflows.picture()))
      assert.deepStrictEqual(told(events).slice(2), ["OutOfMemory → give-up", "JobFailed"])
    }).pipe(fleet(2, cards)))

  it.effect("beside another workflow it is tried once more on the same card, whose memory is freed first", () =>
    Effect.gen(function*() {
      const pool = yield* known
      yield* all(yield* pool.submit(Workflows.textToImage()))
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.inject(Fault.onNode({}, Fault.outOfMemory(), { times: 1 }))
      const words = told(yield* all(yield* pool.submit(Workflows.picture())))
      assert.deepStrictEqual(words.slice(2), [
        "OutOfMemory → same-server",
        "Placed gpu-1",
        "Completed → done",
        "JobSucceeded"
      ])
      assert.strictEqual((yield* server.requests).filter(({ target }) => target === "/free").length, 1)
    }).pipe(fleet(1, cards)))
})

describe("what a server lacks", () => {
  it.effect("a refusal that names a file is a fact about that server: the next job does not ask it again", () =>
    Effect.gen(function*() {
      const pool = yield* known
      const server = yield* ComfyTest.serverOf("gpu-1")
      // Its lists have the file, its validation does not.
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.respond(refusal)))
      yield* pool.servers.pause(idOf(2))
      const first = yield* pool.submit(Workflows.textToImage({ seed: 1 }))
      yield* TestClock.adjust("10 seconds")
      yield* pool.servers.resume(idOf(2))
      assert.deepStrictEqual(told(yield* all(first)).slice(1, 4), [
        "Placed gpu-1",
        "MissingCapability → another-server",
        "Placed gpu-2"
      ])
      const second = yield* pool.submit(Workflows.textToImage({ seed: 2 }))
      const third = yield* pool.submit(Workflows.textToImage({ seed: 3 }))
      for (const job of [second, third]) assert.strictEqual(told(yield* all(job))[1], "Placed gpu-2")
    }).pipe(fleet(2)))

  const refusal = {
    status: 400,
    headers: { "content-type": "application/json" },
    body: new TextEncoder().encode(JSON.stringify({
      error: { type: "prompt_outputs_failed_validation", message: "Prompt outputs failed validation", details: "" },
      node_errors: {
        "4": {
          errors: [{
            type: "value_not_in_list",
            message: "Value not in list",
            details: `ckpt_name: '${Workflows.checkpoint}' not in []`,
            extra_info: { input_name: "ckpt_name", received_value: Workflows.checkpoint, input_config: [[], {}] }
          }],
          dependent_outputs: ["9"],
          class_type: "CheckpointLoaderSimple"
        }
      }
    }))
  }
})

describe("sharing", () => {
  const besideOthers = Effect.fnUntraced(function*(whileTheyWork: "Queued" | "Running") {
    const pool = yield* known
    yield* foreign(1, Workflows.slow({ seconds: 300 }))
    yield* TestClock.adjust("2 seconds")
    const job = yield* pool.submit(Workflows.picture())
    yield* TestClock.adjust("100 seconds")
    assert.strictEqual((yield* job.status)._tag, whileTheyWork)
    assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
  })

  it.effect("politely: nothing is placed where others are at work, and everything when they are done", () =>
    besideOthers("Queued").pipe(fleet(1)))

  it.effect("greedily: into its queue, behind theirs", () =>
    besideOthers("Running").pipe(fleet(1, { pool: { sharing: "greedy" } })))
})
