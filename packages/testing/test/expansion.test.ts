import { NodeClass, Plan, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { recNodes } from "./support/recNodes.ts"
import { Server, textOf } from "./support/server.ts"

interface Shown {
  readonly display_node_id: string
  readonly parent_node_id: string | null
  readonly real_node_id: string
  readonly state: string
}

const framesOf = (server: Server, conn: number) =>
  server.frames(conn).flatMap((frame) => (typeof frame === "string" ? [JSON.parse(frame)] : []))

const lastState = (server: Server, conn: number): Readonly<Record<string, Shown>> =>
  framesOf(server, conn).findLast((frame) => frame.type === "progress_state")?.data.nodes ?? {}

const run = (graph: object, server = new Server({ nodes: [...TestNodes.nodes, ...recNodes] })) => {
  const conn = server.open("c")
  const id = server.prompt(graph, { client_id: "c" })
  server.settle()
  const history = JSON.parse(textOf(server.get(`/history/${id}`).body))[id]
  const executing = framesOf(server, conn).filter((frame) => frame.type === "executing").map((frame) => frame.data)
  const failure = framesOf(server, conn).find((frame) => frame.type === "execution_error")?.data
  return { server, conn, id, history, executing, failure }
}

const out = (from: string, slot = 0) => ({ class_type: "RecOut", inputs: { value: [from, slot] } })
const ran = (server: Server): ReadonlyArray<string> => server.ledger().nodes.map((node) => node.nodeId)

/** Adds up the numbers from `start` down to 1, by a loop as upstream's test nodes write it. */
const loop = (start: number) => ({
  1: { class_type: "TestWhileLoopOpen", inputs: { condition: true, initial_value0: start, initial_value1: 0 } },
  2: { class_type: "TestIntMathOperation", inputs: { a: ["1", 1], b: 1, operation: "subtract" } },
  3: { class_type: "TestIntMathOperation", inputs: { a: ["1", 2], b: ["1", 1], operation: "add" } },
  4: {
    class_type: "TestWhileLoopClose",
    inputs: {
      flow_control: ["1", 0],
      condition: ["5", 0],
      initial_value0: ["2", 0],
      initial_value1: ["3", 0]
    }
  },
  5: { class_type: "TestToBoolNode", inputs: { value: ["2", 0] } },
  6: out("4", 1)
})

describe("a node that expands", () => {
  it("puts nodes with ids of their own in its place, and says which node stands for them", () => {
    const { conn, executing, history, server } = run({
      7: { class_type: "FakeExpand", inputs: { count: 2, seconds: 1 } },
      8: out("7")
    })
    assert.deepStrictEqual(executing.map(({ display_node, node }) => [node, display_node]), [
      ["7", "7"],
      ["7.0.0.1", "7"],
      ["7.0.0.2", "7"],
      ["8", "8"],
      [null, undefined]
    ])
    const nodes = lastState(server, conn)
    const { display_node_id, parent_node_id, real_node_id, state } = nodes["7.0.0.2"] ?? assert.fail()
    assert.deepStrictEqual([display_node_id, parent_node_id, real_node_id, state], ["7", "7", "7", "finished"])
    assert.strictEqual(nodes["7"]?.parent_node_id, null)
    assert.strictEqual(nodes["7"]?.state, "finished")
    assert.sameMembers(Object.keys(history.outputs), ["7.0.0.1", "7.0.0.2", "8"])
    assert.deepStrictEqual(history.meta["7.0.0.1"], {
      node_id: "7.0.0.1",
      display_node: "7",
      parent_node: "7",
      real_node_id: "7"
    })
    assert.strictEqual(server.ledger().prompts[0]?.outcome, "success")
    assert.isAtLeast(server.now, 2_000)
  })

  it("keeps what its nodes gave for the next expansion of the same node, not for one under another id", () => {
    const graph = (id: string, count: number) => ({
      [id]: { class_type: "FakeExpand", inputs: { count, seconds: 1 } },
      9: out(id)
    })
    const { server } = run(graph("7", 2))
    const before = ran(server).length
    const again = run(graph("7", 3), server)
    assert.deepStrictEqual(ran(server).slice(before), ["7", "7.0.0.3", "9"])
    // Cached output nodes show themselves again all the same.
    assert.includeMembers(Object.keys(again.history.outputs), ["7.0.0.1", "7.0.0.2", "7.0.0.3"])
    const between = ran(server).length
    run(graph("8", 4), server)
    assert.deepStrictEqual(ran(server).slice(between), ["8", "8.0.0.1", "8.0.0.2", "8.0.0.3", "8.0.0.4", "9"])
  })

  it("keeps no more than its last expansion named", () => {
    const graph = (count: number) => ({
      7: { class_type: "FakeExpand", inputs: { count, seconds: 1 } },
      9: out("7")
    })
    const { server } = run(graph(3))
    run(graph(2), server)
    const before = ran(server).length
    run(graph(3), server)
    assert.deepStrictEqual(ran(server).slice(before), ["7", "7.0.0.3", "9"])
  })

  it("is cached whole: a repetition expands nothing", () => {
    const graph = { 7: { class_type: "FakeExpand", inputs: { count: 2, seconds: 1 } }, 9: out("7") }
    const { server } = run(graph)
    const before = ran(server).length
    const { executing } = run(graph, server)
    assert.strictEqual(ran(server).length, before)
    assert.isTrue(executing.every(({ node }) => node === null || node === "7" || !String(node).includes(".")))
  })

  it("recurses: each pass lies in the one before it", () => {
    const { executing, history, server } = run({
      4: { class_type: "FakeLoop", inputs: { count: 3, seconds: 1, value: "x" } },
      9: out("4")
    })
    assert.deepStrictEqual(history.outputs["9"].text, ["x"])
    const ids = executing.map(({ node }) => node)
    assert.includeMembers(ids, ["4.0.0.Body", "4.0.0.Recurse", "4.0.0.Recurse.0.0.Body"])
    const deepest = "4.0.0.Recurse.0.0.Recurse.0.0.Body"
    assert.deepStrictEqual(history.meta[deepest], {
      node_id: deepest,
      display_node: "4",
      parent_node: "4.0.0.Recurse.0.0.Recurse",
      real_node_id: "4"
    })
    assert.strictEqual(server.ledger().nodes.filter((node) => node.classType === "FakeSleep").length, 3)
  })

  it("loops as upstream's nodes do: raw links, copies of itself, ids that nest", () => {
    const { executing, history } = run(loop(4))
    // 4 + 3 + 2 + 1
    assert.deepStrictEqual(history.outputs["6"].text, ["10"])
    const shown = new Map(executing.map(({ display_node, node }) => [node, display_node]))
    assert.strictEqual(shown.get("4.0.0.3"), "3")
    assert.strictEqual(shown.get("4.0.0.Recurse"), "4")
    assert.strictEqual(shown.get("4.0.0.Recurse.0.0.4.0.0.1"), "1")
  })

  it("fails in the name of the node of the prompt, with what ran before", () => {
    const failing = run({
      1: { class_type: "RecSource", inputs: { seed: 1 } },
      4: { class_type: "FailsInside", inputs: { value: ["1", 0] } },
      9: out("4")
    }, new Server({ nodes: [...recNodes, failsInside] }))
    assert.strictEqual(failing.failure.node_id, "4")
    assert.strictEqual(failing.failure.node_type, "FailsInside")
    assert.strictEqual(failing.failure.exception_type, "ValueError")
    assert.deepStrictEqual(failing.failure.current_inputs, { value: [1], kind: ["value"] })
    assert.sameMembers(failing.failure.executed, ["1", "4.0.0.first"])
    assert.sameMembers(failing.failure.current_outputs, ["1", "4", "9"])
    // Nobody says which one it was but the last `executing`.
    assert.strictEqual(failing.executing.at(-2)?.node, "4.0.0.second")
    assert.strictEqual(failing.server.ledger().nodes.at(-1)?.outcome, "error")
    // The worker goes on.
    const after = run({ 9: out("1"), 1: { class_type: "RecSource", inputs: { seed: 3 } } }, failing.server)
    assert.strictEqual(after.history.status.status_str, "success")
  })

  it("cannot wait for itself: the ring that it makes is an error with the node to blame", () => {
    const { failure } = run({
      1: { class_type: "RecSource", inputs: { seed: 1 } },
      4: { class_type: "TestDynamicDependencyCycle", inputs: { input1: ["1", 0] } },
      9: out("4")
    })
    assert.deepStrictEqual(
      [failure.node_id, failure.exception_type, failure.exception_message, failure.traceback, failure.current_inputs],
      ["4", "graph.DependencyCycleError", "Dependency cycle detected", [], []]
    )
  })

  it("is refused what Python would refuse it: unknown classes and links that lead nowhere", () => {
    for (
      const [nodes, type, message] of [
        [{ a: { class: "NoSuchClass", inputs: {} } }, "KeyError", "'NoSuchClass'\n"],
        [
          { a: { class: "RecPass", inputs: { value: Plan.out("missing") } } },
          "comfy_execution.graph.NodeNotFoundError",
          "Node 4.0.0.missing not found\n"
        ]
      ] as const
    ) {
      const odd = NodeClass.define({
        class: "Odd",
        outputs: ["*"],
        outputNode: true,
        run: () => Plan.expands({ nodes, outputs: [Plan.out("a")] })
      })
      const { failure } = run({ 4: { class_type: "Odd", inputs: {} } }, new Server({ nodes: [...recNodes, odd] }))
      assert.deepStrictEqual([failure.node_id, failure.exception_type, failure.exception_message], ["4", type, message])
    }
  })

  it("expands once per item of a list, values beside links, and gives all on", () => {
    const list = NodeClass.define({
      class: "List",
      outputs: [{ type: "INT", list: true }],
      run: () => Plan.returns([[1, 2, 3]])
    })
    const odd = NodeClass.define({
      class: "OddExpands",
      required: { value: NodeClass.int() },
      outputs: ["*"],
      run: ({ value }) =>
        Number(value) % 2 === 0 ? Plan.returns([value]) : Plan.expands({
          nodes: { twice: { class: "TestIntMathOperation", inputs: { a: value, b: 10, operation: "multiply" } } },
          outputs: [Plan.out("twice")]
        })
    })
    const { executing, history } = run({
      1: { class_type: "List", inputs: {} },
      4: { class_type: "OddExpands", inputs: { value: ["1", 0] } },
      9: out("4")
    }, new Server({ nodes: [...recNodes, list, odd] }))
    assert.deepStrictEqual(history.outputs["9"].text, ["10", "2", "30"])
    assert.includeMembers(executing.map(({ node }) => node), ["4.0.0.twice", "4.2.0.twice"])
  })

  it("is interrupted in the name of the node of the prompt", () => {
    const server = new Server({ nodes: TestNodes.nodes })
    const conn = server.open("c")
    server.prompt({
      7: { class_type: "FakeExpand", inputs: { count: 2, seconds: 60 } },
      8: { class_type: "PreviewAny", inputs: { source: ["7", 0] } }
    }, { client_id: "c" })
    server.pass(10_000)
    server.http("POST", "/interrupt")
    server.settle()
    const interrupted = framesOf(server, conn).find((frame) => frame.type === "execution_interrupted")?.data
    assert.deepStrictEqual([interrupted.node_id, interrupted.node_type], ["7", "FakeExpand"])
    assert.isBelow(server.now, 20_000)
  })
})

const failsInside = NodeClass.define({
  class: "FailsInside",
  required: { value: NodeClass.any() },
  outputs: ["*"],
  run: ({ value }) =>
    Plan.expands({
      nodes: {
        first: { class: "RecPass", inputs: { value } },
        second: { class: "RecRaise", inputs: { value: Plan.out("first"), kind: "value" } }
      },
      outputs: [Plan.out("second")]
    })
})

describe("a lazy input", () => {
  const graph = (mask: number) => ({
    1: { class_type: "RecSource", inputs: { seed: 1 } },
    2: { class_type: "RecSource", inputs: { seed: 2 } },
    4: { class_type: "TestLazyMix", inputs: { image1: ["1", 0], image2: ["2", 0], mask } },
    9: out("4")
  })

  it("is evaluated only if the node asks for it", () => {
    const { executing, history, server } = run(graph(0))
    assert.deepStrictEqual(ran(server), ["1", "4", "9"])
    assert.deepStrictEqual(history.outputs["9"].text, ["1"])
    // The node is announced, waits, and is announced again.
    assert.deepStrictEqual(executing.map(({ node }) => node), ["4", "1", "4", "9", null])
    assert.sameMembers(ran(run(graph(0.5)).server).slice(0, 2), ["1", "2"])
  })

  it("is not announced as done in progress_state, and its node stays uncached", () => {
    const { conn, server } = run(graph(0))
    assert.notProperty(lastState(server, conn), "2")
    assert.strictEqual(lastState(server, conn)["4"]?.state, "finished")
    assert.strictEqual(server.snapshot().cachedNodes, 3)
  })

  it("comes from the cache at once", () => {
    const { server } = run(graph(0))
    const before = ran(server).length
    const { executing } = run(graph(0.25), server)
    assert.deepStrictEqual(ran(server).slice(before), ["2", "4", "9"])
    assert.notInclude(executing.slice(-5).map(({ node }) => node), "1")
  })

  it("that is not there is an error of the node that wants it", () => {
    const greedy = NodeClass.define({
      class: "Greedy",
      optional: { value: NodeClass.lazy(NodeClass.any()) },
      outputs: ["*"],
      outputNode: true,
      needs: () => ["value"],
      run: () => Plan.returns([1])
    })
    const { failure } = run({ 4: { class_type: "Greedy", inputs: {} } }, new Server({ nodes: [greedy] }))
    assert.strictEqual(failure.exception_type, "comfy_execution.graph.NodeInputError")
    assert.include(failure.exception_message, "Node 4 says it needs input value")
    // A literal needs no asking.
    assert.strictEqual(
      run({ 4: { class_type: "Greedy", inputs: { value: 3 } } }, new Server({ nodes: [greedy] })).failure,
      undefined
    )
  })

  it("of FakeChoose leaves the other branch alone", () => {
    const { history, server } = run({
      1: { class_type: "FakeSleep", inputs: { seconds: 5, watches: true, value: "slow" } },
      2: { class_type: "RecSource", inputs: { seed: 7 } },
      4: { class_type: "FakeChoose", inputs: { first: false, on_true: ["3", 0], on_false: ["2", 0] } },
      3: { class_type: "RecPass", inputs: { value: ["1", 0] } },
      9: out("4")
    })
    assert.deepStrictEqual(history.outputs["9"].text, ["7"])
    assert.notInclude(ran(server), "3")
  })
})
