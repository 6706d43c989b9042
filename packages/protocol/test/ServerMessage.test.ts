import * as Frame from "@effect-comfyui/protocol/Frame"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Json from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as arbitrary from "./support/arbitrary.ts"
import { canonical } from "./support/exact.ts"
import { dumps } from "./support/python.ts"

const one = (frame: Frame.Frame, flags?: ServerMessage.DecodeFlags): ServerMessage.ServerMessage => {
  const [message] = ServerMessage.decodeBatch([frame], flags)
  if (message === undefined) throw new Error("no message")
  return message
}

/** The message without what it was read from. */
const bare = (message: ServerMessage.ServerMessage): object => {
  const { raw: _, ...rest } = { raw: null, ...message }
  return rest
}

const id = "133b4507-307a-4e34-accf-f11cc084b13f"

describe("text frames", () => {
  it("reads what the server writes", () => {
    assert.deepStrictEqual(one(`{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 3}}}}`), {
      _tag: "Status",
      queueRemaining: 3,
      sid: null,
      raw: null
    })
    assert.deepInclude(
      one(`{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "case05"}}`),
      { _tag: "Status", queueRemaining: 0, sid: "case05" }
    )
    assert.deepStrictEqual(one(`{"type": "executing", "data": {"node": null, "prompt_id": "${id}"}}`), {
      _tag: "Executing",
      promptId: id,
      node: null,
      displayNode: null,
      raw: null
    })
    assert.deepInclude(one(`{"type": "executing", "data": {"node": "5:3"}}`), {
      _tag: "Executing",
      promptId: null,
      node: "5:3"
    })
    assert.deepStrictEqual(
      one(`{"type": "progress", "data": {"value": 3, "max": 20.5, "prompt_id": "${id}", "node": "12"}}`),
      { _tag: "Progress", promptId: id, node: "12", value: 3, max: 20.5, raw: null }
    )
  })

  it("tells the warning of a blocker from the end of a run", () => {
    const error = (type: string) =>
      one(dumps({ type: "execution_error", data: { prompt_id: id, exception_type: type, traceback: null } }))
    assert.deepInclude(error("ExecutionBlocked"), { _tag: "ExecutionError", blocked: true, timestamp: null })
    assert.deepInclude(error("ValueError"), { _tag: "ExecutionError", blocked: false, traceback: [] })
  })

  it("takes a core type with other data, an unknown type and a frame without data as an extension", () => {
    for (
      const [text, type, data] of [
        [`{"type": "status", "data": {"odd": true}}`, "status", { odd: true }],
        [`{"type": "rec.list", "data": [1, 2, NaN]}`, "rec.list", [1, 2, Number.NaN]],
        [`{"type": "progress", "data": {"value": 9007199254740993, "max": 1}}`, "progress", {
          value: 9007199254740993n,
          max: 1
        }],
        [`{"type": "toString"}`, "toString", null]
      ] as const
    ) {
      const message = one(text)
      assert.deepInclude(message, { _tag: "Extension", type })
      assert.deepStrictEqual(message._tag === "Extension" ? message.data : undefined, data)
      assert.strictEqual(canonical(String(ServerMessage.encode(message))), canonical(text))
    }
  })

  it("keeps what is no message", () => {
    assert.deepStrictEqual(one("not json"), { _tag: "Malformed", kind: "json", excerpt: "not json", frame: "not json" })
    for (const text of ["5", "[1]", "null", `{"data": {}}`, `{"type": 1}`]) {
      assert.deepInclude(one(text), { _tag: "Malformed", kind: "shape", frame: text })
    }
    const long = `"${"x".repeat(5000)}"`
    const message = one(long)
    assert.strictEqual(message._tag === "Malformed" ? message.excerpt.length : 0, 200)
  })

  it("reads the last of duplicate keys, and depth that would break a recursive parser", () => {
    assert.deepInclude(one(`{"type": "a", "type": "b", "data": 1, "data": 2}`), { type: "b", data: 2 })
    assert.strictEqual(one(`{"type": "x", "data": ${"[".repeat(5000)}${"]".repeat(5000)}}`)._tag, "Extension")
    assert.strictEqual(one("[".repeat(100_000))._tag, "Malformed")
  })

  it("never throws, and loses nothing on the way back", () => {
    fc.assert(
      fc.property(fc.oneof(arbitrary.message, arbitrary.json), fc.boolean(), (value, spaced) => {
        const text = spaced ? dumps(value) : Json.stringify(value)
        const message = one(text)
        assert.strictEqual(canonical(String(ServerMessage.encode(message))), canonical(text))
        assert.isDefined(canonical(text))
      }),
      { numRuns: 2000 }
    )
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => ServerMessage.encode(one(text)) !== undefined))
  })

  it("reads fixed texts as the parser would, and only those", () => {
    const part = fc.oneof(fc.string(), fc.uuid(), fc.constantFrom("\\u00e4", "\\\"", "a\nb", "\u0001", "ä", "\ud83d"))
    const digits = fc.oneof(
      fc.nat().map(String),
      fc.constantFrom("0", "-1", "01", "1.5", "1.", "NaN", "Infinity", "1e3", "9007199254740993", "-0.0", "0.1")
    )
    const text = fc.oneof(
      fc.tuple(digits, digits, part, part).map(([value, max, promptId, node]) =>
        `{"type": "progress", "data": {"value": ${value}, "max": ${max}, "prompt_id": "${promptId}", "node": "${node}"}}`
      ),
      fc.tuple(part, part, part).map(([node, display, promptId]) =>
        `{"type": "executing", "data": {"node": "${node}", "display_node": "${display}", "prompt_id": "${promptId}"}}`
      ),
      part.map((promptId) => `{"type": "executing", "data": {"node": null, "prompt_id": "${promptId}"}}`),
      digits.map((left) => `{"type": "status", "data": {"status": {"exec_info": {"queue_remaining": ${left}}}}}`)
    )
    fc.assert(
      fc.property(text, (fixed) => {
        // A space in front is JSON of the same value, but no fixed text.
        const [message, parsed] = [one(fixed), one(` ${fixed}`)]
        if (message._tag === "Malformed" || parsed._tag === "Malformed") {
          assert.strictEqual(message._tag, parsed._tag)
        } else {
          assert.deepStrictEqual(bare(message), bare(parsed))
          assert.strictEqual(canonical(String(ServerMessage.encode(message))), canonical(fixed))
        }
      }),
      { numRuns: 2000 }
    )
  })
})

describe("encode", () => {
  it("writes messages made by hand as the server would", () => {
    assert.strictEqual(
      ServerMessage.encode({ _tag: "Progress", promptId: "p", node: "1", value: 1, max: 2, raw: null }),
      `{"type": "progress", "data": {"value": 1, "max": 2, "prompt_id": "p", "node": "1"}}`
    )
    assert.strictEqual(
      ServerMessage.encode({ _tag: "Executing", promptId: "p", node: null, displayNode: null, raw: null }),
      `{"type": "executing", "data": {"node": null, "prompt_id": "p"}}`
    )
    assert.strictEqual(
      ServerMessage.encode({ _tag: "Executed", promptId: "p", node: "1", displayNode: "1", output: null, raw: null }),
      `{"type": "executed", "data": {"node": "1", "display_node": "1", "output": null, "prompt_id": "p"}}`
    )
  })

  it("reads again what it wrote by hand", () => {
    const timestamp = fc.option(fc.nat())
    const text = fc.string()
    const messages = fc.oneof(
      fc.record({ _tag: fc.constant("Status" as const), queueRemaining: fc.option(fc.nat()), sid: fc.option(text) }),
      fc.record({ _tag: fc.constant("FeatureFlags" as const), flags: fc.dictionary(text, arbitrary.json) }),
      fc.record({
        _tag: fc.constantFrom("ExecutionStart" as const, "ExecutionSuccess" as const),
        promptId: text,
        timestamp
      }),
      fc.record({ _tag: fc.constant("ExecutionCached" as const), promptId: text, nodes: fc.array(text), timestamp }),
      fc.record({
        _tag: fc.constant("ProgressState" as const),
        promptId: text,
        nodes: fc.dictionary(text, fc.record({ value: fc.nat(), max: fc.nat(), state: text }))
      }),
      fc.record({
        _tag: fc.constant("Executing" as const),
        promptId: fc.option(text),
        node: fc.option(text),
        displayNode: fc.option(text)
      }),
      fc.record({
        _tag: fc.constant("Progress" as const),
        promptId: fc.option(text),
        node: fc.option(text),
        value: fc.double({ min: -1e15, max: 1e15, noNaN: false }),
        max: fc.nat()
      }),
      fc.record({
        _tag: fc.constant("ExecutionInterrupted" as const),
        promptId: text,
        nodeId: fc.option(text),
        nodeType: fc.option(text),
        executed: fc.array(text),
        timestamp
      }),
      fc.record({
        _tag: fc.constant("Logs" as const),
        entries: fc.array(fc.record({ t: text, m: text })),
        size: fc.option(fc.record({ cols: fc.nat(), rows: fc.nat() }))
      }),
      fc.record({ _tag: fc.constant("Extension" as const), type: fc.constant("x.y"), data: arbitrary.json })
    )
    fc.assert(
      fc.property(messages, (members) => {
        const message: ServerMessage.TextMessage = { ...members, raw: null }
        const again = one(ServerMessage.encode(message))
        assert.strictEqual(Json.stringify(toJson(again)), Json.stringify(toJson(message)))
      })
    )
  })

  it("lays changed members over the frame they came in", () => {
    const message = one(`{"type": "execution_start", "x": 1, "data": {"prompt_id": "a", "timestamp": 5, "y": 2}}`)
    if (message._tag !== "ExecutionStart") throw new Error(message._tag)
    assert.strictEqual(
      ServerMessage.encode({ ...message, promptId: "b" }),
      `{"type":"execution_start","x":1,"data":{"prompt_id":"b","timestamp":5,"y":2}}`
    )
    assert.strictEqual(
      ServerMessage.encode({ ...message, timestamp: null }),
      `{"type":"execution_start","x":1,"data":{"prompt_id":"a","y":2}}`
    )
  })
})

/** A message as JSON, for comparing; NaN equals NaN and -0 equals 0 on the wire. */
const toJson = (message: ServerMessage.ServerMessage): Json.Json => {
  const entries = Object.entries(bare(message)).toSorted(([a], [b]) => a < b ? -1 : 1)
  return Object.fromEntries(entries.map(([key, value]) => [key, value === 0 ? 0 : value]))
}

describe("binary frames", () => {
  const jpeg = Uint8Array.of(0xff, 0xd8, 0xff, 0xe0, 1, 2, 3)
  const png = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10)

  it("views the image of a preview", () => {
    const frame = Frame.concat(1, 2, png)
    const message = one(frame)
    assert.deepInclude(message, { _tag: "Preview", imageType: "image/png", metadata: null })
    if (message._tag !== "Preview") throw new Error(message._tag)
    assert.deepStrictEqual(message.image, png)
    assert.strictEqual(message.image.buffer, frame.buffer)
  })

  it("finds the image behind the extra words of a pack, within 64 bytes", () => {
    for (const words of [[1, 1, 7], [1, 1, 7, 0x03616263, 0, 0, 0]]) {
      const message = one(Frame.concat(1, ...words, jpeg))
      assert.deepStrictEqual(message._tag === "Preview" ? message.image : undefined, jpeg)
    }
    const far = Frame.concat(1, 2, new Uint8Array(80), jpeg)
    assert.deepInclude(one(far), { _tag: "Preview", imageType: "image/png", image: far.subarray(8) })
  })

  it("reads the metadata of type 4", () => {
    const metadata = { node_id: "2.0.0.1", prompt_id: id, display_node_id: "2", parent_node_id: null, later: 2n ** 64n }
    const text = Frame.utf8(Json.stringify(metadata))
    const message = one(Frame.concat(4, text.length, text, jpeg))
    assert.deepInclude(message, { _tag: "Preview", imageType: "image/jpeg" })
    assert.deepStrictEqual(message._tag === "Preview" ? message.metadata : undefined, {
      nodeId: "2.0.0.1",
      promptId: id,
      displayNodeId: "2",
      parentNodeId: null,
      realNodeId: null,
      raw: metadata
    })
  })

  it("reads text, with a prompt id only where the server says so", () => {
    const node = Frame.utf8("77")
    const text = Frame.utf8("half way ä€😀")
    assert.deepInclude(one(Frame.concat(3, node.length, node, text)), {
      _tag: "ProgressText",
      node: "77",
      promptId: null,
      text: "half way ä€😀"
    })
    const prompt = Frame.utf8(id)
    const frame = Frame.concat(3, prompt.length, prompt, node.length, node, text)
    assert.deepInclude(one(frame, { progressTextMetadata: true }), { promptId: id, node: "77" })
    const flags = `{"type": "feature_flags", "data": {"supports_progress_text_metadata": true}}`
    assert.deepInclude(ServerMessage.decodeBatch([flags, frame])[1], { promptId: id, node: "77" })
    assert.deepInclude(ServerMessage.decodeBatch([flags, frame], { progressTextMetadata: false })[1], { node: id })
  })

  it("keeps what is truncated, too long by its own account, or unknown", () => {
    const metadata = Frame.utf8("{")
    for (
      const [frame, kind] of [
        [new Uint8Array(0), "binary"],
        [Uint8Array.of(0, 0, 0), "binary"],
        [Frame.concat(1), "binary"],
        [Frame.concat(1, 1), "binary"],
        [Frame.concat(3), "binary"],
        [Frame.concat(3, 5, Uint8Array.of(49)), "binary"],
        [Frame.concat(4, 0xffffffff, jpeg), "binary"],
        [Frame.concat(4, metadata.length, metadata, jpeg), "json"],
        [Frame.concat(4, 2, Frame.utf8("[]"), jpeg), "shape"]
      ] as const
    ) {
      assert.deepInclude(one(frame), { _tag: "Malformed", kind, frame })
    }
    assert.deepInclude(one(Frame.concat(99, 1)), { _tag: "UnknownBinary", kind: 99 })
    assert.deepInclude(one(Frame.concat(2, 1)), { _tag: "UnknownBinary", kind: 2 })
    assert.deepInclude(one(Frame.concat(0xffffffff)), { _tag: "UnknownBinary", kind: 0xffffffff })
  })

  it("never throws and gives every byte back, at any offset into a buffer", () => {
    const bytes = fc.tuple(fc.constantFrom(0, 1, 2, 3, 4, 99), fc.array(fc.nat(70), { maxLength: 2 }), fc.uint8Array())
      .map(([kind, words, rest]) => Frame.concat(kind, ...words, rest))
    fc.assert(
      fc.property(fc.oneof(bytes, fc.uint8Array()), fc.nat(8), fc.boolean(), (frame, offset, prompt) => {
        const pooled = new Uint8Array(offset + frame.length + 8).fill(0xff)
        pooled.set(frame, offset)
        const view = pooled.subarray(offset, offset + frame.length)
        const message = one(view, { progressTextMetadata: prompt })
        assert.deepStrictEqual(ServerMessage.encode(message), view)
      }),
      { numRuns: 2000 }
    )
  })

  it("writes previews and texts made by hand", () => {
    const metadata = { nodeId: "1", promptId: id, displayNodeId: "1", parentNodeId: null, realNodeId: "1", raw: {} }
    const preview = one(
      ServerMessage.encode({ _tag: "Preview", imageType: "image/png", image: png, metadata, frame: null })
    )
    assert.deepInclude(preview, { imageType: "image/png", image: png })
    assert.deepInclude(preview._tag === "Preview" ? preview.metadata : null, { nodeId: "1", promptId: id })
    const text = { _tag: "ProgressText", node: "1", text: "x", promptId: id, frame: null } as const
    assert.deepInclude(one(ServerMessage.encode(text), { progressTextMetadata: true }), { node: "1", promptId: id })
  })
})
