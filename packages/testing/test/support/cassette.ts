// Programs of a client, recorded against a fake server and replayed without it.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { Cassette, ComfyTest, FakeServers, TestNodes } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

export const url = "http://gpu-1:8188"

const fake = (options: FakeServers.ServerOptions = {}) =>
  FakeServers.layer({ [url]: { nodes: TestNodes.nodes, ...options } })

/** What a program does, recorded against a fake server. */
export const recorded = Effect.fnUntraced(function*<A, E>(
  program: Effect.Effect<A, E, ComfyClient.ComfyClient | FakeServers.FakeServers>,
  options: {
    readonly record?: Cassette.RecordOptions
    readonly client?: Partial<ComfyClient.Options>
    readonly server?: FakeServers.ServerOptions
  } = {}
) {
  return yield* Effect.gen(function*() {
    const recorder = yield* Cassette.Recorder
    const result = yield* Effect.provide(program, ComfyClient.layer({ url, ...options.client }))
    return { result, text: yield* recorder.text }
  }).pipe(
    Effect.provide(Cassette.record(options.record).pipe(Layer.provideMerge(fake(options.server))))
  )
})

export const replayed = <A, E>(
  program: Effect.Effect<A, E, ComfyClient.ComfyClient>,
  text: string,
  options: Partial<ComfyClient.Options> = {}
) =>
  Effect.gen(function*() {
    const player = yield* Cassette.Player
    const result = yield* Effect.provide(program, ComfyClient.layer({ url, ...options }))
    yield* player.verify
    return { result, unused: yield* player.unused }
  }).pipe(Effect.provide(Cassette.replay(text)))

export const connected = Effect.andThen(TestClock.adjust("1 second"), ComfyTest.connected())

export const events = (workflow: Workflow, options?: ComfyClient.RunOptions) =>
  Effect.flatMap(
    ComfyClient.ComfyClient,
    (client) => ComfyTest.advanceWhile(Stream.runCollect(client.run(workflow, options)), { step: "100 millis" })
  )
