import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { connected, ending, listen } from "./support/client.ts"
import { picture, steps } from "./support/workflows.ts"

/** Waits for an event of a run. */
const until = (client: ComfyClient.Shape, tag: string, workflow = steps(10_000, 100)) =>
  Effect.gen(function*() {
    const handle = yield* client.submit(workflow)
    yield* handle.events().pipe(Stream.takeUntil((event) => event._tag === tag), Stream.runDrain)
    return handle
  })

const make = (url: string) =>
  Effect.tap(ComfyClient.make({ url, pingInterval: "100 millis" }), (client) => connected(client))

describe("a server process", () => {
  it.live("killed in a run and started again on the same port: Lost, and the next run goes well", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({ testNodes: true })
      const client = yield* make(fake.url)
      const handle = yield* until(client, "NodeProgress")
      yield* fake.kill("SIGKILL")
      yield* fake.restart
      const error = yield* Effect.flip(handle.result)
      assert.strictEqual(error.reason._tag, "Lost")
      yield* connected(client)
      assert.strictEqual((yield* client.result(picture()))._tag, "Completed")
    }).pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))

  it.live("stopped in a run: pings and HTTP hang, nothing is concluded; it goes on where it was", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({ testNodes: true })
      const client = yield* make(fake.url)
      const run = yield* listen(client.run(steps(20, 100)))
      yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => run.events.length > 5 })
      yield* fake.stop
      yield* Effect.sleep("1 second")
      yield* fake.continue
      yield* Fiber.join(run.fiber)
      assert.match(ending(run.events), /^Completed/)
    }).pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))

  it.live("that goes away while the run ends: the truth is in its history", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({ testNodes: true })
      const client = yield* make(fake.url)
      const handle = yield* until(client, "Started", steps(10, 100))
      yield* fake.stop
      yield* Effect.sleep("200 millis")
      yield* fake.continue
      assert.strictEqual((yield* handle.result)._tag, "Completed")
    }).pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))

  it.live("a program that used a client ends by itself", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({ testNodes: true, instant: true })
      const code = yield* Effect.callback<number | null>((resume) => {
        const child = spawn(
          process.execPath,
          [
            ...process.execArgv,
            "--conditions=@effect-comfyui/source",
            `${import.meta.dirname}/support/oneRun.ts`,
            fake.url
          ],
          { stdio: "inherit" }
        )
        child.on("exit", (status) => resume(Effect.succeed(status)))
        return Effect.sync(() => child.kill("SIGKILL"))
      })
      assert.strictEqual(code, 0)
    }).pipe(Effect.scoped))
})
