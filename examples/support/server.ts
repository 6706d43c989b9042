// The server that an example talks to: yours, or a fake one of its own.
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** `gpu-1` is `http://gpu-1:8188`. */
const toUrl = (host: string): string =>
  host.includes("://") ? host : `http://${host}${/:\d+$/.test(host) ? "" : ":8188"}`

/** The addresses in `COMFY_HOSTS`; none where it is not set. */
export const hosts: Effect.Effect<ReadonlyArray<string>, Config.ConfigError> = Effect.map(
  Config.option(Config.String("COMFY_HOSTS")),
  Option.match({ onNone: () => [], onSome: (text) => text.split(/[\s,]+/).filter(Boolean).map(toUrl) })
)

/** The first address of `COMFY_HOSTS`, or that of a fake server process which ends with the scope. */
export const serverUrl: Effect.Effect<string, Config.ConfigError, Scope.Scope> = Effect.gen(function*() {
  const [url] = yield* hosts
  if (url !== undefined) return url
  const fake = yield* spawnFake({ testNodes: true, previewMethod: "auto" })
  return fake.url
})
