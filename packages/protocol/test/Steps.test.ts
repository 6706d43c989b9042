import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

/** Texts that stand where a number belongs: what a server writes, and what only looks like it. */
const number = fc.oneof(
  fc.nat(30).map(String),
  fc.constantFrom("0", "007", "-1", "1.5", "1e3", "", " 1", "1 ", "999999999999999", "9007199254740993", "NaN", "\"1\"")
)

const frame = fc.record({
  value: number,
  max: fc.constantFrom("20", "20", "20", "30", "1.0"),
  promptId: fc.constantFrom("a", "a", "b"),
  node: fc.constantFrom("12", "12", "3"),
  end: fc.constantFrom("}}", "}}", "}}", "} }", "}", ", \"more\": 1}}")
}).map(({ end, max, node, promptId, value }) =>
  `{"type": "progress", "data": {"value": ${value}, "max": ${max}, "prompt_id": "${promptId}", "node": "${node}"${end}`
)

/** What a message says, however it was read. */
const said = (message: ServerMessage.ServerMessage) => "raw" in message ? { ...message, raw: null } : message

describe("progress frames of one connection", () => {
  it("say the same with the memory of the steps before as alone", () => {
    fc.assert(fc.property(fc.array(frame, { maxLength: 30 }), fc.boolean(), (frames, oneByOne) => {
      const decoder = ServerMessage.makeDecoder()
      const together = oneByOne ? frames.flatMap((one) => decoder.decodeBatch([one])) : decoder.decodeBatch(frames)
      const alone = frames.flatMap((one) => ServerMessage.decodeBatch([one]))
      assert.deepStrictEqual(together.map(said), alone.map(said))
    }))
  })

  it("keep every digit on the way back", () => {
    fc.assert(fc.property(fc.array(frame, { maxLength: 10 }), (frames) => {
      const messages = ServerMessage.makeDecoder().decodeBatch(frames)
      const again = messages.map(ServerMessage.encode)
      assert.deepStrictEqual(ServerMessage.decodeBatch(again).map(said), messages.map(said))
    }))
  })
})
