import * as Frame from "@effect-comfyui/protocol/Frame"
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import type { Json } from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { canonical } from "./support/exact.ts"
import { dumps } from "./support/python.ts"

type NodeState = { readonly state: string; readonly value: number }

const frameOf = (promptId: string, nodes: Iterable<readonly [string, NodeState]>, more: Json = null): string => {
  const member = ([name, { state, value }]: readonly [string, NodeState]): string => {
    const node = { value, max: 20, state, node_id: name, prompt_id: promptId, parent_node_id: null }
    return `${dumps(name)}: ${dumps(node)}`
  }
  const extra = more === null ? "" : `, "workflow": ${dumps(more)}`
  return `{"type": "progress_state", "data": {"prompt_id": ${dumps(promptId)}, "nodes": {${
    [...nodes].map(member).join(", ")
  }}${extra}}}`
}

const states = (...entries: ReadonlyArray<readonly [string, string, number]>): ReadonlyMap<string, NodeState> =>
  new Map(entries.map(([name, state, value]) => [name, { state, value }]))

const tags = (messages: ReadonlyArray<ServerMessage.ServerMessage>) => messages.map((message) => message._tag)

describe("the head of a progress_state", () => {
  const head = (text: string) => Frame.stateHead(Frame.utf8(text))
  const whole = `{"type": "progress_state", "data": {"prompt_id": "a", "nodes": {"1": {}}}}`

  it("is what all frames of one prompt begin with", () => {
    assert.strictEqual(head(whole), `{"type": "progress_state", "data": {"prompt_id": "a", "nodes": {`)
    assert.notStrictEqual(head(whole.replace(`"a"`, `"b"`)), head(whole))
  })

  it("is that of no other frame, cut, escaped or hostile", () => {
    for (let length = 0; length < whole.length; length++) assert.isUndefined(head(whole.slice(0, length)))
    for (
      const other of [
        whole.replace("progress_state", "progress"),
        whole.replace("nodes", "node"),
        whole.replace(`"a"`, `"${"a".repeat(300)}"`),
        `${whole} `
      ]
    ) {
      assert.isUndefined(head(other))
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => Frame.stateHead(bytes) === undefined))
  })
})

describe("progress_state", () => {
  it("drops the ones that a later one of the same prompt supersedes, and nothing else", () => {
    const [a1, a2, a3] = [1, 2, 3].map((value) => frameOf("a", states(["1", "running", value])))
    const b = frameOf("b", states(["1", "running", 1]))
    const executing = `{"type": "executing", "data": {"node": "1", "display_node": "1", "prompt_id": "a"}}`
    if (a1 === undefined || a2 === undefined || a3 === undefined) throw new Error("frames")
    const messages = ServerMessage.decodeBatch([a1, executing, b, a2, executing, a3])
    assert.deepStrictEqual(tags(messages), ["Executing", "ProgressState", "Executing", "ProgressState"])
    assert.deepInclude(messages[1], { promptId: "b" })
    const last = messages[3]
    assert.strictEqual(last?._tag === "ProgressState" ? last.nodes["1"]?.value : 0, 3)
  })

  it("does not look into what is superseded", () => {
    const whole = frameOf("a", states(["1", "running", 1]))
    const broken = whole.replace("running", "\u0000")
    assert.deepStrictEqual(tags(ServerMessage.decodeBatch([broken])), ["Malformed"])
    assert.deepStrictEqual(tags(ServerMessage.decodeBatch([broken, whole])), ["ProgressState"])
  })

  it("keeps the last whole one where what follows is cut off", () => {
    const whole = frameOf("a", states(["1", "running", 1]))
    const messages = ServerMessage.decodeBatch([whole, frameOf("a", states(["1", "running", 2])).slice(0, -3)])
    assert.deepStrictEqual(tags(messages), ["ProgressState", "Malformed"])
  })

  it("keeps nodes that are no nodes as an extension", () => {
    for (const nodes of ["[]", "null", `{"1": 5}`, `{"1": {"value": "x", "max": 1, "state": "running"}}`]) {
      const frame = `{"type": "progress_state", "data": {"prompt_id": "a", "nodes": ${nodes}}}`
      for (const decode of [ServerMessage.decodeBatch, ServerMessage.makeDecoder().decodeBatch]) {
        assert.deepInclude(decode([frame])[0], { _tag: "Extension", type: "progress_state" })
      }
    }
  })

  it("is not misled by a second member of the same name, or by a comma before nothing", () => {
    const first = frameOf("a", states(["1", "finished", 1], ["2", "running", 1]))
    const start = frameOf("a", states(["1", "finished", 1])).slice(0, -3)
    for (
      const end of [
        `}, "nodes": {}}}`,
        `}}, "data": {"prompt_id": "b", "nodes": {}}}`,
        `, "1": null}}}`,
        `, }}}`,
        `,  }}}`,
        `,}}}`,
        ` }}}`,
        `}}}`
      ]
    ) {
      const decoder = ServerMessage.makeDecoder()
      decoder.decodeBatch([first])
      const [alone] = ServerMessage.decodeBatch([start + end])
      const [remembered] = decoder.decodeBatch([start + end])
      assert.deepStrictEqual({ ...remembered, raw: null }, { ...alone, raw: null }, end)
    }
  })

  it("is not misled by any one character", () => {
    const first = frameOf("a", states(["1", "finished", 1], ["2", "running", 1]))
    const second = frameOf("a", states(["1", "finished", 1], ["2", "finished", 1], ["3", "running", 1]))
    for (let at = 0; at <= second.length; at++) {
      for (const character of ["", " ", ";", "}", "{", "\"", "\\", "0"]) {
        const frame = second.slice(0, at) + character + second.slice(at + 1)
        const decoder = ServerMessage.makeDecoder()
        decoder.decodeBatch([first])
        const [alone] = ServerMessage.decodeBatch([frame])
        const [remembered] = decoder.decodeBatch([frame])
        assert.deepStrictEqual({ ...remembered, raw: null }, { ...alone, raw: null }, frame)
      }
    }
  })

  it("remembers nothing that would change what a frame says", () => {
    const name = fc.oneof(
      fc.constantFrom("1", "2", "3", "10", "5:1", "5:2", "4.0.0.1"),
      fc.constantFrom("__proto__", "}, \"", "a\"b", "ä", "\"state\": \"running\"", "nodes", "")
    )
    const step = fc.record({
      restart: fc.integer({ min: 0, max: 19 }).map((roll) => roll === 0),
      prompt: fc.integer({ min: 0, max: 9 }).map((roll) => roll === 0 ? "b" : "a"),
      name,
      state: fc.constantFrom("running", "finished", "finished", "finished", "error"),
      value: fc.constantFrom(0, 1, 20, 0.5),
      more: fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, {
        weight: 1,
        arbitrary: fc.constant({ a: { b: 1 } })
      }),
      twice: fc.boolean(),
      damage: fc.oneof(
        { weight: 9, arbitrary: fc.constant(undefined) },
        {
          weight: 1,
          arbitrary: fc.tuple(fc.integer({ min: 1, max: 150 }), fc.constantFrom("", ";", "}", "]", "\"", " "))
        }
      )
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const decoder = ServerMessage.makeDecoder()
        let nodes = new Map<string, NodeState>()
        for (const { damage, more, name, prompt, restart, state, twice, value } of steps) {
          if (restart) nodes = new Map()
          nodes.set(name, { state, value })
          // A name may stand twice, and then the last counts; a character near the end may be another or gone.
          const entries = twice ? [...nodes, [name, { state: "running", value: 7 }] as const] : nodes
          const text = frameOf(prompt, entries, more)
          const frame = damage === undefined
            ? text
            : text.slice(0, -damage[0]) + damage[1] + text.slice(text.length - damage[0] + 1)
          const [alone] = ServerMessage.decodeBatch([frame])
          const [remembered] = decoder.decodeBatch([frame])
          if (remembered?._tag === "ProgressState" && alone?._tag === "ProgressState") {
            assert.deepStrictEqual({ ...remembered, raw: null }, { ...alone, raw: null })
            assert.strictEqual(canonical(String(ServerMessage.encode(remembered))), canonical(frame))
          } else assert.deepStrictEqual(remembered, alone)
        }
      }),
      { numRuns: 1000 }
    )
  })

  it("parses only what is new: the records of finished nodes are those of the frame before", () => {
    const decoder = ServerMessage.makeDecoder()
    const first = decoder.decodeBatch([frameOf("a", states(["1", "finished", 20], ["2", "running", 1]))])[0]
    const second = decoder.decodeBatch([frameOf("a", states(["1", "finished", 20], ["2", "running", 2]))])[0]
    if (first?._tag !== "ProgressState" || second?._tag !== "ProgressState") throw new Error("no state")
    assert.strictEqual(first.nodes["1"], second.nodes["1"])
    assert.notStrictEqual(first.nodes["2"], second.nodes["2"])
    assert.strictEqual(first.nodes["2"]?.value, 1)
    assert.strictEqual(second.nodes["2"]?.value, 2)
  })

  it("says the same of a state that is too long to be remembered", () => {
    const nodes = Array.from(
      { length: 45_000 },
      (_, index) => [String(index), { state: "finished", value: 1 }] as const
    )
    const frame = frameOf("a", nodes)
    assert.isAbove(frame.length, 4 * 1024 * 1024)
    const decoder = ServerMessage.makeDecoder()
    const [first, second] = [decoder.decodeBatch([frame])[0], decoder.decodeBatch([frame])[0]]
    if (first?._tag !== "ProgressState" || second?._tag !== "ProgressState") throw new Error("no state")
    assert.strictEqual(Object.keys(second.nodes).length, nodes.length)
    assert.notStrictEqual(first.nodes["1"], second.nodes["1"])
  })
})
