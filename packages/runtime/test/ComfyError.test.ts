import { ExecutionError } from "@effect-comfyui/execution/ExecutionError"
import { FilesError } from "@effect-comfyui/execution/Files"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as ComfyError from "@effect-comfyui/runtime/ComfyError"
import { ConfigError } from "@effect-comfyui/runtime/ConfigError"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"

describe("an error of the promises", () => {
  it("has the reason, whose fault it was, the sentence and the typed error", () => {
    const known: ReadonlyArray<readonly [ComfyError.Known, string, string]> = [
      [
        new ExecutionError({ reason: { _tag: "DiskFull", ...raised }, runId: null, backend: null }),
        "DiskFull",
        "server"
      ],
      [new PoolError({ reason: { _tag: "Closed" } }), "Closed", "caller"],
      [new PoolError({ reason: { _tag: "PoisonJob", deaths: 2 } }), "PoisonJob", "workflow"],
      [new FilesError({ reason: { _tag: "NotFound", name: "x" } }), "NotFound", "server"],
      [new ConfigError({ reasons: [{ _tag: "Missing", path: "servers", example: null }] }), "Missing", "caller"],
      [Result.getOrThrow(Result.flip(Workflow.fromJson("{"))), "Syntax", "workflow"]
    ]
    for (const [cause, reason, category] of known) {
      const error = ComfyError.from(cause)
      assert.instanceOf(error, Error)
      assert.deepStrictEqual([error.reason, error.category, error.message], [reason, category, cause.message])
      assert.strictEqual(error.cause, cause)
      assert.strictEqual(ComfyError.from(error), error)
    }
  })

  it("keeps what nobody expected as its cause", () => {
    const thrown = new RangeError("too far")
    const error = ComfyError.from(thrown)
    assert.deepStrictEqual([error.reason, error.category, error.message], ["Defect", "defect", "too far"])
    assert.strictEqual(error.cause, thrown)
    assert.strictEqual(ComfyError.from("a text").message, "a text")
  })
})

const raised = { nodeId: null, classType: null, exceptionType: "OSError", message: "no space left", traceback: [] }
