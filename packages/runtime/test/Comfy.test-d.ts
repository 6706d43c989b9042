// @effect-diagnostics asyncFunction:off
import type { PoolError } from "@effect-comfyui/execution/PoolError"
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import type { Pool } from "@effect-comfyui/pool/Pool"
import type { Router } from "@effect-comfyui/pool/Router"
import type * as Comfy from "@effect-comfyui/runtime/Comfy"
import type * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import type * as ComfyNode from "@effect-comfyui/runtime/ComfyNode"
import type { ConfigError } from "@effect-comfyui/runtime/ConfigError"
import type { PromiseFace } from "@effect-comfyui/runtime/PromiseFace"
import * as Results from "@effect-comfyui/runtime/Results"
import type { HttpClient } from "effect/http/HttpClient"
import type * as Layer from "effect/Layer"
import type { WebSocketConstructor } from "effect/socket/Socket"
import { expectTypeOf, test } from "vitest"

type Given = Pool | Comfy.Comfy
type Seams = HttpClient | WebSocketConstructor

test("what a layer still needs stands in its type", () => {
  expectTypeOf<ReturnType<typeof Comfy.layer>>().toEqualTypeOf<Layer.Layer<Given, ConfigError, Seams | JobQueue>>()
  expectTypeOf<typeof Comfy.layerConfig>().toEqualTypeOf<Layer.Layer<Given, ConfigError, Seams | JobQueue>>()
  expectTypeOf<ReturnType<typeof Comfy.layerPool>>()
    .toEqualTypeOf<Layer.Layer<Given, ConfigError, Seams | JobQueue | Router>>()
  expectTypeOf<ReturnType<typeof ComfyNode.layerNode>>().toEqualTypeOf<Layer.Layer<Given, ConfigError | PoolError>>()
})

test("a configuration that is written in a program has no key of nobody", () => {
  // @ts-expect-error: a misspelt key
  const config: ComfyConfig.Input = { servers: [], timeout: {} }
  expectTypeOf(config).toEqualTypeOf<ComfyConfig.Input>()
})

test("promises give what was declared, and no other name", () => {
  const declared = Results.declare({ hero: Results.image("9"), caption: Results.text("12") })
  const results = async (comfy: PromiseFace) => {
    const { outputs } = await comfy.run("", { outputs: declared })
    // @ts-expect-error: a misspelt name
    void outputs.heroe
    const plain = await comfy.run("")
    return [outputs, plain.outputs] as const
  }
  expectTypeOf<Awaited<ReturnType<typeof results>>[0]>()
    .toEqualTypeOf<{ readonly hero: Results.ImageFile; readonly caption: string }>()
  expectTypeOf<Awaited<ReturnType<typeof results>>[1]>().toEqualTypeOf<Results.Success["outputs"]>()
})
