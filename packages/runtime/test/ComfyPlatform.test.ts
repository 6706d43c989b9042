// What a configuration asks of the platform below it, and servers that nobody named in it.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { BackendId } from "@effect-comfyui/execution/Ids"
import type { Found } from "@effect-comfyui/pool/Discovery"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as Servers from "@effect-comfyui/pool/Servers"
import { Comfy, type Seams } from "@effect-comfyui/runtime/Comfy"
import * as ComfyPlatform from "@effect-comfyui/runtime/ComfyPlatform"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { layerOf, server } from "./support/fleet.ts"

const quiet = { level: "None" } as const

const drawn = Effect.gen(function*() {
  const { submit } = yield* Pool.Pool
  const comfy = yield* Comfy
  const job = yield* submit(Workflows.textToImage())
  const success = yield* ComfyTest.advanceWhile(comfy.success(job))
  const [file] = success.files
  assert.isDefined(file)
  return { job, file, success }
})

/** How many bytes its server has of it. */
const sizeOf = Effect.fnUntraced(function*(file: Parameters<Comfy["Service"]["download"]>[0]) {
  const { bytes } = yield* (yield* Comfy).download(file)
  return yield* Stream.runFold(bytes, () => 0, (size, chunk) => size + chunk.byteLength)
})

const unused: ComfyPlatform.Shape = {
  sink: () => Effect.die("nobody asked for a sink"),
  sets: () => Effect.die("nobody asked for servers"),
  store: () => Effect.die("nobody asked for a store")
}

describe("a platform that can do nothing", () => {
  for (
    const [path, more] of [
      ["collect.directory", { collect: { directory: "./out" } }],
      ["routing.estimates", { routing: { estimates: "./estimates" } }],
      ["discovery.file", { discovery: { file: "./servers.json" } }],
      ["discovery.dns", { discovery: { dns: { service: "_comfyui._tcp.example.org" } } }]
    ] as const
  ) {
    it.effect(`refuses ${path}`, () =>
      Effect.gen(function*() {
        const { reasons } = yield* Effect.flip(Effect.scoped(Layer.build(layerOf({ servers: [], ...more }))))
        assert.deepStrictEqual(reasons.map(({ path }) => path), [path])
      }))
  }
})

describe("files", () => {
  it.effect("go where the configuration says, and results say where they are", () => {
    const stored: Array<string> = []
    const platform: ComfyPlatform.Shape = {
      ...unused,
      sink: ({ directory }) =>
        Effect.succeed({
          name: directory,
          put: ({ file: { filename } }, bytes) =>
            Effect.map(Stream.runDrain(bytes), () => {
              stored.push(filename)
              return { location: `${directory}/${filename}` }
            })
        })
    }
    return Effect.gen(function*() {
      const { file } = yield* drawn
      assert.deepStrictEqual(stored, [file.filename])
      assert.strictEqual(file.location, `/pictures/${file.filename}`)
    }).pipe(Effect.provide(
      layerOf({ servers: [server(1)], collect: { directory: "/pictures" }, logging: quiet })
        .pipe(Layer.provide(Layer.succeed(ComfyPlatform.ComfyPlatform, platform)))
    ))
  })

  it.effect("of servers that were found are reached while they are there", () =>
    Effect.gen(function*() {
      const sets = yield* Queue.unbounded<ReadonlyArray<Found>>()
      const platform: ComfyPlatform.Shape = { ...unused, sets: () => Effect.succeed(Stream.fromQueue(sets)) }
      yield* Queue.offer(sets, [{ url: server(1).url, id: "found" }])
      yield* Effect.gen(function*() {
        const { file, success } = yield* drawn
        assert.strictEqual(String(success.server), "found")
        assert.isAbove(yield* sizeOf(file), 0)
        yield* Queue.offer(sets, [])
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Effect.flip(sizeOf(file))).reason._tag, "Unreachable")
      }).pipe(Effect.provide(
        layerOf({ discovery: { file: "./servers.json" }, logging: quiet })
          .pipe(Layer.provide(Layer.succeed(ComfyPlatform.ComfyPlatform, platform)))
      ))
    }))

  it.effect("of a server that was added later are reached, and of the one that came after it under its name", () =>
    Effect.gen(function*() {
      const { servers } = yield* Pool.Pool
      const id = BackendId.make("late")
      const spec = (n: number): Servers.ServerSpec<Seams> => ({
        id,
        make: Effect.map(ComfyClient.make({ id, url: server(n).url }), ComfyClient.backend)
      })
      const context = yield* Effect.context<Seams>()
      assert.isTrue(yield* servers.add(Servers.provide(spec(1), context)))
      const { file } = yield* drawn
      assert.strictEqual(file.server, id)
      assert.isAbove(yield* sizeOf(file), 0)
      assert.isTrue(yield* ComfyTest.advanceWhile(servers.remove(id)))
      assert.strictEqual((yield* Effect.flip(sizeOf(file))).reason._tag, "Unreachable")
      assert.isTrue(yield* servers.add(Servers.provide(spec(2), context)))
      const { file: next } = yield* drawn
      assert.isAbove(yield* sizeOf(next), 0)
    }).pipe(Effect.provide(layerOf({ servers: [], logging: quiet }))))
})

describe("profiles", () => {
  it.effect("are there where the configuration asks for them", () =>
    Effect.gen(function*() {
      const { profiles } = yield* Pool.Pool
      const { job } = yield* drawn
      assert.deepInclude(Option.getOrThrow(yield* profiles.get(job.id)), { state: "succeeded", decidedBy: 1 })
    }).pipe(Effect.provide(layerOf({ servers: [server(1)], profiling: {}, logging: quiet }))))

  for (
    const [when, more] of [["it does not speak of them", {}], ["it says so", { profiling: { jobs: false } }]] as const
  ) {
    it.effect(`are not there where ${when}`, () =>
      Effect.gen(function*() {
        const { profiles } = yield* Pool.Pool
        const { job } = yield* drawn
        assert.isTrue(Option.isNone(yield* profiles.get(job.id)))
      }).pipe(Effect.provide(layerOf({ servers: [server(1)], logging: quiet, ...more }))))
  }
})
