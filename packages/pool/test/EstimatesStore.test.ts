// What is learnt of times survives its process, whatever becomes of the place where it is kept.
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as EstimatesStore from "@effect-comfyui/pool/EstimatesStore"
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import { Workflows } from "@effect-comfyui/testing"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as KeyValueStore from "effect/persistence/KeyValueStore"
import * as TestClock from "effect/testing/TestClock"
import { all } from "./support/fleet.ts"
import * as Process from "./support/process.ts"

const server = BackendId.make("gpu-1")

const learn = (state: Estimates.State, executionMs: number) =>
  Estimates.step(state, { server, key: "a1:a", cold: false, executionMs })

const warmMs = (state: Estimates.State): number => Estimates.estimate(state, server, "a1:a").warmMs

/** One process after the other: what each found, before it learnt so much. */
const process = (store: KeyValueStore.KeyValueStore, ...times: ReadonlyArray<number>) =>
  Effect.scoped(Effect.map(EstimatesStore.open({ store }), (state) => {
    const found = warmMs(state)
    for (const ms of times) learn(state, ms)
    return found
  }))

const unknown = warmMs(Estimates.init())

const layerFiles = Layer.unwrap(Effect.gen(function*() {
  const directory = yield* (yield* FileSystem.FileSystem).makeTempDirectoryScoped()
  return KeyValueStore.layerFileSystem(directory)
})).pipe(Layer.provide([NodeFileSystem.layer, NodePath.layer]))

for (const [name, layer] of [["memory", KeyValueStore.layerMemory], ["files", layerFiles]] as const) {
  describe(`estimates kept in ${name}`, () => {
    it.effect("are there for the next process, and the one after", () =>
      Effect.gen(function*() {
        const store = yield* KeyValueStore.KeyValueStore
        assert.strictEqual(yield* process(store, 700), unknown)
        assert.strictEqual(yield* process(store), 700)
        assert.strictEqual(yield* process(store, 700, 700), 700)
        assert.strictEqual(yield* process(store), 700)
      }).pipe(Effect.provide(layer)))

    it.effect("lose one save at the most where a place was cut short, or is of somebody else", () =>
      Effect.gen(function*() {
        const store = yield* KeyValueStore.KeyValueStore
        yield* process(store, 100)
        yield* process(store, 100, 100, 100, 5_000)
        for (const key of EstimatesStore.keys) {
          const text = (yield* store.get(key)) ?? ""
          for (
            const bad of [
              text.slice(0, text.length / 2),
              "",
              "[]",
              "{\"save\":9}",
              text.replace("\"version\":1", "\"version\":7")
            ]
          ) {
            yield* store.set(key, bad)
            const found = yield* process(store)
            assert.isTrue(found === 100 || found > 1_000, `${found}`)
          }
          yield* store.set(key, text)
        }
        for (const key of EstimatesStore.keys) yield* store.set(key, "gone")
        assert.strictEqual(yield* process(store, 300), unknown)
        assert.strictEqual(yield* process(store), 300)
      }).pipe(Effect.provide(layer)))
  })
}

it.effect("estimates are saved now and then, where anything was learnt", () =>
  Effect.scoped(Effect.gen(function*() {
    const store = yield* KeyValueStore.KeyValueStore
    const state = yield* EstimatesStore.open({ store, every: "1 minute" })
    yield* TestClock.adjust("5 minutes")
    assert.strictEqual(yield* store.size, 0)
    learn(state, 400)
    yield* TestClock.adjust("2 minutes")
    assert.strictEqual(yield* store.size, 1)
    learn(state, 800)
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(yield* store.size, 2)
  })).pipe(Effect.provide(KeyValueStore.layerMemory)))

it.effect("a store that fails stops nobody", () =>
  Effect.gen(function*() {
    const fail = Effect.fail(new KeyValueStore.KeyValueStoreError({ method: "any", message: "the disk is gone" }))
    const store = KeyValueStore.makeStringOnly({
      get: () => fail,
      set: () => fail,
      remove: () => fail,
      clear: fail,
      size: fail,
      keys: fail
    })
    assert.strictEqual(yield* process(store, 700), unknown)
  }))

it.effect("a pool that is started again places by what the one before has learnt", () =>
  Effect.gen(function*() {
    const store = yield* KeyValueStore.KeyValueStore
    const options = { profiles: true, estimates: { store } }
    const first = yield* Process.start(1, options)
    yield* all(yield* first.pool.submit(Workflows.slow({ seconds: 300 })))
    yield* first.close
    const second = yield* Process.start(1, options)
    const job = yield* second.pool.submit(Workflows.slow({ seconds: 301 }))
    yield* all(job)
    const [attempt] = yield* job.why
    assert.strictEqual(attempt?.why["estimateFrom"], "pair")
    assert.isAbove(Number(attempt?.why["estimateMs"]), 250_000)
    yield* second.close
  }).pipe(Effect.provide([Process.layerWorld(1, 1), KeyValueStore.layerMemory])))
