import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import { Pool, type PoolJob } from "@effect-comfyui/pool/Pool"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { sha256 } from "@effect-comfyui/workflow/Digest"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { all, layerFleet } from "./support/fleet.ts"

const routers = {
  costAware: RouterPolicies.layerCostAware,
  leastLoaded: RouterPolicies.layerLeastLoaded,
  roundRobin: RouterPolicies.layerRoundRobin,
  hash: RouterPolicies.layerHash,
  affinity: RouterPolicies.layerAffinity()
}

const orders = Array.from({ length: 18 }, (_, n) => {
  const seed = Math.floor(n / 3)
  if (n % 3 === 0) return Workflows.textToImage({ seed, steps: 5, width: 64, height: 64 })
  if (n % 3 === 1) {
    return Workflows.textToImage({ seed, steps: 5, width: 64, height: 64, checkpoint: "sd_xl_base_1.0.safetensors" })
  }
  return Workflows.picture({ color: 1_000 * seed })
})

/** What the job drew, byte for byte, as the server that ran it gives it out. */
const drawn = (job: PoolJob) =>
  Effect.scoped(Effect.gen(function*() {
    const last = (yield* all(job)).at(-1)
    const server = (yield* job.why).at(-1)?.server ?? ""
    const client = yield* ComfyClient.make({ url: ComfyTest.urlOf(server), socket: "none" })
    const files = last?._tag === "JobSucceeded" ? Outputs.files(last.outputs) : []
    return yield* Effect.forEach(files, (file) =>
      Effect.gen(function*() {
        const { bytes } = yield* ComfyTest.advanceWhile(client.files.download(file))
        return sha256(Buffer.concat(yield* ComfyTest.advanceWhile(Stream.runCollect(bytes))))
      }))
  }))

const play = (router: keyof typeof routers) =>
  Effect.gen(function*() {
    const pool = yield* Pool
    const jobs = yield* pool.submitAll(orders)
    const pictures = yield* Effect.forEach(jobs, drawn)
    const { servers } = yield* pool.snapshot
    return { pictures, servers: servers.length }
  }).pipe(
    Effect.provide(layerFleet(3, {
      router: routers[router],
      servers: () => ({ hardware: { stepMsPerMegapixel: 500, diskBytesPerSecond: 1e9 } })
    }))
  )

it.effect("whatever the router, the same jobs give the same pictures", () =>
  Effect.gen(function*() {
    const expected = yield* play("costAware")
    assert.isTrue(expected.pictures.every(({ length }) => length === 1))
    assert.isAbove(new Set(expected.pictures.flat()).size, 12)
    for (const router of ["leastLoaded", "roundRobin", "hash", "affinity"] as const) {
      assert.deepStrictEqual(yield* play(router), expected)
    }
  }))
