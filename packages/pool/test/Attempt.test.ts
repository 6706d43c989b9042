import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { type ExecutionEvent, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import { makeRunId } from "@effect-comfyui/execution/Ids"
import * as Attempt from "@effect-comfyui/pool/Attempt"
import type * as AttemptClock from "@effect-comfyui/pool/AttemptClock"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import type { Workflow } from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import { minute, patient } from "./support/clock.ts"

const attempt = (workflow: Workflow, more: Partial<AttemptClock.Options> = {}) =>
  Effect.gen(function*() {
    const client = yield* ComfyClient.ComfyClient
    const events: Array<ExecutionEvent> = []
    const told: Array<string> = []
    const runId = yield* makeRunId
    const backend = ComfyClient.backend(client)
    const decided = yield* ComfyTest.advanceWhile(
      Attempt.run({
        backend,
        runId,
        events: backend.run({
          runId,
          job: Option.none(),
          workflow,
          attachments: [],
          acceptPartial: false,
          onInterrupt: "cancel"
        }),
        clock: { ...patient, ...more },
        onEvents: (some) => void events.push(...some),
        onCancelStuck: () => void told.push("cancel stuck")
      }, yield* Effect.scope),
      { limit: "5 hours" }
    )
    return { decided, events, told }
  })

const outcomes = Effect.flatMap(
  ComfyTest.server,
  (server) => Effect.map(server.ledger, ({ prompts }) => prompts.map(({ outcome }) => outcome))
)

describe("an attempt", () => {
  it.effect("warns of a silent node among the run's events, and leaves no hole in their sequence", () =>
    Effect.gen(function*() {
      const { decided, events } = yield* attempt(Workflows.slow({ seconds: 600 }))
      assert.isTrue(decided._tag === "Ended" && decided.ending._tag === "Completed")
      assert.include(events.map(({ _tag }) => _tag), "Warning")
      const lifecycle = events.filter((event) => !isTransient(event))
      assert.deepStrictEqual(lifecycle.map(({ sequence }) => sequence), lifecycle.map((_, index) => index))
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("ends with its run, and has told all of it", () =>
    Effect.gen(function*() {
      const { decided, events } = yield* attempt(Workflows.counting({ steps: 3 }))
      assert.isTrue(decided._tag === "Ended" && decided.ending._tag === "Completed")
      assert.strictEqual(events.at(-1)?._tag, "Completed")
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("whose node is silent for too long is given up, cancelled, and its server free when the run has ended", () =>
    Effect.gen(function*() {
      const { decided, events, told } = yield* attempt(Workflows.slow({ seconds: 3_600 }))
      assert.deepStrictEqual(told, [])
      const warnings = events.filter((event) => event._tag === "Warning")
      assert.deepStrictEqual(warnings.map(({ code, nodeIds }) => [code, nodeIds]), [["silent", ["2"]]])
      if (decided._tag !== "GivenUp") return assert.fail("not given up")
      assert.deepStrictEqual(decided.reason, { _tag: "NodeTimeout", nodeId: "2", limitMs: 30 * minute })
      const rest = yield* ComfyTest.advanceWhile(decided.rest)
      assert.strictEqual(rest?._tag, "Cancelled")
      assert.deepStrictEqual(yield* outcomes, ["interrupted"])
      assert.isFalse(events.some((event) => event._tag === "Cancelled"))
    }).pipe(Effect.scoped, Effect.provide(ComfyTest.layer())))

  it.effect("whose cancellation has no effect says so after a minute, and waits", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* server.inject(Fault.onNode({ nodeId: "2" }, Fault.uninterruptible))
      const { decided, told } = yield* attempt(Workflows.slow({ seconds: 2_000 }), {
        nodeIdleMs: minute,
        warnMs: minute
      })
      if (decided._tag !== "GivenUp") return assert.fail("not given up")
      assert.strictEqual((yield* ComfyTest.advanceWhile(decided.rest))?._tag, "Cancelled")
      assert.include(told, "cancel stuck")
    }).pipe(Effect.scoped, Effect.provide(ComfyTest.layer())))

  it.effect("is not blamed for others ahead of it on its server", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.ComfyClient
      yield* client.submit(Workflows.slow({ seconds: 600 }))
      yield* TestClock.adjust("1 second")
      const { decided } = yield* attempt(Workflows.picture())
      assert.isTrue(decided._tag === "Ended" && decided.ending._tag === "Completed")
    }).pipe(Effect.scoped, Effect.provide(ComfyTest.layer())))

  it.effect("that does not start on a server whose worker is dead is given up after a minute", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* server.killWorker
      const { decided } = yield* attempt(Workflows.picture())
      assert.isTrue(
        (decided._tag === "GivenUp" && decided.reason._tag === "StartTimeout") ||
          (decided._tag === "Ended" && decided.ending._tag === "Failed" &&
            decided.ending.error.reason._tag === "WorkerStuck")
      )
    }).pipe(Effect.scoped, Effect.provide(ComfyTest.layer())))
})
