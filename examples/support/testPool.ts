// A pool of fake servers in memory and in virtual time, for tests: `gpu-1` to `gpu-n`.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { BackendId } from "@effect-comfyui/execution/Ids"
import { layerMemory } from "@effect-comfyui/pool/JobQueueMemory"
import * as Pool from "@effect-comfyui/pool/Pool"
import { layerCostAware } from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, FakeServers, TestNodes } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

/** A pool of `n` servers that places by `router`, by default by cost. */
export const layerPool = (n: number, options: Pool.Options = {}, router = layerCostAware) => {
  const names = Array.from({ length: n }, (_, index) => ComfyTest.nameOf(index + 1))
  const servers = names.map((name) => ({
    id: BackendId.make(name),
    make: Effect.map(ComfyClient.make({ id: name, url: ComfyTest.urlOf(name) }), ComfyClient.backend)
  }))
  const fakes = FakeServers.layer(
    Object.fromEntries(names.map((name) => [ComfyTest.urlOf(name), { nodes: TestNodes.nodes }]))
  )
  return Pool.layer({ ...options, servers }).pipe(
    Layer.provide([layerMemory, router]),
    Layer.provideMerge(fakes)
  )
}
