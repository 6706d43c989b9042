// @effect-diagnostics asyncFunction:off
// Whole runs, one after another, with and without profiling.
import type { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { ok } from "node:assert"
import * as Ours from "./ours.ts"

type Runs = (client: Ours.Ours["client"], count: number) => Promise<void>

const repeated =
  (one: (client: Ours.Ours["client"]) => Effect.Effect<unknown, ExecutionError>): Runs => (client, count) =>
    Effect.runPromise(Effect.gen(function*() {
      for (let i = 0; i < count; i++) yield* one(client)
    }))

/** The ways to run them; each loads what it needs when it is asked for. */
export const ways = {
  /** Results, and no profiling package. */
  result: async () => Ours.runs,
  /** Results, and a profiling package that nobody uses. */
  linked: async () => {
    const profiling = await import("@effect-comfyui/profiling")
    ok(Object.keys(profiling).includes("Profile"))
    return Ours.runs
  },
  /** All events of each run, and no profiling package. */
  events: async () => repeated((client) => Stream.runDrain(client.run(Ours.workflow))),
  /** The profile of each run. */
  profile: async () => {
    const Profile = await import("@effect-comfyui/profiling/Profile")
    return repeated((client) =>
      Effect.map(
        Stream.run(client.run(Ours.workflow), Profile.sink(Ours.workflow)),
        ({ nodes, state }) => ok(state === "completed" && nodes.length === 1)
      )
    )
  }
} satisfies Record<string, () => Promise<Runs>>

/** One of them. */
export type Way = keyof typeof ways
