/**
 * A run outlives the process that submitted it. This process submits and goes; another one, which knows the address and
 * the run's id and nothing else, attaches and learns how it ended.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { RunId } from "@effect-comfyui/execution/Ids"
import * as Workflows from "@effect-comfyui/testing/Workflows"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import process from "node:process"
import { serverUrl } from "./support/server.ts"

const submit = (url: string) =>
  Effect.gen(function*() {
    const client = yield* ComfyClient.make({ url })
    const { runId } = yield* client.submit(Workflows.textToImage({ seed: -1 }))
    yield* Console.log(`process ${process.pid} submitted ${runId} and closes its client`)
    return runId
  }).pipe(Effect.scoped)

const watch = (url: string, runId: RunId) =>
  Effect.gen(function*() {
    const client = yield* ComfyClient.make({ url })
    yield* Stream.runForEach(client.attach(runId), (event) => Console.log(`process ${process.pid} sees ${event._tag}`))
  }).pipe(Effect.scoped)

/** This file again, as a process of its own. */
const inAnotherProcess = (url: string, runId: RunId): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, url, runId], { stdio: "inherit" })
    child.once("exit", (code) =>
      resume(code === 0 ? Effect.void : Effect.die(new Error(`the other process ended with ${code}`))))
    return Effect.sync(() =>
      child.kill()
    )
  })

const program = Effect.gen(function*() {
  const [url, runId] = process.argv.slice(2)
  if (url !== undefined && runId !== undefined) return yield* watch(url, RunId.make(runId))
  const address = yield* serverUrl
  yield* inAnotherProcess(address, yield* submit(address))
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(PlatformNode.layer())))
