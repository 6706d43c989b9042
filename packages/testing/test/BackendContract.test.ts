import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as BackendContract from "@effect-comfyui/testing/BackendContract"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"

/** The client of a fake server, and a second client of the same one. */
const comfyClient = (options: ComfyTest.Options) =>
  Layer.effect(
    BackendContract.Subject,
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      const other = yield* Effect.orDie(ComfyClient.make({ ...options.client, url: ComfyTest.urlOf("gpu-1") }))
      return {
        backend: ComfyClient.backend(client),
        other: ComfyClient.backend(other),
        workflows: {
          quick: (variant: number) => Workflows.picture({ color: variant }),
          slow: (variant: number) => Workflows.slow({ seconds: 3_600 + variant }),
          failing: Workflows.failing,
          refused: Workflows.rejected
        },
        tick: TestClock.adjust("1 second")
      }
    })
  ).pipe(Layer.provide(ComfyTest.layer(options)))

for (const version of ["0.33.0", "0.27.0", "0.3.64"] as const) {
  BackendContract.suite(`ComfyClient, ComfyUI ${version}`, comfyClient({ version }))
}

BackendContract.suite("ComfyClient, by asking alone", comfyClient({ client: { socket: "none" } }))
