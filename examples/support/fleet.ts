// The fleet that an example talks to: yours, or three fake servers of unequal speed with different models.
import { type FakeProcess, spawnFake, type SpawnOptions } from "@effect-comfyui/testing/SpawnFakeNode"
import type * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { hosts } from "./server.ts"

export interface Server {
  readonly name: string
  readonly url: string
  /** A hold on the process; none of a server that is yours. */
  readonly fake: FakeProcess | undefined
}

/** 20 steps of a small picture take 1.3 s, and a model half a second from disk. */
const card = (models: ReadonlyArray<string>, speed: number): SpawnOptions => ({
  speed,
  hardware: { vramBytes: 24_000_000_000, diskBytesPerSecond: 4_000_000_000, stepMsPerMegapixel: 250 },
  models: { checkpoints: models.map((name) => ({ name: `${name}.safetensors`, bytes: 2_000_000_000 })) }
})

const fakes: Readonly<Record<string, SpawnOptions>> = {
  fast: card(["people", "scenery"], 1),
  middle: card(["people", "posters"], 1.5),
  slow: card(["scenery", "posters"], 2.5)
}

/** Those of `COMFY_HOSTS`, or fake ones, processes that end with the scope. */
export const servers: Effect.Effect<ReadonlyArray<Server>, Config.ConfigError, Scope.Scope> = Effect.gen(function*() {
  const urls = yield* hosts
  if (urls.length > 0) return urls.map((url) => ({ name: url.replace(/^https?:\/\//, ""), url, fake: undefined }))
  return yield* Effect.forEach(
    Object.entries(fakes),
    ([name, options]) => Effect.map(spawnFake(options), (fake) => ({ name, url: fake.url, fake })),
    { concurrency: "unbounded" }
  )
})
