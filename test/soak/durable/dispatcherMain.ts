// A process with a pool on a queue in a file, until somebody ends it: `dispatcherMain.ts FILE FOLDER URL…`. It says at once
// which runs it is about to send and which endings it tells; files go to the folder.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as DirectorySinkNode from "@effect-comfyui/pool/DirectorySinkNode"
import { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { MinimumLogLevel } from "effect/References"
import * as Stream from "effect/Stream"
import { writeSync } from "node:fs"
import process from "node:process"
import { impatient } from "../Soak.ts"

const [file = "", folder = "", ...urls] = process.argv.slice(2)

/** Before anything else happens: what is said by then is known, whatever comes. */
const say = (...words: ReadonlyArray<string | number>) => void writeSync(1, `${words.join(" ")}\n`)

const queue = Layer.effect(
  JobQueue,
  Effect.map(JobQueue, (queue) =>
    JobQueue.of({
      ...queue,
      claim: (id, ttl, run) => {
        if (run !== undefined) say("run", run.runId, id)
        return queue.claim(id, ttl, run)
      }
    }))
).pipe(Layer.provide(JobQueueSqliteNode.layerFile(file, { history: 1_000_000, poll: "200 millis" })))

const program = Effect.gen(function*() {
  const sink = yield* DirectorySinkNode.make(folder)
  const pool = yield* Pool.make({
    collect: sink,
    servers: urls.map((url, index) => {
      const id = BackendId.make(`gpu-${index + 1}`)
      return { id, make: Effect.map(ComfyClient.make({ id, url, ...impatient }), ComfyClient.backend) }
    })
  })
  say("ready")
  yield* Stream.runForEach(pool.events, (event) =>
    Effect.sync(() => {
      if ("executions" in event && event._tag !== "AttemptEnded") say("end", event.jobId, event._tag)
    }))
})

const layers = Layer.mergeAll(
  queue,
  RouterPolicies.layerCostAware,
  PlatformNode.layer(),
  NodeFileSystem.layer,
  NodePath.layer
)

NodeRuntime.runMain(
  program.pipe(Effect.scoped, Effect.provide(layers), Effect.provideService(MinimumLogLevel, "None"))
)
