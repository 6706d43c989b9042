// @effect-diagnostics asyncFunction:off newPromise:off
// So many idle connections in a process of their own: `links.ts SIDE URL COUNT`. Prints what they added to its memory.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { setTimeout as sleep } from "node:timers/promises"
import * as Raw from "./raw.ts"

const [side = "", url = "", count = "0"] = process.argv.slice(2)

/** Resident bytes, after everything that can go has gone: pages that V8 keeps in reserve too. */
const resident = async (): Promise<number> => {
  for (let i = 0; i < 5; i++) {
    await globalThis.gc?.({ type: "major", execution: "async", flavor: "last-resort" })
    await sleep(100)
  }
  return process.memoryUsage.rss()
}

const ours = async (clients: number): Promise<unknown> => {
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(Layer.buildWithScope(PlatformNode.layer(), scope))
  const one = Effect.gen(function*() {
    const client = yield* Effect.provideContext(Scope.provide(ComfyClient.make({ url }), scope), context)
    yield* client.link.changes.pipe(Stream.takeUntil((state) => state._tag === "Up"), Stream.runDrain)
    return client
  })
  return Effect.runPromise(Effect.forEach(Array.from({ length: clients }), () => one, { concurrency: 50 }))
}

const raw = async (clients: number): Promise<unknown> => {
  const all: Array<Raw.Raw> = []
  for (let i = 0; i < clients; i++) all.push(await Raw.connect(url))
  return all
}

const connect = side === "ours" ? ours : raw
// One of them first: its code and its pools are not what a connection costs.
const kept = [await connect(1)]
const before = await resident()
kept.push(await connect(Number(count)))
const after = await resident()
process.stdout.write(`${JSON.stringify({ bytes: after - before, kept: kept.length })}\n`, () => process.exit(0))
