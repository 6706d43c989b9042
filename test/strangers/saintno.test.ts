import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { CallWrapper, ComfyApi, type ImageInfo, PromptBuilder } from "@saintno/comfyui-sdk"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { acquire, ended, fake } from "./support.ts"

const connect = (url: string, clientId: string) =>
  Effect.tap(
    acquire(() => new ComfyApi(url, clientId), (api) => api.destroy()),
    (api) => Effect.promise(() => api.init().waitForReady())
  )

type Nodes = ConstructorParameters<typeof PromptBuilder>[0]

/** Its own type of a prompt, titles included. */
const nodesOf = (workflow: ReturnType<typeof Workflows.picture>): Nodes =>
  Object.fromEntries(
    Object.entries(workflow.nodes).map(([id, node]) => [id, {
      class_type: node.class_type,
      inputs: { ...node.inputs },
      _meta: { title: id }
    }])
  )

/** A call whose pictures come out of one node, and what it says on its way. */
const call = (api: ComfyApi, workflow: ReturnType<typeof Workflows.picture>, output: string) => {
  const heard: Array<string> = []
  const builder = new PromptBuilder(nodesOf(workflow), [], ["pictures"]).setRawOutputNode("pictures", output)
  const wrapper = new CallWrapper(api, builder)
    .onPending(() => heard.push("pending"))
    .onStart(() => heard.push("start"))
    .onProgress(({ max, value }) => heard.push(`${value}/${max}`))
    .onFinished(() => heard.push("finished"))
    .onFailed((error) => heard.push(error.name))
  return { heard, run: Effect.promise(() => wrapper.run()) }
}

const picturesOf = (result: unknown): ReadonlyArray<ImageInfo> => {
  if (typeof result !== "object" || result === null || !("pictures" in result)) return []
  const { pictures } = result
  if (typeof pictures !== "object" || pictures === null || !("images" in pictures)) return []
  return Array.isArray(pictures.images) ? pictures.images : []
}

/** What @saintno/comfyui-sdk does with a real server it does with the fake one. */
describe("@saintno/comfyui-sdk", () => {
  it.live("submits, watches and fetches", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ speed: 0.2 })
      const api = yield* connect(url, "saint-1")
      const { heard, run } = call(api, Workflows.textToImage({ steps: 4 }), "9")
      const pictures = picturesOf(yield* run)
      assert.strictEqual(heard[0], "pending")
      assert.includeMembers(heard, ["start", "4/4", "finished"])
      assert.strictEqual(pictures.length, 1)
      for (const picture of pictures) {
        const blob = yield* Effect.promise(() => api.getImage(picture))
        assert.strictEqual(blob.type, "image/png")
      }
    }).pipe(Effect.scoped))

  it.live("uploads a picture and reads what the server has", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ instant: true, profile: "0.27.0" })
      const api = yield* connect(url, "saint-2")
      const uploaded = yield* Effect.promise(() => api.uploadImage(Uint8Array.of(1, 2, 3), "three.png"))
      assert.strictEqual(uploaded === false ? undefined : uploaded.info.filename, "three.png")
      const [models, stats, nodes] = yield* Effect.promise(() =>
        Promise.all([api.getCheckpoints(), api.getSystemStats(), api.getNodeDefs("KSampler")])
      )
      assert.include(models, Workflows.checkpoint)
      assert.strictEqual(stats.devices.length, 1)
      assert.deepStrictEqual(Object.keys(nodes ?? {}), ["KSampler"])
    }).pipe(Effect.scoped))

  it.live("is interrupted", () =>
    Effect.gen(function*() {
      const { url } = yield* fake()
      const api = yield* connect(url, "saint-3")
      const { heard, run } = call(api, Workflows.slow({ seconds: 60 }), "3")
      const running = yield* Effect.forkChild(run, { startImmediately: true })
      yield* Effect.callback<void>((resume) => {
        api.on("executing", ({ detail }) => {
          if (detail.node === "2") resume(Effect.void)
        })
      })
      // It listens for the end only after more questions to the server.
      yield* Effect.sleep("2 seconds")
      yield* Effect.promise(() => api.interrupt())
      assert.strictEqual(yield* Fiber.join(running), false)
      // On a busy machine it was not listening yet, and finds the job missing later.
      assert.isTrue(
        heard.some((name) => name === "ExecutionInterruptedError" || name === "WentMissingError"),
        String(heard)
      )
      assert.deepStrictEqual(yield* ended(url, 1), ["execution_interrupted"])
    }).pipe(Effect.scoped))

  it.live("fails a job whose node failed, with its cause or without, as with a real server", () =>
    Effect.gen(function*() {
      const { url } = yield* fake()
      const api = yield* connect(url, "saint-4")
      const { heard, run } = call(api, Workflows.outOfMemory({ seconds: 0.5 }), "1")
      assert.strictEqual(yield* run, false)
      assert.isTrue(heard.some((name) => name === "CustomEventError" || name === "WentMissingError"), String(heard))
      assert.deepStrictEqual(yield* ended(url, 1), ["execution_error"])
    }).pipe(Effect.scoped))

  it.live("loses the cause or waits for ever where a node fails at once, as with a real server", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ instant: true })
      const api = yield* connect(url, "saint-5")
      const ends: Array<string> = []
      for (let n = 1; n <= 8; n++) {
        const { heard, run } = call(api, Workflows.raising({ message: `number ${n}` }), "1")
        const result = yield* Effect.timeoutOption(run, "1 second")
        assert.notStrictEqual(heard.at(-1), "finished")
        ends.push(result._tag === "None" ? "hangs" : heard.find((name) => name.endsWith("Error")) ?? "nothing")
      }
      // The server has told of every one.
      assert.deepStrictEqual(new Set(yield* ended(url, 8)), new Set(["execution_error"]))
      assert.isTrue(ends.some((end) => end === "hangs" || end === "WentMissingError"), String(ends))
    }).pipe(Effect.scoped))

  it.live("calls a job failed when its socket breaks, though the server goes on to the end of it", () =>
    Effect.gen(function*() {
      const { server, url } = yield* fake()
      const api = yield* connect(url, "saint-6")
      const { heard, run } = call(api, Workflows.slow({ seconds: 2 }), "3")
      const running = yield* Effect.forkChild(run, { startImmediately: true })
      yield* Effect.callback<void>((resume) => {
        api.on("executing", ({ detail }) => {
          if (detail.node === "2") resume(Effect.void)
        })
      })
      yield* Effect.sleep("500 millis")
      yield* server.cutSockets()
      yield* Fiber.join(running)
      assert.include(heard, "DisconnectedError")
      assert.deepStrictEqual(yield* ended(url, 1), ["execution_success"])
      assert.deepStrictEqual((yield* server.ledger).prompts.map(({ outcome }) => outcome), ["success"])
    }).pipe(Effect.scoped))
})
