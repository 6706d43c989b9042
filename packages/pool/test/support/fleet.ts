// A pool on fake servers in memory, in virtual time: the real clients below it, nothing between.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { JobEvent } from "@effect-comfyui/execution/JobEvent"
import * as JobQueueMemory from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import type { Router } from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import * as Servers from "@effect-comfyui/pool/Servers"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import { ComfyTest, FakeServers, TestNodes } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Stream from "effect/Stream"

export const idOf = (n: number): BackendId => BackendId.make(ComfyTest.nameOf(n))

type Network = HttpClient | WebSocketConstructor

/** The n-th server, as a pool takes it. */
export const spec = (n: number, more: Partial<ServerSpec> = {}): ServerSpec<Network> => ({
  id: idOf(n),
  make: Effect.map(
    ComfyClient.make({ id: ComfyTest.nameOf(n), url: ComfyTest.urlOf(ComfyTest.nameOf(n)) }),
    ComfyClient.backend
  ),
  ...more
})

/** The same, for `servers.add`. */
export const ready = (n: number): Effect.Effect<ServerSpec, never, Network> =>
  Effect.map(Effect.context<Network>(), (context) => Servers.provide(spec(n), context))

export interface Setup {
  readonly servers?: (n: number) => FakeServers.ServerOptions
  readonly specs?: (n: number) => Partial<ServerSpec>
  readonly pool?: Omit<Pool.Options, "servers">
  readonly router?: Layer.Layer<Router>
  /** Servers that exist, and of those how many are members at the start. Default: all. */
  readonly members?: number
  /** Who logs, and what. Default: nobody anything. */
  readonly log?: Layer.Layer<never>
}

/** `n` servers and a pool of them. */
export const layerFleet = (
  n: number,
  {
    log = Layer.succeed(References.MinimumLogLevel, "None"),
    members = n,
    pool,
    router = RouterPolicies.layerCostAware,
    servers,
    specs
  }: Setup = {}
) => {
  const names = Array.from({ length: n }, (_, index) => index + 1)
  const fakes = FakeServers.layer(
    Object.fromEntries(names.map((name) => {
      const options = servers?.(name) ?? {}
      const all = { ...options, nodes: [...TestNodes.nodes, ...(options.nodes ?? [])] }
      return [ComfyTest.urlOf(ComfyTest.nameOf(name)), all]
    }))
  )
  return Layer.effect(
    Pool.Pool,
    Pool.make({ ...pool, servers: names.slice(0, members).map((name) => spec(name, specs?.(name))) })
  ).pipe(
    Layer.provide(Layer.mergeAll(JobQueueMemory.layerMemory, router)),
    Layer.provideMerge(fakes),
    Layer.provideMerge(log)
  )
}

/** A prompt of somebody else, straight to the n-th server. */
export const foreign = (n: number, workflow: Workflow) =>
  Effect.scoped(Effect.gen(function*() {
    const stranger = yield* ComfyClient.make({ url: ComfyTest.urlOf(ComfyTest.nameOf(n)), socket: "none" })
    return yield* stranger.submit(workflow)
  }))

/** All events of a job, when it has ended; moves the clock. */
export const all = (job: Pool.PoolJob, limit: "1 hour" | "1 day" = "1 hour") =>
  ComfyTest.advanceWhile(Stream.runCollect(job.events()), { limit })

/** What happened to a job, in words: attempts as what they ended in. */
export const told = (events: ReadonlyArray<JobEvent>): ReadonlyArray<string> =>
  events.flatMap((event) => {
    switch (event._tag) {
      case "Attempt":
        return []
      case "Placed":
        return [`Placed ${event.server}`]
      case "AttemptEnded": {
        const { ending } = event
        return [`${ending._tag === "Failed" ? ending.error.reason._tag : ending._tag} → ${event.verdict}`]
      }
      default:
        return [event._tag]
    }
  })
