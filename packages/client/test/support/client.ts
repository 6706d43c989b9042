// A client of one fake server in memory, on the test clock.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { FakeServers, TestNodes } from "@effect-comfyui/testing"
import type { FakeServer } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"

export const origin = "http://gpu-1:8188"

/** The layers of one fake server with the classes that misbehave on purpose. */
export const fake = (options: FakeServers.ServerOptions = {}) =>
  FakeServers.layer({ [origin]: { nodes: [...TestNodes.nodes, ...(options.nodes ?? [])], ...options } })

export const theServer: Effect.Effect<FakeServer, never, FakeServers.FakeServers> = Effect.map(
  FakeServers.FakeServers,
  (servers) => servers.get(origin)
)

/** Waits until the socket is up, so that what follows begins on a whole connection. */
export const connected = (client: ComfyClient.Shape): Effect.Effect<void> =>
  client.link.changes.pipe(Stream.takeUntil((state) => state._tag === "Up"), Stream.runDrain)

/** A client whose socket is up. */
export const connect = Effect.fnUntraced(function*(options: Partial<ComfyClient.Options> = {}) {
  const client = yield* ComfyClient.make({ url: origin, ...options })
  yield* connected(client)
  return client
})

/** A run with everything it has said so far. */
export interface Watched {
  readonly events: Array<ExecutionEvent>
  readonly fiber: Fiber.Fiber<void>
  /** The tags of all but progress and previews. */
  readonly tags: () => ReadonlyArray<string>
  /** Stops listening, as a consumer that goes away does. */
  readonly stop: Effect.Effect<void>
  /** Waits for the end of the stream, and gives everything. */
  readonly all: Effect.Effect<ReadonlyArray<ExecutionEvent>>
}

/** Listens to a stream in the background from now on. */
export const listen = Effect.fnUntraced(function*(stream: Stream.Stream<ExecutionEvent>) {
  const events: Array<ExecutionEvent> = []
  const fiber = yield* Effect.forkChild(
    Stream.runForEachArray(stream, (some) => Effect.sync(() => void events.push(...some))),
    { startImmediately: true }
  )
  const watched: Watched = {
    events,
    fiber,
    tags: () => events.filter((event) => event._tag !== "NodeProgress" && event._tag !== "Preview").map(tagOf),
    stop: Fiber.interrupt(fiber),
    all: Effect.as(Fiber.join(fiber), events)
  }
  return watched
})

/** Starts a run and listens to it. */
export const watchRun = (
  client: ComfyClient.Shape,
  workflow: Workflow,
  options?: ComfyClient.RunOptions
): Effect.Effect<Watched> => listen(client.run(workflow, options))

const tagOf = (event: ExecutionEvent): string => event._tag

/** The ending of a run, as short text: its tag, how it was learnt, and why. */
export const ending = (events: ReadonlyArray<ExecutionEvent>): string => {
  const last = events.at(-1)
  switch (last?._tag) {
    case "Completed":
      return `Completed via ${last.via}`
    case "Failed":
      return `Failed(${last.error.reason._tag}) via ${last.via}`
    case "Cancelled":
      return `Cancelled by ${last.by} via ${last.via}`
    default:
      return `open after ${last?._tag}`
  }
}

/** What the server was asked over HTTP since the first prompt, as `METHOD /path status`. */
export const asked = (server: FakeServer): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(server.requests, (log) => {
    const first = log.findIndex((request) => request.method === "POST" && request.target.endsWith("/prompt"))
    const since = log.slice(first === -1 ? 0 : first).filter((request) => !request.target.startsWith("/ws"))
    return since.map((request) =>
      `${request.method} ${request.target.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "ID")} ${request.outcome}`
    )
  })

/** How the server's own ledger says that its prompts ended. */
export const outcomes = (server: FakeServer) =>
  Effect.map(server.ledger, (ledger) => ledger.prompts.map((prompt) => prompt.outcome))
