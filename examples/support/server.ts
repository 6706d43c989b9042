// The server that an example talks to: yours, or a fake one of its own.
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"

/** The first address of `COMFY_HOSTS`, or that of a fake server process which ends with the scope. */
export const serverUrl: Effect.Effect<string, Config.ConfigError, Scope.Scope> = Effect.gen(function*() {
  const hosts = yield* Config.option(Config.String("COMFY_HOSTS"))
  const [url] = Option.match(hosts, { onNone: () => [], onSome: (text) => text.split(/[\s,]+/).filter(Boolean) })
  if (url !== undefined) return url
  const fake = yield* spawnFake({ testNodes: true, previewMethod: "auto" })
  return fake.url
})
