import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as ComfyClients from "@effect-comfyui/client/ComfyClients"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { expectCompleted } from "@effect-comfyui/testing/Expect"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

const runAll = (workflow = Workflows.picture()) =>
  Effect.flatMap(ComfyClient.ComfyClient, (client) => Stream.runCollect(client.run(workflow)))

describe("ComfyTest.layer", () => {
  it.effect("is up before the clock has moved, and runs in virtual time", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      assert.strictEqual((yield* client.link.get)._tag, "Up")
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      const events = yield* ComfyTest.advanceWhile(runAll(Workflows.slow({ seconds: 600 })))
      assert.strictEqual(expectCompleted(events).via, "socket")
      const now = yield* Clock.currentTimeMillis
      assert.isTrue(now > 600_000 && now < 603_000, `${now}`)
      const { prompts } = yield* Effect.flatMap(ComfyTest.server, (server) => server.ledger)
      assert.deepStrictEqual(prompts.map((prompt) => prompt.outcome), ["success"])
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("takes options of the server and of the client", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      assert.strictEqual(client.id, "mine")
      const events = yield* ComfyTest.advanceWhile(runAll())
      assert.strictEqual(expectCompleted(events).via, "http")
      const server = yield* ComfyTest.server
      const first = (yield* server.requests).find((request) => request.method === "POST")
      assert.strictEqual(first?.target, "/prompt")
      assert.strictEqual(events[0]?.backend, "mine")
    }).pipe(Effect.provide(ComfyTest.layer({ basePath: "/comfy", client: { id: "mine", socket: "none" } }))))

  it.effect("waits for the socket after a restart, and moves the clock for it", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* ComfyTest.connected()
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      yield* server.restart
      const client = yield* ComfyClient.ComfyClient
      yield* ComfyTest.advanceUntil(Effect.map(client.link.get, (state) => state._tag === "Down"))
      yield* ComfyTest.connected()
      assert.isAbove(yield* Clock.currentTimeMillis, 0)
      assert.deepInclude(yield* client.link.get, { _tag: "Up", generation: 2 })
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("says so when a socket does not come", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      const client = yield* ComfyClient.ComfyClient
      yield* server.kill
      yield* ComfyTest.advanceUntil(Effect.map(client.link.get, (state) => state._tag !== "Up"))
      const error = yield* Effect.flip(ComfyTest.connected({ limit: "30 seconds" }))
      assert.strictEqual(error.limitMs, 30_000)
      assert.strictEqual(error.message, "still waiting after 30s of virtual time")
    }).pipe(Effect.provide(ComfyTest.layer())))
})

describe("ComfyTest.layerFleet", () => {
  it.effect("gives servers and clients by name, each with its own options", () =>
    Effect.gen(function*() {
      const clients = yield* ComfyClients.ComfyClients
      const on = (name: string) => Effect.provide(Effect.andThen(ComfyTest.connected(), runAll()), clients.get(name))
      const runs = yield* ComfyTest.advanceWhile(
        Effect.all([on("gpu-1"), on("gpu-3")], { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(runs.map((events) => expectCompleted(events).backend), ["gpu-1", "gpu-3"])
      const counts = yield* Effect.forEach(["gpu-1", "gpu-2", "gpu-3"], (name) =>
        Effect.gen(function*() {
          const server = yield* ComfyTest.serverOf(name)
          return (yield* server.ledger).prompts.length
        }))
      assert.deepStrictEqual(counts, [1, 0, 1])
      const missing = yield* Effect.flip(Effect.provide(ComfyClient.ComfyClient, clients.get("gpu-4")))
      assert.strictEqual(missing._tag, "UnknownServer")
    }).pipe(Effect.provide(ComfyTest.layerFleet(3, (name) => ({ version: name === "gpu-3" ? "0.3.64" : "0.33.0" })))))
})

describe("advanceUntil", () => {
  it.effect("does not move the clock for what is there, or comes without it", () =>
    Effect.gen(function*() {
      let ready = false
      yield* Effect.forkChild(Effect.andThen(Effect.yieldNow, Effect.sync(() => void (ready = true))))
      yield* ComfyTest.advanceUntil(() => ready)
      assert.strictEqual(yield* Clock.currentTimeMillis, 0)
    }))

  it.effect("stops within a step of the moment, and at the limit", () =>
    Effect.gen(function*() {
      yield* ComfyTest.advanceUntil(Effect.map(Clock.currentTimeMillis, (now) => now >= 1_234), { step: "100 millis" })
      assert.strictEqual(yield* Clock.currentTimeMillis, 1_300)
      const error = yield* Effect.flip(ComfyTest.advanceUntil(() => false, { step: "7 seconds", limit: "10 seconds" }))
      assert.strictEqual(error._tag, "StillWaiting")
      assert.strictEqual(yield* Clock.currentTimeMillis, 11_300)
    }))

  it.effect("hands on the failure of its condition", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Effect.flip(ComfyTest.advanceUntil(Effect.fail("no"))), "no")
    }))
})

describe("advanceWhile", () => {
  it.effect("gives the result or the failure", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* ComfyTest.advanceWhile(Effect.as(Effect.sleep("10 minutes"), 1)), 1)
      const failing = Effect.andThen(Effect.sleep("1 minute"), Effect.fail("no"))
      assert.strictEqual(yield* Effect.flip(ComfyTest.advanceWhile(failing)), "no")
    }))

  it.effect("interrupts what does not end", () =>
    Effect.gen(function*() {
      let interrupted = false
      const endless = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true)))
      const error = yield* Effect.flip(ComfyTest.advanceWhile(endless, { limit: "1 minute" }))
      assert.strictEqual(error._tag, "StillWaiting")
      assert.isTrue(interrupted)
    }))

  it.effect("moves the clock on for what its interruption takes: a run on a dead server is cancelled in vain", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* Effect.forkChild(Effect.andThen(Effect.sleep("10 seconds"), server.kill))
      const error = yield* Effect.flip(
        ComfyTest.advanceWhile(runAll(Workflows.slow({ seconds: 600 })), { limit: "1 minute" })
      )
      assert.strictEqual(error._tag, "StillWaiting")
      const now = yield* Clock.currentTimeMillis
      assert.isTrue(now > 60_000 && now <= 66_000, `${now}`)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("leaves behind what does not end by being interrupted, after a minute", () =>
    Effect.gen(function*() {
      const stubborn = Effect.onInterrupt(Effect.never, () => Effect.never)
      const error = yield* Effect.flip(ComfyTest.advanceWhile(stubborn, { limit: "1 minute" }))
      assert.strictEqual(error._tag, "StillWaiting")
      assert.strictEqual(yield* Clock.currentTimeMillis, 120_000)
    }))

  it.effect("is interrupted with what it runs", () =>
    Effect.gen(function*() {
      let interrupted = false
      const endless = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true)))
      const fiber = yield* Effect.forkChild(
        // Not moved by its own steps: the outer clock is.
        Effect.raceFirst(ComfyTest.advanceWhile(endless, { step: "1 minute", limit: "365 days" }), TestClock.adjust(1))
      )
      yield* Fiber.join(fiber)
      assert.isTrue(interrupted)
    }))
})
