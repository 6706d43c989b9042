import { Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@stable-canvas/comfyui-client"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { WebSocket } from "ws"
import { acquire, ended, fake } from "./support.ts"

const connect = (url: string, clientId: string) =>
  Effect.tap(
    acquire(
      () => new Client({ api_host: url.replace("http://", ""), clientId, fetch, WebSocket }),
      (client) => client.close()
    ),
    (client) => Effect.promise(() => client.connect())
  )

const prompt = (workflow: ReturnType<typeof Workflows.picture>): Record<string, unknown> => ({ ...workflow.nodes })

const png = [0x89, 0x50, 0x4e, 0x47]

/** What @stable-canvas/comfyui-client does with a real server it does with the fake one. */
describe("@stable-canvas/comfyui-client", () => {
  it.live("submits, watches and fetches", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ speed: 0.1 })
      const client = yield* connect(url, "stable-1")
      const values: Array<number> = []
      const result = yield* Effect.promise(() =>
        client.enqueue(prompt(Workflows.textToImage({ seed: 7, steps: 4 })), {
          progress: ({ value }) => values.push(value)
        })
      )
      assert.includeMembers([1, 2, 3, 4], values)
      assert.strictEqual(values.at(-1), 4)
      const [image] = result.images
      assert.strictEqual(image?.type, "url")
      const bytes = yield* Effect.promise(() => fetch(String(image?.data)).then((response) => response.bytes()))
      assert.deepStrictEqual([...bytes.subarray(0, 4)], png)
    }).pipe(Effect.scoped))

  it.live("polls without a socket", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ instant: true })
      const client = yield* acquire(
        () => new Client({ api_host: url.replace("http://", ""), fetch, WebSocket }),
        (made) => made.close()
      )
      const result = yield* Effect.promise(() =>
        client.enqueue_polling(prompt(Workflows.picture()), { polling_ms: 20 })
      )
      assert.strictEqual(result.images.length, 1)
    }).pipe(Effect.scoped))

  it.live("reads what the server has", () =>
    Effect.gen(function*() {
      const { url } = yield* fake({ instant: true, profile: "0.27.0" })
      const client = yield* connect(url, "stable-2")
      const [samplers, models, loras, stats, queue] = yield* Effect.promise(() =>
        Promise.all([
          client.getSamplers(),
          client.getSDModels(),
          client.getLoRAs(),
          client.getSystemStats(),
          client.getQueue()
        ])
      )
      assert.include(samplers, "euler")
      assert.include(models, Workflows.checkpoint)
      assert.deepStrictEqual(loras, ["detail.safetensors"])
      assert.strictEqual(stats.system.comfyui_version, "0.27.0")
      assert.deepStrictEqual(queue, { Running: [], Pending: [] })
    }).pipe(Effect.scoped))

  it.live("hears why a node failed", () =>
    Effect.gen(function*() {
      const { url } = yield* fake()
      const client = yield* connect(url, "stable-3")
      const exit = yield* Effect.exit(
        Effect.tryPromise(() => client.enqueue(prompt(Workflows.outOfMemory({ seconds: 0.2 }))))
      )
      assert.match(Exit.isFailure(exit) ? String(exit.cause) : "", /Allocation on device/)
    }).pipe(Effect.scoped))

  it.live("interrupts, and never hears of it: its promise waits for its timeout, as with a real server", () =>
    Effect.gen(function*() {
      const { url } = yield* fake()
      const client = yield* connect(url, "stable-4")
      const heard: Array<string> = []
      client.on("execution_interrupted", () => heard.push("execution_interrupted"))
      const running = yield* Effect.forkChild(
        Effect.exit(
          Effect.tryPromise(() => client.enqueue(prompt(Workflows.slow({ seconds: 60 })), { timeout_ms: 3_000 }))
        ),
        { startImmediately: true }
      )
      yield* Effect.callback<void>((resume) => {
        client.on("executing", ({ node }) => {
          if (node === "2") resume(Effect.void)
        })
      })
      yield* Effect.promise(() => client.interrupt())
      assert.deepStrictEqual(yield* ended(url, 1), ["execution_interrupted"])
      assert.deepStrictEqual(heard, ["execution_interrupted"])
      assert.isUndefined(running.pollUnsafe())
      const exit = yield* Fiber.join(running)
      assert.match(Exit.isFailure(exit) ? String(exit.cause) : "", /timeout|timed out/i)
    }).pipe(Effect.scoped))
})
