/**
 * A run is a stream of typed events: every one of them here, one line each. The stream never fails; the last event says
 * how the run ended.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Workflows from "@effect-comfyui/testing/Workflows"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { serverUrl } from "./support/server.ts"

/** Exhaustive: a new kind of event would not compile. */
const describe = (event: ExecutionEvent): string => {
  switch (event._tag) {
    case "Submitted":
      return `accepted as ${event.promptId}, seeds ${event.seeds.map((seed) => seed.value).join(", ")}`
    case "Started":
      return "the worker took it"
    case "NodesCached":
      return `${event.nodeIds.length} nodes are still in the server's memory`
    case "NodeStarted":
      return `node ${event.nodeId} (${event.classType}) began`
    case "NodeProgress":
      return `node ${event.nodeId}: ${event.value} of ${event.max}`
    case "NodeText":
      return `node ${event.nodeId} says ${event.text}`
    case "Preview":
      return `a preview of node ${event.nodeId}: ${event.format}, ${event.image.byteLength} bytes`
    case "NodeOutput":
      return `node ${event.nodeId} gave ${event.output?.files.map((file) => file.filename).join(", ")}`
    case "NodeFinished":
      return `node ${event.nodeId} ended`
    case "Warning":
      return `warning ${event.code}: ${event.message}`
    case "Gap":
      return `something was missed (${event.cause})`
    case "Completed":
      return `completed, learnt by ${event.via}`
    case "Failed":
      return `failed: ${event.error.message}`
    case "Cancelled":
      return `cancelled by ${event.by}`
  }
}

const program = Effect.gen(function*() {
  const client = yield* ComfyClient.make({ url: yield* serverUrl })
  const workflow = Workflows.textToImage({ seed: -1 })
  // `all` keeps each step and each picture; by default a slow reader gets the newest.
  const events = client.run(workflow, { events: { progress: "all", previews: "all" } })
  yield* Stream.runForEach(
    events,
    (event) => Console.log(`${event.elapsed.toFixed(0).padStart(6)} ms  ${describe(event)}`)
  )
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))
