// @effect-diagnostics asyncFunction:off newPromise:off
import * as SignalsNode from "@effect-comfyui/runtime/SignalsNode"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"

interface Ended {
  readonly code: number | null
  readonly lines: ReadonlyArray<string>
}

/** Starts the program, sends it the signals once its job runs, and waits for its end. */
const program = (args: ReadonlyArray<string>, signals: ReadonlyArray<NodeJS.Signals>) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(
      process.execPath,
      ["--conditions=@effect-comfyui/source", join(import.meta.dirname, "support/signalled.ts"), ...args],
      { stdio: ["ignore", "pipe", "inherit"] }
    )
    const lines: Array<string> = []
    createInterface({ input: child.stdout }).on("line", (line) => {
      lines.push(line)
      const signal = line === "running" ? signals[0] : line === "heard" ? signals[1] : undefined
      if (signal !== undefined) child.kill(signal)
    })
    void once(child, "close").then(([code]) =>
      resume(Effect.succeed({ code: typeof code === "number" ? code : null, lines }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("a program that is told to end", () => {
  it.live("lets what runs end, and ends with 0", () =>
    Effect.scoped(Effect.gen(function*() {
      const { url } = yield* spawnFake({ testNodes: true })
      const { code, lines } = yield* program([url, "1 hour", "1"], ["SIGTERM"])
      assert.deepStrictEqual([code, lines], [0, ["running", "done"]])
    })))

  it.live("ends when its limit is over, cancels what runs, and says by its code that it did", () =>
    Effect.scoped(Effect.gen(function*() {
      const { server, url } = yield* spawnFake({ testNodes: true })
      const { code, lines } = yield* program([url, "short", "600"], ["SIGINT"])
      assert.deepStrictEqual([code, lines], [130, ["running", "heard", "Closed"]])
      const { prompts } = yield* server.ledger
      assert.deepStrictEqual(prompts.map(({ outcome }) => outcome), ["interrupted"])
    })))

  it.live("ends at once at the second signal", () =>
    Effect.scoped(Effect.gen(function*() {
      const { url } = yield* spawnFake({ testNodes: true })
      const { code, lines } = yield* program([url, "1 hour", "600"], ["SIGINT", "SIGTERM"])
      assert.deepStrictEqual([code, lines], [143, ["running", "heard"]])
    })))
})

describe("listening", () => {
  it("leaves nothing behind, and other listeners alone", () => {
    const before = ["SIGINT", "SIGTERM"].map((signal) => process.listenerCount(signal))
    const stop = SignalsNode.listen(() => Promise.resolve(true), { exit: () => undefined })
    assert.deepStrictEqual(
      ["SIGINT", "SIGTERM"].map((signal) => process.listenerCount(signal)),
      before.map((n) => n + 1)
    )
    stop()
    assert.deepStrictEqual(["SIGINT", "SIGTERM"].map((signal) => process.listenerCount(signal)), before)
  })
})
