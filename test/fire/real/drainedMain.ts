// A process with a pool, which runs jobs until it is told to end: `drainedMain.ts JOBS URL…`. It says how each has ended.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId } from "@effect-comfyui/execution/Ids"
import { isJobEnding } from "@effect-comfyui/execution/JobEvent"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { Workflows } from "@effect-comfyui/testing"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import process from "node:process"

const [count = "8", ...urls] = process.argv.slice(2)

/** What was claimed in the moment before is told by a fiber of its own, which may come to its turn a moment later. */
const tellingMs = 50

/** A scope that outlives the pool. */
class Listeners extends Context.Service<Listeners, { readonly listeners: Scope.Scope }>()("fire/Listeners") {
  static readonly layer = Layer.effect(Listeners, Effect.map(Effect.scope, (listeners) => ({ listeners })))
}

const pool = Pool.layer({
  servers: urls.map((url, index) => {
    const id = BackendId.make(`gpu-${index + 1}`)
    return { id, make: Effect.map(ComfyClient.make({ id, url }), ComfyClient.backend) }
  })
})

const program = Effect.gen(function*() {
  let lastAt = 0
  let drainsFrom = Number.POSITIVE_INFINITY
  const { drain, submit } = yield* Pool.Pool
  const { listeners } = yield* Listeners
  // The scope of this program closes before the pool's, in which the attempts live.
  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      yield* Console.log("draining")
      drainsFrom = yield* Clock.currentTimeMillis
      const done = yield* drain("10 seconds")
      const now = yield* Clock.currentTimeMillis
      yield* Console.log(done ? `late ${lastAt === 0 ? 0 : now - lastAt}` : "not drained")
    })
  )
  for (let index = 0; index < Number(count); index++) {
    const job = yield* submit(Workflows.counting({ steps: 5 + index, stepMs: 100 }))
    const heard = Stream.runForEach(job.events(), (event) =>
      Effect.gen(function*() {
        if (event._tag === "Placed" && event.at > drainsFrom + tellingMs) yield* Console.log("claimed")
        if (!isJobEnding(event)) return
        if (event.at > drainsFrom && event._tag === "JobSucceeded") lastAt = yield* Clock.currentTimeMillis
        yield* Console.log(event._tag)
      }))
    yield* Scope.provide(Effect.forkScoped(heard, { startImmediately: true }), listeners)
  }
  return yield* Effect.never
})

/** Whoever listens does so until the pool has closed, which ends what still waits. */
const layers = pool.pipe(
  Layer.provide([JobQueueMemory.layerMemory, RouterPolicies.layerCostAware, PlatformNode.layer()]),
  Layer.provideMerge(Listeners.layer)
)

// Interrupted by a signal it closes its scope; whoever asked for that is told that all went well.
NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(layers)), {
  teardown: (_, onExit) => onExit(0)
})
