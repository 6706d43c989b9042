import * as Discovery from "@effect-comfyui/pool/Discovery"
import * as DiscoveryNode from "@effect-comfyui/pool/DiscoveryNode"
import { Pool } from "@effect-comfyui/pool/Pool"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { createSocket } from "node:dgram"
import { all, idOf, layerFleet, ready, told } from "./support/fleet.ts"

/** A pool of four servers, none of them a member, and the sets that somebody finds. */
const followed = Effect.gen(function*() {
  const pool = yield* Pool
  const sets = yield* Queue.unbounded<ReadonlyArray<ServerSpec>>()
  yield* Effect.forkScoped(Discovery.follow(pool.servers, Stream.fromQueue(sets), { drain: "10 minutes" }))
  const find = (...found: ReadonlyArray<number | ServerSpec>) =>
    Effect.gen(function*() {
      const specs = yield* Effect.forEach(found, (one) => typeof one === "number" ? ready(one) : Effect.succeed(one))
      yield* Queue.offer(sets, specs)
      yield* TestClock.adjust("1 second")
      yield* ComfyTest.advanceUntil(
        Effect.map(pool.servers.get, (views) => views.every(({ status }) => status !== "connecting"))
      )
    })
  const names = Effect.map(pool.servers.get, (views) => views.map(({ id, status }) => `${id} ${status}`).toSorted())
  return { pool, find, names }
})

const none = Effect.provide(layerFleet(4, { members: 0 }))

describe("discovery", () => {
  it.effect("adds what is new, drains what is missing, and lets what comes back stay", () =>
    Effect.gen(function*() {
      const { find, names, pool } = yield* followed
      yield* find(1, 2, 2)
      assert.deepStrictEqual(yield* names, ["gpu-1 ready", "gpu-2 ready"])
      yield* pool.servers.pause(idOf(1))
      const job = yield* pool.submit(Workflows.slow({ seconds: 120 }))
      yield* TestClock.adjust("5 seconds")
      yield* find(1, 3)
      assert.deepStrictEqual(yield* names, ["gpu-1 paused", "gpu-2 draining", "gpu-3 ready"])
      yield* find(1, 2, 3)
      assert.deepStrictEqual(yield* names, ["gpu-1 paused", "gpu-2 busy", "gpu-3 ready"])
      yield* find(3)
      assert.strictEqual(told(yield* all(job)).at(-1), "JobSucceeded")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* names, ["gpu-3 ready"])
    }).pipe(Effect.scoped, none))

  it.effect("takes over leases; a machine that the pool has let go is not added again by the same one", () =>
    Effect.gen(function*() {
      const { find, names, pool } = yield* followed
      const rented = (minutes: number) =>
        Effect.map(ready(1), (spec) => ({ ...spec, availableUntil: minutes * 60_000 }))
      yield* find(yield* rented(20))
      yield* find(yield* rented(30))
      assert.strictEqual((yield* pool.servers.get)[0]?.availableUntil, 30 * 60_000)
      yield* (yield* ComfyTest.serverOf("gpu-1")).kill
      yield* TestClock.adjust("40 minutes")
      assert.deepStrictEqual(yield* names, [])
      yield* find(yield* rented(30), 2)
      assert.deepStrictEqual(yield* names, ["gpu-2 ready"])
      yield* (yield* ComfyTest.serverOf("gpu-1")).restart
      yield* find(yield* rented(300), 2)
      assert.deepStrictEqual(yield* names, ["gpu-1 ready", "gpu-2 ready"])
    }).pipe(Effect.scoped, none))

  it.effect("does not wait for ever for a run on a server that is gone", () =>
    Effect.gen(function*() {
      const { find, names, pool } = yield* followed
      yield* find(1)
      const job = yield* pool.submit(Workflows.slow({ seconds: 3_000 }), { timeouts: { nodeIdle: "2 hours" } })
      yield* TestClock.adjust("5 seconds")
      yield* find(2)
      yield* TestClock.adjust("11 minutes")
      assert.deepStrictEqual(yield* names, ["gpu-2 busy"])
      assert.include(told(yield* all(job)), "Placed gpu-2")
    }).pipe(Effect.scoped, none))

  it.effect("takes another server for one whose address has changed, new tags for the same, and nobody's own for its", () =>
    Effect.gen(function*() {
      const { find, names, pool } = yield* followed
      yield* pool.servers.add(yield* ready(4))
      const first = { ...(yield* ready(1)), address: "http://a:1" }
      yield* find(first)
      yield* find({ ...first, tags: ["big"], weight: 3 })
      assert.deepInclude((yield* pool.servers.get).find(({ id }) => id === idOf(1)), { tags: ["big"], weight: 3 })
      yield* find({ ...(yield* ready(2)), id: idOf(1), address: "http://b:1" })
      yield* all(yield* pool.submit(Workflows.picture(), { exclude: [idOf(4)] }))
      const { prompts } = yield* (yield* ComfyTest.serverOf("gpu-2")).ledger
      assert.strictEqual(prompts.length, 1)
      yield* find()
      assert.deepStrictEqual(yield* names, ["gpu-4 ready"])
    }).pipe(Effect.scoped, none))

  it.effect("keeps what it found while its source fails, and says nothing twice", () =>
    Effect.gen(function*() {
      let asked = 0
      const answers = [["a"], ["a"], undefined, ["a", "b"], undefined, ["b"]]
      const read = Effect.suspend(() => {
        const answer = answers[Math.min(asked++, answers.length - 1)]
        return answer === undefined
          ? Effect.fail(new Discovery.DiscoveryError({ source: "test", cause: "down" }))
          : Effect.succeed(answer.map((url) => ({ url })))
      })
      const sets = yield* Effect.forkChild(Stream.runCollect(Stream.take(Discovery.polled(read, "30 seconds"), 3)))
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual((yield* Fiber.join(sets)).map((set) => set.map(({ url }) => url)), [["a"], ["a", "b"], [
        "b"
      ]])
    }))

  it.effect("reads a list of hosts from the configuration", () =>
    Effect.gen(function*() {
      const [set] = yield* Stream.runCollect(yield* Discovery.config())
      assert.deepStrictEqual(set, [{ url: "http://gpu-1:8188" }, { url: "https://gpu.example.org" }])
      assert.deepStrictEqual(set?.map((one) => `${Discovery.nameOf(one)}`), ["gpu-1:8188", "gpu.example.org"])
    }).pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown({ COMFY_HOSTS: "gpu-1:8188, https://gpu.example.org," })
      )
    ))

  it.live("follows a file, and is not irritated by a broken one", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const path = `${yield* files.makeTempDirectoryScoped()}/servers.json`
      const write = (value: unknown) => files.writeFileString(path, JSON.stringify(value))
      yield* write([{ url: "http://a:8188", tags: ["big"] }])
      const found = yield* Queue.unbounded<ReadonlyArray<Discovery.Found>>()
      yield* Effect.forkScoped(Stream.runForEach(Discovery.file(path, "500 millis"), (set) => Queue.offer(found, set)))
      assert.deepStrictEqual(yield* Queue.take(found), [{ url: "http://a:8188", tags: ["big"] }])
      yield* files.writeFileString(path, "[{\"url\": ")
      yield* Effect.sleep("1 second")
      yield* write([{ url: "http://b:8188" }, { url: "http://c:8188", weight: 2 }])
      assert.deepStrictEqual(yield* Queue.take(found), [{ url: "http://b:8188" }, { url: "http://c:8188", weight: 2 }])
      yield* write([{ url: 7 }])
      yield* Effect.sleep("1 second")
      assert.strictEqual(yield* Queue.size(found), 0)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)))

  it("takes the best priority of a service", () => {
    const record = (name: string, priority: number, weight: number) => ({ name, port: 8188, priority, weight })
    assert.deepStrictEqual(Discovery.fromSrv([record("b", 1, 0), record("c", 2, 5), record("a", 1, 3)]), [
      { url: "http://a:8188", weight: 3 },
      { url: "http://b:8188", weight: 1 }
    ])
    assert.deepStrictEqual(Discovery.fromSrv([]), [])
  })

  it.live("asks the DNS for a service", () =>
    Effect.gen(function*() {
      const port = yield* nameserver
      const [set] = yield* Stream.runCollect(
        Stream.take(Discovery.srv("_comfyui._tcp.test", DiscoveryNode.resolveSrv([`127.0.0.1:${port}`])), 1)
      )
      assert.deepStrictEqual(set, [{ url: "http://gpu-7.test:9000", weight: 4 }])
    }).pipe(Effect.scoped))
})

const name = (text: string): Buffer =>
  Buffer.concat([
    ...text.split(".").map((part) => Buffer.from(`${String.fromCharCode(part.length)}${part}`)),
    Buffer.alloc(1)
  ])

const uint16 = (...values: ReadonlyArray<number>): Buffer =>
  Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]))

/** A nameserver that has one record: service at gpu-7.test:9000, priority 1, weight 4. */
const nameserver = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const socket = createSocket("udp4")
    socket.on("message", (question, { address, port }) => {
      const data = Buffer.concat([uint16(1, 4, 9000), name("gpu-7.test")])
      const record = Buffer.concat([uint16(0xc00c, 33, 1, 0, 60, data.length), data])
      const header = Buffer.concat([question.subarray(0, 2), uint16(0x8180, 1, 1, 0, 0)])
      const asked = question.subarray(12, question.indexOf(0, 12) + 5)
      socket.send(Buffer.concat([header, asked, record]), port, address)
    })
    socket.bind(
      0,
      "127.0.0.1",
      () => resume(Effect.succeed({ port: socket.address().port, close: () => socket.close() }))
    )
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map(({ port }) => port))
