import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import { join } from "node:path"

const text = (url: string): Effect.Effect<string> =>
  Effect.promise(() => fetch(url).then((response) => response.text()))

describe("the command", () => {
  it.live("is the server that its options say", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({
        profile: "0.27.0",
        models: { checkpoints: ["small.safetensors", { name: "large.safetensors", bytes: 12_000_000_000 }] },
        hardware: { vramBytes: 8_000_000_000, name: "Small Card" },
        cache: { lru: 7 },
        assets: true
      })
      const stats = yield* text(`${fake.url}/system_stats`)
      for (const part of ["0.27.0", "Small Card", "8000000000", "--cache-lru", "--enable-assets"]) {
        assert.include(stats, part)
      }
      assert.deepStrictEqual(
        JSON.parse(yield* text(`${fake.url}/models/checkpoints`)),
        ["large.safetensors", "small.safetensors"]
      )
    }).pipe(Effect.scoped))

  it("refuses options that it does not understand, and says which", () => {
    const program = join(import.meta.dirname, "../src/FakeProcessNode.ts")
    const run = (...args: ReadonlyArray<string>) =>
      spawnSync(process.execPath, ["--conditions=@effect-comfyui/source", program, ...args], { encoding: "utf8" })
    for (
      const [name, value] of [
        ["--hardware", "{\"vramBytes\": -1}"],
        ["--hardware", "{\"vramBites\": 1}"],
        ["--models", "{\"checkpoints\": 5}"],
        ["--models", "no such file"],
        ["--cache", "lru"]
      ] as const
    ) {
      const { status, stderr } = run(name, value)
      assert.strictEqual(status, 2)
      assert.match(stderr, new RegExp(`^${name}: `))
    }
  })
})
