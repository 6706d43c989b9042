// Fake servers in memory, in virtual time, under the configuration of a user.
import * as Comfy from "@effect-comfyui/runtime/Comfy"
import type * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import * as ComfyQueue from "@effect-comfyui/runtime/ComfyQueue"
import { ComfyTest, FakeServers, TestNodes } from "@effect-comfyui/testing"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"

/** The n-th fake server, as people write it. */
export const server = (n: number) => ({ id: ComfyTest.nameOf(n), url: ComfyTest.urlOf(ComfyTest.nameOf(n)) })

/** Two fake servers. */
export const fakes = FakeServers.layer(
  Object.fromEntries([1, 2].map((n) => [ComfyTest.urlOf(ComfyTest.nameOf(n)), { nodes: TestNodes.nodes }]))
)

/** What was logged, message by message. */
export const recorder = () => {
  const lines: Array<string> = []
  const layer = Logger.layer([Logger.map(Logger.formatStructured, (line) => {
    lines.push(JSON.stringify(line))
  })])
  return { lines, layer }
}

/** The layer of the configuration over them, with a queue in memory. */
export const layerOf = (source: ComfyConfig.Source) =>
  Comfy.layer(source).pipe(Layer.provide(ComfyQueue.layerMemory()), Layer.provideMerge(fakes))
