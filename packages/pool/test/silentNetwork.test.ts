import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet, told } from "./support/fleet.ts"

it.effect("a server whose socket broke and that answers nothing gets no job until it answers", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const server = yield* ComfyTest.serverOf("gpu-1")
    yield* ComfyTest.advanceUntil(Effect.map(pool.servers.get, (all) => all.every(({ connected }) => connected)))
    yield* server.inject(Fault.on(Fault.any, Fault.hang({ done: false }), { forMs: 300_000 }))
    yield* server.inject(Fault.hangUpgrades({ forMs: 300_000 }))
    yield* server.cutSockets()
    yield* TestClock.adjust("1 second")
    yield* pool.servers.pause(idOf(2))
    const job = yield* pool.submit(Workflows.picture())
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* job.status)._tag, "Queued")
    const words = told(yield* all(job))
    assert.deepStrictEqual(words.slice(1), ["Placed gpu-1", "Completed → done", "JobSucceeded"])
  }).pipe(Effect.provide(layerFleet(2))))
