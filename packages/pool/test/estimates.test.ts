import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { all, layerFleet } from "./support/fleet.ts"

it.effect("what a workflow without a model takes is learnt too", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    yield* ComfyTest.advanceUntil(Effect.map(pool.servers.get, ([one]) => one?.version !== null))
    yield* all(yield* pool.submit(Workflows.slow({ seconds: 600 })))
    const second = yield* pool.submit(Workflows.slow({ seconds: 601 }))
    yield* all(second)
    const [attempt] = yield* second.why
    assert.isAbove(Number(attempt?.why["estimateMs"]), 500_000)
  }).pipe(Effect.provide(layerFleet(1))))
