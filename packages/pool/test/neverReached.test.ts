import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, FakeServers, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { all, idOf, layerFleet, told } from "./support/fleet.ts"

/** A backend behind which nobody is: its client dials an address that does not exist. */
const nowhere = Effect.provide(
  Effect.map(ComfyClient.make({ id: idOf(2), url: "http://nowhere:8188" }), ComfyClient.backend),
  FakeServers.layer({})
)

const environment = layerFleet(2, { specs: (n) => n === 2 ? { make: nowhere } : {}, pool: { probe: 0 } })

describe("a server that never answered", () => {
  it.effect("gets no jobs", () =>
    Effect.gen(function*() {
      const { submit } = yield* Pool
      const jobs = yield* Effect.forEach([1, 2, 3, 4, 5, 6], (color) => submit(Workflows.picture({ color })))
      for (const job of jobs) {
        yield* all(job)
        assert.deepStrictEqual((yield* job.why).map(({ server }) => server), [idOf(1)])
      }
    }).pipe(Effect.provide(environment)))

  it.effect("is not what a job waits for that failed on the only other one", () =>
    Effect.gen(function*() {
      const { submit } = yield* Pool
      const job = yield* submit(Workflows.slow({ seconds: 60 }))
      yield* ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"))
      yield* TestClock.adjust("5 seconds")
      yield* (yield* ComfyTest.serverOf("gpu-1")).restart
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      assert.deepStrictEqual((yield* job.why).map(({ server }) => server), [idOf(1), idOf(1)])
    }).pipe(Effect.provide(environment)))
})
