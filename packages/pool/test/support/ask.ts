// What tests of a whole pool ask of it and of its servers.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { layerFleet, type Setup, spec, told } from "./fleet.ts"

export const fleet = (n: number, setup: Setup = {}) => Effect.provide(layerFleet(n, setup))

/** Whether all servers of this pool are ready. */
export const isReady = (pool: Pool.Shape) =>
  Effect.map(pool.servers.get, (views) => views.every(({ status, version }) => status === "ready" && version !== null))

/** The pool, when every server is ready and has said what it can do. */
export const ready = Effect.gen(function*() {
  const pool = yield* Pool.Pool
  yield* ComfyTest.advanceUntil(isReady(pool))
  return pool
})

/** Moves the clock until the job runs; the name of its server. */
export const running = Effect.fnUntraced(function*(job: Pool.PoolJob) {
  yield* ComfyTest.advanceUntil(Effect.map(job.status, ({ _tag }) => _tag === "Running"), { step: "100 millis" })
  return (yield* job.why).at(-1)?.server ?? ""
})

export const server = (n: number) => ComfyTest.serverOf(ComfyTest.nameOf(n))

/** How every prompt that the n-th server took has ended. */
export const outcomes = (n: number) =>
  Effect.flatMap(
    server(n),
    ({ ledger }) => Effect.map(ledger, ({ prompts }) => prompts.map(({ outcome }): string => outcome ?? "open"))
  )

/** Requests to the n-th server, as `POST /prompt`. */
export const requests = (n: number) =>
  Effect.flatMap(
    server(n),
    ({ requests }) => Effect.map(requests, (all) => all.map(({ method, target }) => `${method} ${target}`))
  )

/** The graphs that the n-th server was sent, as text. */
export const posted = (n: number) =>
  Effect.flatMap(
    server(n),
    ({ requests }) =>
      Effect.map(requests, (all) =>
        all.filter(({ method, target }) =>
          method === "POST" && target.endsWith("/prompt")
        ).map(({ body }) => new TextDecoder().decode(body)))
  )

export const lastOf = (events: ReadonlyArray<JobEvent>) => told(events).at(-1)

export const reasonOf = (events: ReadonlyArray<JobEvent>) => {
  const last = events.at(-1)
  return last?._tag === "JobFailed" || last?._tag === "DeadLettered" ? last.error.reason : undefined
}

/** How often it may have run, as its ending says. */
export const executionsOf = (events: ReadonlyArray<JobEvent>) => {
  const last = events.at(-1)
  return last !== undefined && "executions" in last ? last.executions : undefined
}

/** Somebody presses the button in the editor: whatever runs on the n-th server is interrupted. */
export const interrupt = (n: number) =>
  Effect.scoped(Effect.gen(function*() {
    const operator = yield* ComfyClient.make({ url: ComfyTest.urlOf(ComfyTest.nameOf(n)), socket: "none" })
    yield* operator.http.interruptAnything
  }))

/** Another pool over the first `n` servers of the same network, with a queue of its own: as another process has it. */
export const anotherPool = Effect.fnUntraced(function*(n: number, options: Omit<Pool.Options, "servers"> = {}) {
  const parts = yield* Layer.build(
    Layer.mergeAll(Layer.fresh(JobQueueMemory.layerMemory), RouterPolicies.layerCostAware)
  )
  const servers = Array.from({ length: n }, (_, index) => spec(index + 1))
  return yield* Effect.provide(Pool.make({ ...options, servers }), parts)
})
