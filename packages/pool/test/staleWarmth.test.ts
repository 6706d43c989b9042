import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { all, layerFleet } from "./support/fleet.ts"

it.effect("what a process had warm is not believed of the one after it", () =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const draw = (seed: number) => pool.submit(Workflows.textToImage({ seed, steps: 100 }))
    yield* all(yield* draw(1))
    const running = yield* draw(2)
    yield* ComfyTest.advanceUntil(Effect.map(running.status, ({ _tag }) => _tag === "Running"))
    const waiting = yield* draw(3)
    const server = yield* ComfyTest.serverOf("gpu-1")
    yield* server.kill
    yield* TestClock.adjust("4 seconds")
    yield* server.inject(Fault.refuseUpgrades({ status: 403 }))
    yield* server.restart
    yield* all(waiting)
    yield* all(running)
    // Whichever of the two is first on the new process finds nothing there.
    const [first] = [...(yield* waiting.why), ...(yield* running.why).slice(1)]
      .toSorted((a, b) => a.startedAt - b.startedAt)
    assert.strictEqual(first?.why["warm"], false)
  }).pipe(Effect.provide(layerFleet(1, { servers: () => ({ hardware: { stepMsPerMegapixel: 1_000 } }) }))))
