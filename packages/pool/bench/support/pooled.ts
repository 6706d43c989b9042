// @effect-diagnostics asyncFunction:off
// A pool over clients of these servers, as a program makes it.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"

export interface Pooled {
  readonly pool: Pool.Shape
  readonly close: () => Promise<void>
}

/** A pool whose servers are all connected and have said what they can run. */
export const connect = async (
  urls: ReadonlyArray<string>,
  client: Partial<ComfyClient.Options> = {},
  queue: Layer.Layer<JobQueue, PoolError> = layerMemory,
  options: Pool.Options = {}
): Promise<Pooled> => {
  const scope = Scope.makeUnsafe()
  const services = Layer.mergeAll(PlatformNode.layer(), queue, layerCostAware)
  const servers = urls.map((url, i) => {
    const id = `gpu-${i}`
    return { id: BackendId.make(id), make: Effect.map(ComfyClient.make({ ...client, id, url }), ComfyClient.backend) }
  })
  const pool = await Effect.runPromise(Effect.gen(function*() {
    const context = yield* Layer.buildWithScope(services, scope)
    const pool = yield* Effect.provideContext(Scope.provide(Pool.make({ ...options, servers }), scope), context)
    const isReady = Effect.map(
      pool.servers.get,
      (views) =>
        views.every(({ connected, status, version }) =>
          (connected || client.socket === "none") && status === "ready" && version !== null
        )
    )
    yield* Effect.repeat(Effect.delay(isReady, "10 millis"), { until: (ready) => ready })
    return pool
  }))
  return { pool, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

/** Submits all and waits for the last; fails where they are not all done within a minute, and says where they stand. */
export const runAll = (pool: Pool.Shape, workflows: ReadonlyArray<Workflow.Workflow>): Promise<void> =>
  Effect.runPromise(Effect.gen(function*() {
    const jobs = yield* pool.submitAll(workflows)
    const all = Effect.forEach(jobs, ({ result }) => result, { discard: true })
    const done = yield* Effect.timeoutOption(all, "1 minute")
    if (done._tag === "Some") return
    const open = (yield* pool.list).filter(({ status }) => status !== "Ended")
    const { servers } = yield* pool.snapshot
    return yield* Effect.die(
      new Error(`${open.length} of ${jobs.length} hang: ${JSON.stringify({ open: open[0], servers })}`)
    )
  }))

/** The same jobs by two pools over the same servers, as the two sides of a bench. */
export const beside = (count: number, ours: Pooled, reference: Pooled) => {
  let seed = 0
  const workflow = () => Workflow.fromNodes({ "12": { class_type: "Bench", inputs: { seed: ++seed } } })
  const side = ({ pool }: Pooled) => async () => {
    await runAll(pool, Array.from({ length: count }, workflow))
    return count
  }
  return {
    ours: side(ours),
    reference: side(reference),
    close: async () => {
      await ours.close()
      await reference.close()
    }
  }
}
