import { Pool } from "@effect-comfyui/pool/Pool"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { all, layerFleet } from "./support/fleet.ts"

it.effect("a job is a span from its submission to its end, its attempts and their runs stand in it", () => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })
  return Effect.gen(function*() {
    const pool = yield* Pool
    const job = yield* pool.submit(Workflows.slow({ seconds: 60 }), { tenant: "shop" })
    yield* ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"))
    yield* TestClock.adjust("5 seconds")
    const server = yield* ComfyTest.serverOf("gpu-1")
    yield* server.restart
    yield* all(job)
    const ofJob = spans.find(({ name }) => name === "comfy.job")
    assert.strictEqual(ofJob?.attributes.get("comfy.job.tenant"), "shop")
    assert.strictEqual(ofJob?.status._tag, "Ended")
    const attempts = spans.filter(({ name }) => name === "comfy.attempt")
    assert.deepStrictEqual(attempts.map(({ parent }) => Option.getOrUndefined(parent)?.spanId), [
      ofJob?.spanId,
      ofJob?.spanId
    ])
    const runs = spans.filter(({ name }) => name === "comfy.run")
    assert.deepStrictEqual(
      runs.map(({ parent }) => Option.getOrUndefined(parent)?.spanId),
      attempts.map(({ spanId }) => spanId)
    )
  }).pipe(Effect.provide(layerFleet(1).pipe(Layer.provide(Layer.succeed(Tracer.Tracer, tracer)))))
})
