// What the tests of other people's clients share: a fake process, and what a real server's API says of it.
import { spawnFake, type SpawnOptions } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** A process with the test nodes, and times of nodes as they are unless told otherwise. */
export const fake = (options: SpawnOptions = {}) => spawnFake({ testNodes: true, ...options })

/** Ends with the test, whatever it did. */
export const acquire = <A>(make: () => A, release: (value: A) => void): Effect.Effect<A, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(make), (value) => Effect.sync(() => release(value)))

const getJson = (url: string): Effect.Effect<Json.Json> =>
  Effect.promise(() => fetch(url).then((response) => response.text())).pipe(
    Effect.map((text) => Json.parse(text)),
    Effect.map((parsed) => parsed._tag === "Success" ? parsed.success : null)
  )

/** How each prompt in the history ended: its last message, by prompt id. */
export const endings = (url: string): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.map(getJson(`${url}/history`), (history) => {
    if (!Json.isObject(history)) return {}
    return Object.fromEntries(
      Object.entries(history).map(([id, entry]) => {
        const status = Json.isObject(entry) ? Json.get(entry, "status") : undefined
        const messages = Json.isObject(status) ? Json.get(status, "messages") : undefined
        const last = Array.isArray(messages) ? messages.at(-1) : undefined
        return [id, Array.isArray(last) ? String(last[0]) : "none"]
      })
    )
  })

/** Waits until so many prompts have ended. */
export const ended = (url: string, count: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.repeat(Effect.delay(Effect.map(endings(url), (all) => Object.values(all)), "20 millis"), {
    until: (all) => all.length >= count
  })
