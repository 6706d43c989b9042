// @effect-diagnostics asyncFunction:off
// So many jobs of one graph in a pool without servers, in a process of their own: `queued.ts COUNT`. Prints the bytes of
// each, and of its text; ends with its standard input.
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { setTimeout as sleep } from "node:timers/promises"
import { seeded } from "./graph.ts"

const count = Number(process.argv[2])

/** Heap and what hangs on it outside, after everything that can go has gone. */
const held = async (): Promise<number> => {
  for (let i = 0; i < 4; i++) {
    await sleep(20)
    globalThis.gc?.()
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

/** The caller keeps no handle of a job: the pool has them all. */
const measure = (jobs: number) =>
  Effect.scoped(Effect.gen(function*() {
    const pool = yield* Pool.make()
    const before = yield* Effect.promise(held)
    for (let i = 0; i < jobs; i++) {
      yield* pool.submit(seeded(i))
      if (i % 256 === 0) yield* Effect.yieldNow
    }
    const after = yield* Effect.promise(held)
    const { queued } = yield* pool.snapshot
    if (queued !== jobs) return yield* Effect.die(new Error(`${queued} of ${jobs} are queued`))
    return (after - before) / jobs
  })).pipe(Effect.provide(Layer.merge(JobQueueMemory.layerMemoryWith({ maxQueued: jobs }), layerCostAware)))

process.stdin.on("end", () => process.exit(0)).resume()
// A few in another pool first: their code and caches are not what a job costs.
await Effect.runPromise(measure(1_000))
const bytes = await Effect.runPromise(measure(count))
process.stdout.write(`${JSON.stringify({ bytes, text: Workflow.toJson(seeded(0)).length })}\n`, () => process.exit(0))
