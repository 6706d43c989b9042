// @effect-diagnostics asyncFunction:off newPromise:off
// The same through this library.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"

export const workflow = Workflow.fromNodes({ "12": { class_type: "Bench", inputs: { seed: 1 } } })

export interface Ours {
  readonly client: ComfyClient.Shape
  readonly close: () => Promise<void>
}

/** A client with its socket up. */
export const connect = async (url: string): Promise<Ours> => {
  const scope = Scope.makeUnsafe()
  const client = await Effect.runPromise(
    Effect.gen(function*() {
      const context = yield* Layer.buildWithScope(PlatformNode.layer(), scope)
      const client = yield* Effect.provideContext(Scope.provide(ComfyClient.make({ url }), scope), context)
      yield* client.link.changes.pipe(Stream.takeUntil((state) => state._tag === "Up"), Stream.runDrain)
      return client
    })
  )
  return { client, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}

/** One run whose events so many subscribers get, everything and each all of it. */
export const watched = (
  client: ComfyClient.Shape,
  subscribers: number,
  take: (events: ReadonlyArray<ExecutionEvent>, subscriber: number) => void
): Promise<void> =>
  Effect.runPromise(Effect.gen(function*() {
    const handle = yield* client.submit(workflow)
    yield* Effect.forEach(
      Array.from({ length: subscribers }, (_, index) => index),
      (index) =>
        Stream.runForEachArray(
          handle.events({ progress: "all", previews: "all", maxBytes: 1024 * 1024 * 1024 }),
          (events) => Effect.sync(() => take(events, index))
        ),
      { concurrency: "unbounded", discard: true }
    )
  }))

/** Runs one after another, each to its end. */
export const runs = (client: ComfyClient.Shape, count: number): Promise<void> =>
  Effect.runPromise(Effect.gen(function*() {
    for (let i = 0; i < count; i++) yield* client.result(workflow)
  }))
