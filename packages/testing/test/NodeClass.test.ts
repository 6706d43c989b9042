import { NodeClass, Plan } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import { Server, textOf } from "./support/server.ts"

const any = NodeClass.link("*", Option.some)

/** Shows its value, and gives it on. */
const show = NodeClass.define({
  class: "Show",
  required: { value: any },
  outputs: ["*"],
  outputNode: true,
  run: ({ value }) => Plan.returns([value], { ui: { text: [String(value)] } })
})

const range = NodeClass.define({
  class: "Range",
  required: { count: NodeClass.int() },
  outputs: [{ type: "INT", list: true }],
  run: ({ count }) => Plan.returns([Array.from({ length: Number(count) }, (_, index) => index)])
})

const sum = NodeClass.define({
  class: "Sum",
  required: { values: NodeClass.int({ forceInput: true }) },
  outputs: ["INT"],
  inputIsList: true,
  run: ({ values }) => Plan.returns([values.reduce<number>((total, value) => total + Number(value), 0)])
})

const beside = NodeClass.define({
  class: "Beside",
  required: { seconds: NodeClass.float() },
  outputs: ["FLOAT"],
  async: true,
  run: ({ seconds }) => Plan.returns([seconds], { steps: [Plan.wait(seconds * 1000)] })
})

const never = NodeClass.define({
  class: "Never",
  outputs: ["INT"],
  changed: () => "never",
  run: () => Plan.returns([1])
})

const even = NodeClass.define({
  class: "Even",
  required: { value: NodeClass.int({ max: 1 }) },
  outputNode: true,
  validates: ["value"],
  validate: (_name, value) => Number(value) % 2 === 0 ? true : "odd",
  run: () => Plan.returns([])
})

const nodes = [show, range, sum, beside, never, even]

const link = (id: string) => [id, 0]

/** Runs a graph and gives the texts that each node showed. */
const texts = (server: Server, graph: object) => {
  const id = server.prompt(graph)
  server.settle()
  const { outputs, status } = JSON.parse(textOf(server.get(`/history/${id}`).body))[id]
  const shown = Object.entries<{ text?: ReadonlyArray<string> }>(outputs).map(([node, ui]) => [node, ...ui.text ?? []])
  return [status.status_str, ...shown]
}

describe("a class", () => {
  it("is mapped over a list, or gets it whole", () => {
    const server = new Server({ nodes })
    assert.deepStrictEqual(
      texts(server, {
        "1": { class_type: "Range", inputs: { count: 4 } },
        "2": { class_type: "Show", inputs: { value: link("1") } },
        "3": { class_type: "Sum", inputs: { values: link("1") } },
        "4": { class_type: "Show", inputs: { value: link("3") } }
      }),
      ["success", ["2", "0", "1", "2", "3"], ["4", "6"]]
    )
    assert.strictEqual(server.ledger().nodes.length, 4)
  })

  it("runs beside others where it is async, and what follows starts when all is there", () => {
    const server = new Server({ nodes })
    texts(server, {
      "1": { class_type: "Beside", inputs: { seconds: 3 } },
      "2": { class_type: "Beside", inputs: { seconds: 5 } },
      "3": { class_type: "Show", inputs: { value: link("1") } },
      "4": { class_type: "Show", inputs: { value: link("2") } }
    })
    const [prompt] = server.ledger().prompts
    const started = prompt?.startedAt ?? 0
    const times = server.ledger().nodes.map((node) => [
      node.nodeId,
      node.startedAt - started,
      (node.endedAt ?? 0) - started
    ])
    assert.deepStrictEqual(times, [["1", 0, 3_000], ["2", 0, 5_000], ["3", 3_000, 3_000], ["4", 5_000, 5_000]])
  })

  it("is cached by its inputs, and not at all where it says so", () => {
    const server = new Server({ nodes })
    const graph = {
      "1": { class_type: "Never", inputs: {} },
      "2": { class_type: "Show", inputs: { value: link("1") } },
      "3": { class_type: "Range", inputs: { count: "2" } },
      "4": { class_type: "Show", inputs: { value: link("3") } }
    }
    texts(server, graph)
    const ran = server.ledger().nodes.length
    texts(server, { ...graph, "3": { class_type: "Range", inputs: { count: 2 } } })
    assert.deepStrictEqual(server.ledger().nodes.slice(ran).map((node) => node.nodeId), ["1", "2"])
  })

  it("checks its inputs itself where it says so: then no limit counts", () => {
    const server = new Server({ nodes })
    const post = (value: number) =>
      server.http("POST", "/prompt", { prompt: { "1": { class_type: "Even", inputs: { value } } } })
    assert.strictEqual(post(4).status, 200)
    const refused = post(3)
    assert.strictEqual(refused.status, 400)
    assert.include(textOf(refused.body), "\"details\": \"value - odd\"")
  })

  it("fails as Python does on a value of another kind, or a link under a name that it has not declared", () => {
    const server = new Server({ nodes })
    const image = NodeClass.define({
      class: "NeedsImage",
      required: { image: NodeClass.image() },
      outputNode: true,
      run: () => Plan.returns([])
    })
    const one = new Server({ nodes: [...nodes, image] })
    assert.deepStrictEqual(texts(one, { "1": { class_type: "NeedsImage", inputs: { image: "no link" } } }), ["error"])
    const undeclared = {
      "1": { class_type: "Never", inputs: {} },
      "2": { class_type: "Show", inputs: { value: link("1"), extra: link("1") } }
    }
    assert.deepStrictEqual(texts(server, undeclared), ["error"])
    server.prompt({ "2": { class_type: "Show", inputs: { value: 1, extra: link("nowhere") } } })
    server.settle()
    assert.isFalse(server.snapshot().workerAlive)
  })

  it("stands in object_info as it was declared", () => {
    const server = new Server({ nodes })
    assert.deepStrictEqual(JSON.parse(textOf(server.get("/object_info/Even").body)).Even, {
      input: { required: { value: ["INT", { max: 1 }] } },
      input_order: { required: ["value"] },
      is_input_list: false,
      output: [],
      output_is_list: [],
      output_name: [],
      name: "Even",
      display_name: "Even",
      description: "",
      python_module: "custom_nodes.fake",
      category: "fake",
      output_node: true,
      has_intermediate_output: false,
      search_aliases: []
    })
    const bare = new Server({ bare: true, nodes })
    assert.hasAllKeys(JSON.parse(textOf(bare.get("/object_info").body)), [
      "Show",
      "Range",
      "Sum",
      "Beside",
      "Never",
      "Even"
    ])
  })
})
