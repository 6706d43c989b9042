import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as Router from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import { Comfy } from "@effect-comfyui/runtime/Comfy"
import * as ComfyModule from "@effect-comfyui/runtime/Comfy"
import * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import * as ComfyQueue from "@effect-comfyui/runtime/ComfyQueue"
import * as Results from "@effect-comfyui/runtime/Results"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { fakes, layerOf, recorder, server } from "./support/fleet.ts"

const quiet = { level: "None" } as const

const draw = Effect.gen(function*() {
  const pool = yield* Pool.Pool
  const comfy = yield* Comfy
  const job = yield* pool.submit(Workflows.textToImage())
  const { files, outputs, server } = yield* ComfyTest.advanceWhile(
    comfy.result(job, Results.declare({ hero: Results.image("9") }))
  )
  assert.strictEqual(files.length, 1)
  assert.strictEqual(outputs.hero.server, server)
  const { bytes, sizeBytes } = yield* comfy.download(outputs.hero)
  const all = yield* Stream.runFold(bytes, () => 0, (size, chunk) => size + chunk.byteLength)
  assert.isAbove(all, 0)
  assert.strictEqual(all, sizeBytes)
  return { job, server }
})

describe("the layer of a configuration", () => {
  it.effect("is a pool of its servers, whose results are typed and can be fetched", () =>
    Effect.gen(function*() {
      const { job, server } = yield* draw
      assert.isNotNull(server)
      const [attempt] = yield* job.why
      assert.strictEqual(attempt?.why["policy"], "cost-aware")
      const pool = yield* Pool.Pool
      const views = yield* pool.servers.get
      assert.deepStrictEqual(views.map(({ id, tags }) => [String(id), tags]), [["gpu-1", ["fast"]], ["gpu-2", []]])
    }).pipe(Effect.provide(layerOf({ servers: [{ ...server(1), tags: ["fast"] }, server(2)], logging: quiet }))))

  it.effect("comes from the environment as well", () =>
    Effect.provide(
      draw,
      ComfyModule.layerConfig.pipe(
        Layer.provide(ComfyQueue.layerMemory()),
        Layer.provideMerge(fakes),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
          env: {
            COMFY_SERVERS_0_ID: "gpu-1",
            COMFY_SERVERS_0_URL: server(1).url,
            COMFY_ROUTING_POLICY: "round-robin",
            COMFY_LOGGING_LEVEL: "None"
          }
        })))
      )
    ))

  it.effect("fails with what is wrong with it, before anything is dialled", () =>
    Effect.gen(function*() {
      const wrong: ComfyConfig.Input = { servers: [{ url: "gpu-1:8188" }] }
      const error = yield* Effect.flip(Effect.scoped(Layer.build(layerOf(wrong))))
      assert.deepStrictEqual(error.reasons.map(({ path }) => path), ["servers.0.url"])
    }))

  it.effect("says no file of a server that it does not have", () =>
    Effect.gen(function*() {
      const comfy = yield* Comfy
      const { job } = yield* draw
      const { files } = yield* comfy.success(job)
      const pool = yield* Pool.Pool
      for (const { id } of yield* pool.servers.get) yield* pool.servers.remove(id)
      const [file] = files
      assert.isDefined(file)
      const error = yield* Effect.flip(comfy.download(file))
      assert.strictEqual(error.reason._tag, "Unreachable")
      const nowhere = yield* Effect.flip(comfy.download({ ...file, server: BackendId.make("nobody") }))
      assert.strictEqual(nowhere.reason._tag, "Unreachable")
    }).pipe(Effect.provide(layerOf({ servers: [server(1)], logging: quiet }))))

  for (
    const [policy, name] of [
      ["cost-aware", "cost-aware"],
      ["least-loaded", "least-loaded"],
      ["round-robin", "round-robin"],
      ["hash", "hash"]
    ] as const
  ) {
    it.effect(`routes by ${policy} where it says so`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        assert.strictEqual(router.name, name)
      }).pipe(Effect.provide(ComfyModule.layerRouter({ servers: [], routing: { policy } }))))
  }

  it.effect("takes a router of one's own in the place of the one it names", () =>
    Effect.gen(function*() {
      const { job } = yield* draw
      const [attempt] = yield* job.why
      assert.strictEqual(attempt?.why["policy"], "round-robin")
    }).pipe(Effect.provide(
      ComfyModule.layerPool({ servers: [server(1)], routing: { policy: "hash" }, logging: quiet }).pipe(
        Layer.provide([ComfyQueue.layerMemory(), RouterPolicies.layerRoundRobin]),
        Layer.provideMerge(fakes)
      )
    )))

  it.effect("limits jobs that say nothing themselves, and no others", () =>
    Effect.gen(function*() {
      const pool = yield* Pool.Pool
      const slow = Workflows.slow({ seconds: 120 })
      const job = yield* pool.submit(slow)
      const own = yield* pool.submit(slow, { timeouts: { total: "10 minutes" }, deadline: "15 minutes" })
      const [one] = yield* pool.submitAll([slow])
      const last = yield* Effect.forkChild(Stream.runLast(pool.run(slow)), { startImmediately: true })
      yield* TestClock.adjust("20 minutes")
      const ending = Effect.fnUntraced(function*(job: Pool.PoolJob | undefined) {
        const status = yield* job?.status ?? Effect.undefined
        return status?._tag === "Ended" ? status.ending._tag : status?._tag
      })
      assert.strictEqual(yield* ending(job), "JobFailed")
      assert.strictEqual(yield* ending(own), "JobSucceeded")
      assert.strictEqual(yield* ending(one), "JobFailed")
      const exit = last.pollUnsafe()
      assert.isTrue(exit !== undefined && Exit.isSuccess(exit) && exit.value._tag === "Some")
      assert.isTrue(exit?._tag === "Success" && exit.value._tag === "Some" && exit.value.value._tag === "JobFailed")
    }).pipe(Effect.provide(
      layerOf({
        servers: [server(1), server(2)],
        timeouts: { total: "1 minute", deadline: "5 minutes" },
        failover: { serverFaults: 0 },
        logging: quiet
      })
    )))
})

describe("what is logged", () => {
  it.effect("warns once that a queue is in memory", () => {
    const { layer, lines } = recorder()
    return Effect.gen(function*() {
      yield* draw
      assert.strictEqual(lines.filter((line) => line.includes("kept in memory")).length, 1)
    }).pipe(Effect.provide(layerOf({ servers: [server(1)] }).pipe(Layer.provide(layer))))
  })

  it.effect("has a line for each server's runs, as often as is wanted", () => {
    const { layer, lines } = recorder()
    return Effect.gen(function*() {
      yield* draw
      yield* draw
      yield* TestClock.adjust("1 hour")
      const found = lines.filter((line) => line.includes("runs of a server"))
      assert.strictEqual(found.length, 1)
      assert.include(found[0], "\"runs\":2")
    }).pipe(Effect.provide(
      layerOf({ servers: [server(1)], profiling: { every: "30 minutes" } }).pipe(Layer.provide(layer))
    ))
  })

  for (
    const [format, logger] of [["json", Logger.consoleJson], ["logfmt", Logger.consoleLogFmt]] as const
  ) {
    it.effect(`is written as ${format} where that is wanted`, () =>
      Effect.gen(function*() {
        const settings = yield* ComfyConfig.decode({ servers: [], logging: { format } })
        const loggers = yield* Logger.CurrentLoggers.pipe(Effect.provide(ComfyModule.layerLogging(settings)))
        assert.deepStrictEqual([...loggers], [logger])
      }))
  }

  it.effect("is what the configuration wants", () => {
    const { layer, lines } = recorder()
    return Effect.gen(function*() {
      yield* draw
      assert.isFalse(lines.some((line) => line.includes("runs of a server")))
    }).pipe(Effect.provide(
      layerOf({ servers: [server(1)], profiling: { every: "1 second" }, logging: { level: "Error" } }).pipe(
        Layer.provide(layer)
      )
    ))
  })
})
