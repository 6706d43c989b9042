/**
 * Who consumes a run owns it: ending the stream early cancels that run on the server, by its id and nothing else. A
 * submitted run belongs to nobody, and is cancelled by its handle.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as Workflows from "@effect-comfyui/testing/Workflows"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { serverUrl } from "./support/server.ts"

const program = Effect.gen(function*() {
  const client = yield* ComfyClient.make({ url: yield* serverUrl })
  const workflow = Workflows.textToImage({ seed: -1 })

  const first = yield* Stream.runHead(Stream.filter(client.run(workflow), (event) => event._tag === "Started"))
  yield* Console.log(`one event was enough: ${first._tag === "Some" ? first.value._tag : "none"}; the run is cancelled`)

  const handle = yield* client.submit(workflow)
  yield* Stream.runDrain(Stream.takeUntil(handle.events(), (event) => event._tag === "NodeStarted"))
  yield* Console.log(`submitted as ${handle.runId}: ${(yield* client.status(handle.runId))._tag}`)
  yield* Console.log(`cancel: ${yield* handle.cancel}`)
  const error = yield* Effect.flip(handle.result)
  yield* Console.log(`result: ${error.reason._tag}, category ${error.category}`)
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))
