/**
 * What a configuration asks of the platform below it: folders for `collect` and `routing.estimates`, files and names
 * of the network for `discovery`. `ComfyNode.layerNode` has them; elsewhere a layer of your own may, and where there is none, a configuration
 * that asks for one is a `ConfigError`.
 */
import type * as Discovery from "@effect-comfyui/pool/Discovery"
import type { Sink } from "@effect-comfyui/pool/Sink"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { KeyValueStore } from "effect/persistence/KeyValueStore"
import type * as ComfyConfig from "./ComfyConfig.ts"
import { ConfigError } from "./ConfigError.ts"

/** What a platform can do. */
export interface Shape {
  /** The place of the files of jobs. Fails where it cannot be one. */
  readonly sink: (collect: ComfyConfig.Collect) => Effect.Effect<Sink, ConfigError>
  /** The servers that are there, each time all of them. */
  readonly sets: (discovery: ComfyConfig.Discovery) => Effect.Effect<Discovery.Sets, ConfigError>
  /** What keeps texts in this folder. Fails where it cannot be one. */
  readonly store: (folder: string) => Effect.Effect<KeyValueStore, ConfigError>
}

/** A key whose value is of no use here. */
export const wrong = (path: string, problem: string): ConfigError =>
  new ConfigError({ reasons: [{ _tag: "WrongValue", path, problem, example: null }] })

const nothing: Shape = {
  sink: () => Effect.fail(wrong("collect.directory", "this platform has no folders: give a ComfyPlatform")),
  sets: ({ file }) =>
    Effect.fail(
      file === undefined
        ? wrong("discovery.dns", "this platform asks no DNS: give a ComfyPlatform")
        : wrong("discovery.file", "this platform has no files: give a ComfyPlatform")
    ),
  store: () => Effect.fail(wrong("routing.estimates", "this platform has no folders: give a ComfyPlatform"))
}

/** The platform; by default one that can do nothing. */
export const ComfyPlatform: Context.Reference<Shape> = Context.Reference("@effect-comfyui/runtime/ComfyPlatform", {
  defaultValue: () => nothing
})
