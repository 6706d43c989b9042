import * as ErrorAnswer from "@effect-comfyui/protocol/ErrorAnswer"
import * as FeatureFlags from "@effect-comfyui/protocol/FeatureFlags"
import * as Files from "@effect-comfyui/protocol/Files"
import * as History from "@effect-comfyui/protocol/History"
import * as Jobs from "@effect-comfyui/protocol/Jobs"
import * as MessageData from "@effect-comfyui/protocol/MessageData"
import * as Prompt from "@effect-comfyui/protocol/Prompt"
import * as Queue from "@effect-comfyui/protocol/Queue"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"

describe("Prompt", () => {
  it("reads refusals of every age", () => {
    const refusal = (text: string) => Result.getOrThrow(Prompt.Refusal.decodeText(text))
    const now = refusal(
      `{"error": {"type": "prompt_outputs_failed_validation", "message": "m", "details": "", "extra_info": {}}, ` +
        `"node_errors": {"1": {"errors": [{"type": "value_not_in_list", "message": "m", "details": "d", ` +
        `"extra_info": {"input_name": "x", "input_config": null}}], "dependent_outputs": ["2"], "class_type": "A"}, ` +
        `"2": "odd"}}`
    )
    assert.strictEqual(Prompt.errorOf(now).type, "prompt_outputs_failed_validation")
    assert.deepStrictEqual(Object.keys(Prompt.nodeErrorsOf(now)), ["1"])
    const old = refusal(`{"error": "no prompt", "node_errors": []}`)
    assert.deepStrictEqual(Prompt.errorOf(old), { type: "no_prompt", message: "no prompt", details: "" })
    assert.deepStrictEqual(Prompt.nodeErrorsOf(old), {})
  })

  it("reads a receipt whose number is any number", () => {
    for (const number of ["5", "-3", "5.0", "NaN", "Infinity", "18446744073709551615"]) {
      const text = `{"prompt_id": "a", "number": ${number}, "node_errors": {}}`
      assert.isTrue(Result.isSuccess(Prompt.Receipt.decodeText(text)), number)
    }
  })
})

describe("ErrorAnswer", () => {
  it("brings the shapes of an error to one form", () => {
    for (
      const [text, expected] of [
        [`{"error": {"type": "no_prompt", "message": "m", "details": "d"}}`, {
          shape: "object",
          type: "no_prompt",
          message: "m",
          details: "d"
        }],
        [`{"error": {"code": "INVALID_CURSOR", "message": "m", "details": {"a": 1}}}`, {
          shape: "object",
          type: "INVALID_CURSOR",
          message: "m",
          details: `{"a":1}`
        }],
        [`{"error": "Job not found", "invalid_ids": ["x"]}`, { shape: "string", type: null, message: "Job not found" }],
        ["500 Internal Server Error\n\nServer got itself in trouble", { shape: "text", type: null }],
        ["<html>502</html>", { shape: "text", message: "<html>502</html>" }],
        [`{"detail": "no"}`, { shape: "text", message: `{"detail": "no"}` }],
        ["", { shape: "empty", message: "" }]
      ] as const
    ) {
      assert.deepInclude<ErrorAnswer.ErrorAnswer>(ErrorAnswer.read(text), expected)
    }
    assert.strictEqual(ErrorAnswer.read("x".repeat(10_000)).message.length, 200)
  })
})

describe("Queue", () => {
  it("sorts as the server will run: by number, then by id as text", () => {
    const item = (number: number | bigint, id: string): Queue.Item => [number, id, {}, {}, ["1"]]
    const items = [item(3, "a"), item(5, "b"), item(5, "a"), item(-1, "z"), item(2n ** 60n, "c"), item(4.5, "x")]
    assert.deepStrictEqual(Queue.sorted(items).map(Queue.promptIdOf), ["z", "a", "x", "a", "b", "c"])
  })

  it("reads items whose extra data is no object, and longer ones", () => {
    const text = `{"queue_running": [[0, "a", {}, "x", []]], "queue_pending": [[1, "b", {"1": {}}, ` +
      `{"client_id": "c", "create_time": 7}, ["1"], {"sensitive": 1}]]}`
    const queue = Result.getOrThrow(Queue.Queue.decodeText(text))
    const [running] = queue.queue_running
    const [pending] = queue.queue_pending
    if (running === undefined || pending === undefined) throw new Error("no items")
    assert.isNull(Queue.clientIdOf(running))
    assert.strictEqual(Queue.clientIdOf(pending), "c")
    assert.strictEqual(Queue.createTimeOf(pending), 7)
    assert.deepStrictEqual(Queue.outputsOf(pending), ["1"])
    assert.deepStrictEqual(Queue.promptOf(pending), { "1": {} })
    assert.strictEqual(Queue.numberOf(pending), 1)
  })
})

describe("History", () => {
  const status = (...types: ReadonlyArray<string>) => ({
    status_str: "error",
    completed: false,
    messages: types.map((type) => [type, { timestamp: 1 }] as const)
  })

  it("finds the message that ended a run", () => {
    assert.strictEqual(
      History.terminal(status("execution_start", "execution_cached", "execution_interrupted"))?.type,
      "execution_interrupted"
    )
    assert.isUndefined(History.terminal(status("execution_start")))
    assert.isUndefined(History.terminal(null))
  })

  it("finds an entry by its own id only", () => {
    assert.isUndefined(History.find({}, "constructor"))
  })

  it("reads a failure from a message as from a frame, whatever is missing", () => {
    assert.deepInclude(MessageData.executionError({ node_id: null, exception_type: "ExecutionBlocked" }), {
      nodeId: null,
      blocked: true,
      traceback: [],
      exceptionMessage: ""
    })
    assert.deepInclude(MessageData.executionError({ traceback: [1], exception_message: 5 }), {
      traceback: [],
      exceptionMessage: "",
      blocked: false
    })
  })
})

describe("Jobs", () => {
  it("reads a running job, which has almost nothing yet, and a status of the future", () => {
    const text = `{"id": "a", "status": "paused", "priority": -1.5, "create_time": 1, "outputs_count": 0}`
    assert.strictEqual(Result.getOrThrow(Jobs.Job.decodeText(text)).status, "paused")
  })
})

describe("Files", () => {
  it("writes the value that a node wants", () => {
    assert.strictEqual(Files.annotated({ name: "a.png", subfolder: "", type: "input" }), "a.png")
    assert.strictEqual(Files.annotated({ name: "a.png", subfolder: "x/y", type: "temp" }), "x/y/a.png [temp]")
  })

  it("tells files from other outputs", () => {
    assert.isTrue(Files.isFile({ filename: "a.png", subfolder: "", type: "output", format: "x" }))
    assert.isFalse(Files.isFile("a.png"))
    assert.isFalse(Files.isFile(null))
  })
})

describe("FeatureFlags", () => {
  it("says hello with an object", () => {
    assert.strictEqual(FeatureFlags.hello(), `{"type": "feature_flags", "data": {"supports_preview_metadata": true}}`)
    assert.isFalse(FeatureFlags.has({ assets: 1 }, "assets"))
    assert.isFalse(FeatureFlags.has({}, "toString"))
  })
})
