// @effect-diagnostics asyncFunction:off
// The same pool over the same servers, by promises and by effects: what a job costs more for who knows no Effect.
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as Pool from "@effect-comfyui/pool/Pool"
import { type Comfy, layer } from "@effect-comfyui/runtime/Comfy"
import * as ComfyService from "@effect-comfyui/runtime/Comfy"
import { layerMemory } from "@effect-comfyui/runtime/ComfyQueue"
import { fromLayer } from "@effect-comfyui/runtime/CreateComfyNode"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import type { ChildProcess } from "node:child_process"

// Of other packages' benches, which are projects of their own: loaded by their address.
const support = new URL("../../client/bench/support/spawn.ts", import.meta.url).href
const { start }: {
  readonly start: (
    program: string,
    args: ReadonlyArray<string>
  ) => Promise<{ readonly child: ChildProcess; readonly line: string }>
} = await import(support)

const servers = 8
const count = 250
const atOnce = 32
/** Ended jobs that a pool keeps: until there are as many, the heap only grows. */
const remembered = 10_000

/** All jobs, so many at once. */
const all = async (one: () => Promise<unknown>): Promise<number> => {
  let left = count
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0) await one()
  }))
  return count
}

const prepare = async () => {
  const { child, line } = await start("../../../pool/bench/support/origins.ts", [`${servers}`, "0"])
  const ports: ReadonlyArray<number> = JSON.parse(line)
  const scope = Scope.makeUnsafe()
  const config = {
    servers: ports.map((port, i) => ({ id: `gpu-${i}`, url: `http://127.0.0.1:${port}` })),
    logging: { level: "None" } as const
  }
  const fleet = layer(config).pipe(Layer.provide([layerMemory(), PlatformNode.layer()]))
  // Built once: both faces stand before the same pool.
  const context: Context.Context<Pool.Pool | Comfy> = await Effect.runPromise(Layer.buildWithScope(fleet, scope))
  const pool = Context.get(context, Pool.Pool)
  const service = Context.get(context, ComfyService.Comfy)
  const comfy = await fromLayer(Layer.succeedContext(context))
  await Effect.runPromise(Effect.repeat(
    Effect.delay(
      Effect.map(pool.servers.get, (views) => views.every(({ connected, version }) => connected && version !== null)),
      "10 millis"
    ),
    { until: (ready) => ready }
  ))
  let seed = 0
  const workflow = () => Workflow.fromNodes({ "12": { class_type: "Bench", inputs: { seed: ++seed } } })
  const ours = () => all(() => comfy.run(workflow()))
  const reference = async () => {
    let left = count
    const worker = Effect.gen(function*() {
      while (left-- > 0) yield* service.success(yield* pool.submit(workflow()))
    })
    await Effect.runPromise(
      Effect.forEach(Array.from({ length: atOnce }, () => worker), (one) => one, {
        concurrency: "unbounded",
        discard: true
      })
    )
    return count
  }
  for (let done = 0; done < remembered;) done += await ours() + await reference()
  return {
    ours,
    reference,
    close: async () => {
      await comfy.close()
      await Effect.runPromise(Scope.close(scope, Exit.void))
      child.removeAllListeners("exit")
      child.stdin?.end()
    }
  }
}

export const cases = [
  {
    name: "promise-face",
    goal: { min: 0.95 },
    noise: "close",
    measure: "rate",
    turns: 4,
    unit: "jobs/s",
    prepare
  }
]
