// One run against the server of the first argument. Nothing here ends the process: it has to end by itself.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as Effect from "effect/Effect"
import { picture } from "./workflows.ts"

const program = Effect.gen(function*() {
  const client = yield* ComfyClient.make({ url: process.argv[2] ?? "" })
  yield* client.result(picture())
})

Effect.runFork(Effect.provide(Effect.scoped(program), PlatformNode.layer()))
