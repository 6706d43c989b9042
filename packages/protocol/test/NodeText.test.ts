import * as NodeText from "@effect-comfyui/protocol/NodeText"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

describe("NodeText", () => {
  it("finds the line that matters", () => {
    for (
      const [text, expected] of [
        ["Task in progress: 12s", { kind: "progress", seconds: 12 }],
        ["Status: Queued\nPrice: $0.06\ntask in progress: 3.5 s (~30s remaining)", { kind: "progress", seconds: 3.5 }],
        ["[Kling] Task in progress: 0s\r\n", { kind: "progress", seconds: 0 }],
        ["Result URL: https://example.test/a.png?x=1", { kind: "result", url: "https://example.test/a.png?x=1" }],
        ["Task in progress: 9s\nResult url: s3://b/k", { kind: "result", url: "s3://b/k" }],
        ["Result URL: None", { kind: "message" }],
        ["width: 32, height: 48\n batch size: 2", { kind: "message" }],
        ["No task in progress: 12s", { kind: "message" }],
        ["Task in progress: 12seconds", { kind: "message" }],
        ["", { kind: "message" }]
      ] as const
    ) {
      assert.deepStrictEqual<unknown>(NodeText.normalise(text), { ...expected, text })
    }
  })

  it("keeps every text, and takes hostile ones in linear time", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => NodeText.normalise(text).text === text))
    assert.strictEqual(NodeText.normalise(`${"[\t".repeat(200_000)}task in progress:`).kind, "message")
  })
})
