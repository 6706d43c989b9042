import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, ImageFile, Picture, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { all, layerFleet, told } from "./support/fleet.ts"

const content = ImageFile.encodePng(Picture.solid(8, 8, 1, 1), 0)

const edit = Effect.flatMap(Pool, (pool) =>
  pool.submit(Workflows.imageEdit(), {
    attachments: [{ content, filename: "cat.png", input: { nodeId: "1", inputName: "image" } }]
  }))

const sent = (events: ReadonlyArray<JobEvent>) =>
  events.flatMap((event) => event._tag === "Transferred" ? [[event.file, event.bytes]] : [])

describe("the files of a job", () => {
  it.effect("are brought to the server that was chosen, once per process by content, and told of", () =>
    Effect.gen(function*() {
      const first = yield* all(yield* edit)
      assert.deepStrictEqual(told(first).slice(1), ["Placed gpu-1", "Transferred", "Completed → done", "JobSucceeded"])
      assert.deepStrictEqual(sent(first), [["cat.png", content.byteLength]])
      assert.deepStrictEqual(sent(yield* all(yield* edit)), [])
      yield* (yield* ComfyTest.serverOf("gpu-1")).restart
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(sent(yield* all(yield* edit)).length, 1)
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("go with it when it moves (W15)", () =>
    Effect.gen(function*() {
      const bad = yield* ComfyTest.serverOf("gpu-1")
      yield* bad.inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
      yield* (yield* ComfyTest.serverOf("gpu-2")).inject(Fault.onNode({}, Fault.poisonGpu(), { times: 1 }))
      const events = yield* all(yield* edit)
      assert.strictEqual(told(events).at(-1), "JobSucceeded")
      assert.strictEqual(sent(events).length, 3)
    }).pipe(Effect.provide(layerFleet(3))))

  it.effect("that vanish behind everybody's back are sent again, after a broken connection or a refusal", () =>
    Effect.gen(function*() {
      yield* all(yield* edit)
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.wipe("input")
      const refused = yield* all(yield* edit)
      assert.deepStrictEqual(told(refused).filter((word) => word !== "Placed gpu-1"), [
        "Queued",
        "AttachmentFailed → another-server",
        "Transferred",
        "Completed → done",
        "JobSucceeded"
      ])
      yield* server.wipe("input")
      yield* server.cutSockets()
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(told(yield* all(yield* edit)).slice(2), [
        "Transferred",
        "Completed → done",
        "JobSucceeded"
      ])
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("that cannot be brought are tried until the deadline; one without a place in the graph ends the job", () =>
    Effect.gen(function*() {
      const pool = yield* Pool
      const server = yield* ComfyTest.serverOf("gpu-1")
      const fault = yield* server.inject(Fault.on(Fault.path("/upload/image"), Fault.respond(Fault.badGateway)))
      const job = yield* edit
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual((yield* job.status)._tag === "Ended", false)
      yield* fault.heal
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      const nowhere = yield* pool.submit(Workflows.picture(), {
        attachments: [{ content, filename: "cat.png", input: { nodeId: "99", inputName: "image" } }]
      })
      assert.deepStrictEqual(told(yield* all(nowhere)).slice(-2), ["Rejected → give-up", "JobFailed"])
    }).pipe(Effect.provide(layerFleet(1))))

  it.effect("are under way when the job is cancelled: no prompt is sent (M16)", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.serverOf("gpu-1")
      yield* server.inject(Fault.on(Fault.path("/upload/image"), Fault.holdAnswer(30_000)))
      const job = yield* edit
      yield* ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"))
      yield* job.cancel
      const last = (yield* all(job)).at(-1)
      assert.deepStrictEqual(last?._tag === "JobCancelled" && last.executions, { atLeast: 0, atMost: 0 })
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual((yield* server.ledger).prompts, [])
    }).pipe(Effect.provide(layerFleet(1))))
})
