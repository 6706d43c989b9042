// A service that draws what was ordered, each picture once, whatever becomes of this process: `studio.ts OUT QUEUE URL…`.
// It says a line when it is there, and one per order that is done.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId, JobId } from "@effect-comfyui/execution/Ids"
import * as DirectorySinkNode from "@effect-comfyui/pool/DirectorySinkNode"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Pool from "@effect-comfyui/pool/Pool"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import { Workflows } from "@effect-comfyui/testing"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import process from "node:process"

const [out = "", queue = "", ...urls] = process.argv.slice(2)

const checkpoints = ["people", "scenery", "posters"]

const orders = Array.from({ length: 50 }, (_, index) => ({
  id: JobId.make(`order-${`${index + 1}`.padStart(2, "0")}`),
  workflow: Workflows.textToImage({
    checkpoint: `${checkpoints[index % checkpoints.length]}.safetensors`,
    prompt: "a lighthouse",
    seed: index,
    steps: 6
  })
}))

const program = Effect.gen(function*() {
  const pool = yield* Pool.make({
    // A job is done when its picture is here.
    collect: yield* DirectorySinkNode.make(out),
    servers: urls.map((url, index) => {
      const id = BackendId.make(`gpu-${index + 1}`)
      return { id, make: Effect.map(ComfyClient.make({ id, url }), ComfyClient.backend) }
    })
  })
  yield* Console.log("ready")
  yield* Effect.forEach(orders, ({ id, workflow }) =>
    Effect.gen(function*() {
      // The same id with the same content is the same job: whoever starts again may order again.
      const job = yield* pool.submit(workflow, { id })
      const { executions, receipts } = yield* job.result
      yield* Console.log(`done ${id} ${executions.atMost} ${receipts.length}`)
    }), { concurrency: "unbounded", discard: true })
})

// One process at a time: what a killed one held is taken over at once.
const layers = Layer.mergeAll(
  JobQueueSqliteNode.layerFile(queue, { access: "exclusive" }),
  layerCostAware,
  PlatformNode.layer(),
  NodeServices.layer
)

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(layers)))
