/** What a client reports beside its runs: connections, load, and every message that is about no run of ours. */
import type { BackendEvent } from "@effect-comfyui/execution/Backend"
import type * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import type { Json } from "@effect-comfyui/workflow/Json"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

/** Events for those who listen now; nobody listening costs nothing. */
export interface BackendEvents {
  readonly events: Stream.Stream<BackendEvent>
  /** Whether anybody listens. */
  readonly isObserved: () => boolean
  readonly publish: (events: ReadonlyArray<BackendEvent>) => Effect.Effect<void>
}

/** What waits for a slow listener; beyond it the oldest go. */
const capacity = 128

export const make: Effect.Effect<BackendEvents> = Effect.sync(() => {
  // Made for the first listener: its ring is a good part of what an idle client holds.
  let hub: PubSub.PubSub<BackendEvent> | undefined
  let listeners = 0
  const listen = () =>
    Effect.acquireRelease(
      Effect.suspend(() => {
        listeners++
        if (hub !== undefined) return Effect.succeed(hub)
        return Effect.tap(PubSub.sliding<BackendEvent>(capacity), (made) =>
          Effect.sync(() => {
            hub = made
          }))
      }),
      () =>
        Effect.sync(() => {
          listeners--
        })
    )
  return {
    events: Stream.suspend(() => Stream.unwrap(Effect.map(listen(), Stream.fromPubSub))),
    isObserved: () => listeners > 0,
    publish: (events) =>
      hub !== undefined && listeners > 0 ? Effect.asVoid(PubSub.publishAll(hub, events)) : Effect.void
  }
})

const dataOf = (message: ServerMessage.ServerMessage): Json => {
  if (message._tag === "Extension") return message.data
  if (message._tag === "Logs") return { entries: message.entries, size: message.size }
  if (message._tag === "FeatureFlags") return message.flags
  return null
}

const typeOf = (message: ServerMessage.ServerMessage): string =>
  message._tag === "Extension"
    ? message.type
    : message._tag === "Logs"
    ? "logs"
    : message._tag === "FeatureFlags"
    ? "feature_flags"
    : message._tag

/** The events of messages that are about no run of ours; `own`: how many of the queued prompts are. */
export const fromMessages = (
  messages: ReadonlyArray<ServerMessage.ServerMessage>,
  own: number
): ReadonlyArray<BackendEvent> =>
  messages.flatMap((message): ReadonlyArray<BackendEvent> => {
    if (message._tag !== "Status") return [{ _tag: "Message", type: typeOf(message), data: dataOf(message) }]
    const { queueRemaining } = message
    if (queueRemaining === null) return []
    const running = Math.min(queueRemaining, 1)
    return [{
      _tag: "Load",
      running,
      waiting: queueRemaining - running,
      foreign: Math.max(0, queueRemaining - own)
    }]
  })
