/** Folders, files and the DNS of a machine, for configurations that ask for them. */
import * as DirectorySinkNode from "@effect-comfyui/pool/DirectorySinkNode"
import * as Discovery from "@effect-comfyui/pool/Discovery"
import * as DiscoveryNode from "@effect-comfyui/pool/DiscoveryNode"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as Stream from "effect/Stream"
import type * as ComfyConfig from "./ComfyConfig.ts"
import * as ComfyPlatform from "./ComfyPlatform.ts"

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer)

const sink: ComfyPlatform.Shape["sink"] = ({ directory }) =>
  DirectorySinkNode.make(directory).pipe(
    Effect.provide(files),
    Effect.mapError(({ reason: { cause } }) => ComfyPlatform.wrong("collect.directory", `is no folder: ${cause}`))
  )

const setsOf = ({ dns, every, file }: ComfyConfig.Discovery): ReadonlyArray<Discovery.Sets> => [
  ...file === undefined ? [] : [Stream.provide(Discovery.file(file, every), files)],
  ...dns === undefined
    ? []
    : [
      Discovery.srv(dns.service, DiscoveryNode.resolveSrv(dns.nameservers), {
        ...every === undefined ? {} : { every },
        ...dns.scheme === undefined ? {} : { scheme: dns.scheme }
      })
    ]
]

/** All servers of several sources; one that has not answered yet has none. */
const together = (sources: ReadonlyArray<Discovery.Sets>): Discovery.Sets =>
  Stream.map(Stream.zipLatestAll(...sources.map((source) => Stream.prepend(source, [[]]))), (sets) => sets.flat())

/** A folder has nothing to close. */
const store: ComfyPlatform.Shape["store"] = (folder) =>
  KeyValueStore.KeyValueStore.pipe(
    Effect.provide(Layer.provide(KeyValueStore.layerFileSystem(folder), files)),
    Effect.mapError(({ message }) => ComfyPlatform.wrong("routing.estimates", `is no folder: ${message}`))
  )

/** The platform that Node is. */
export const layer: Layer.Layer<never> = Layer.succeed(ComfyPlatform.ComfyPlatform, {
  sink,
  sets: (discovery) => Effect.succeed(together(setsOf(discovery))),
  store
})
