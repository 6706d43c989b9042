// Nodes of the recorded servers that expand into others, and upstream's loop, defined by what recordings and
// its source show of them.
import { NodeClass, Plan } from "@effect-comfyui/testing"
import * as Option from "effect/Option"

const info = { module: "custom_nodes.testing-pack", category: "Testing" }
const value = NodeClass.link("*", Option.some)
const seconds = () => NodeClass.float({ default: 0.5, min: 0n, max: 10n, step: 0.01 })

/** Three async nodes and one that joins them. */
const parallelSleep = NodeClass.define({
  class: "TestParallelSleep",
  required: {
    image1: NodeClass.image(),
    image2: NodeClass.image(),
    image3: NodeClass.image(),
    sleep1: seconds(),
    sleep2: seconds(),
    sleep3: seconds()
  },
  hidden: { unique_id: "UNIQUE_ID" },
  outputs: ["IMAGE"],
  outputNode: true,
  info,
  run: ({ image1, image2, image3, sleep1, sleep2, sleep3 }) =>
    Plan.expands({
      nodes: {
        1: { class: "TestSleep", inputs: { value: image1, seconds: sleep1 } },
        2: { class: "TestSleep", inputs: { value: image2, seconds: sleep2 } },
        3: { class: "TestSleep", inputs: { value: image3, seconds: sleep3 } },
        4: {
          class: "TestVariadicAverage",
          inputs: { input1: Plan.out("1"), input2: Plan.out("2"), input3: Plan.out("3") }
        }
      },
      outputs: [Plan.out("4")]
    })
})

const carried = ["initial_value0", "initial_value1", "initial_value2", "initial_value3", "initial_value4"]
const carriedInputs = Object.fromEntries(carried.map((name) => [name, value]))

const loopOpen = NodeClass.define({
  class: "TestWhileLoopOpen",
  required: { condition: NodeClass.boolean({ default: true }) },
  optional: carriedInputs,
  outputs: ["FLOW_CONTROL", "*", "*", "*", "*", "*"],
  info,
  run: (given) => Plan.returns(["stub", ...carried.map((name) => Reflect.get(given, name) ?? null)])
})

type Look = NodeClass.NodeContext["nodeAt"]

/** The nodes between the loop's open and its close: those that the close needs and that need the open. */
const between = (close: string, open: string, look: Look): ReadonlySet<string> => {
  const found = new Set([close, open])
  const known = new Map<string, boolean>()
  const leads = (id: string): boolean => {
    if (id === open) return true
    const before = known.get(id)
    if (before !== undefined) return before
    known.set(id, false)
    let reached = false
    for (const input of Object.values(look(id)?.inputs ?? {})) {
      if (input instanceof Plan.Link && leads(input.node)) reached = true
    }
    known.set(id, reached)
    if (reached) found.add(id)
    return reached
  }
  leads(close)
  return found
}

/** While its condition holds, a copy of everything from the open on, with a copy of itself at the end. */
const loopClose = NodeClass.define({
  class: "TestWhileLoopClose",
  required: { flow_control: NodeClass.rawLink("FLOW_CONTROL"), condition: NodeClass.boolean({ forceInput: true }) },
  optional: carriedInputs,
  hidden: { dynprompt: "DYNPROMPT", unique_id: "UNIQUE_ID" },
  outputs: ["*", "*", "*", "*", "*"],
  info,
  run: (given, { nodeAt, nodeId }) => {
    const values = carried.map((name) => Reflect.get(given, name) ?? null)
    if (!given.condition) return Plan.returns(values)
    const open = given.flow_control.node
    const contained = between(nodeId, open, nodeAt)
    const nameOf = (id: string): string => (id === nodeId ? "Recurse" : id)
    const nodes: Record<string, Plan.ExpandedNode> = {}
    for (const id of contained) {
      const node = nodeAt(id)
      const inputs: Record<string, unknown> = {}
      for (const [name, input] of Object.entries(node?.inputs ?? {})) {
        inputs[name] = input instanceof Plan.Link && contained.has(input.node)
          ? Plan.out(nameOf(input.node), input.slot)
          : input
      }
      if (id === open) carried.forEach((name, index) => inputs[name] = values[index] ?? undefined)
      nodes[nameOf(id)] = { class: node?.class ?? "", inputs, display: id }
    }
    return Plan.expands({ nodes, outputs: carried.map((_, slot) => Plan.out("Recurse", slot)) })
  }
})

/** Arithmetic of loops: `a` and `b` by an operation that can fail. */
const math = NodeClass.define({
  class: "TestIntMathOperation",
  required: {
    a: NodeClass.int(),
    b: NodeClass.int(),
    operation: NodeClass.combo(["add", "subtract", "multiply", "divide"])
  },
  outputs: ["INT"],
  info,
  run: ({ a, b, operation }) => {
    const [x, y] = [Number(a), Number(b)]
    if (operation === "divide" && y === 0) return Plan.raises("ZeroDivisionError", "division by zero")
    return Plan.returns([
      operation === "add"
        ? x + y
        : operation === "subtract"
        ? x - y
        : operation === "multiply"
        ? x * y
        : Math.floor(x / y)
    ])
  }
})

const condition = NodeClass.define({
  class: "TestToBoolNode",
  required: { value },
  outputs: ["BOOLEAN"],
  info,
  run: ({ value }) => Plan.returns([Boolean(value)])
})

/** Two images by a mask; only those are evaluated that can be seen. Here the mask is a number. */
const lazyMix = NodeClass.define({
  class: "TestLazyMix",
  required: {
    image1: NodeClass.lazy(value),
    image2: NodeClass.lazy(value),
    mask: NodeClass.float()
  },
  outputs: ["*"],
  info,
  needs: ({ mask }) => [...mask < 1 ? ["image1"] : [], ...mask > 0 ? ["image2"] : []],
  run: ({ image1, image2, mask }) => Plan.returns([mask < 1 ? image1 : image2])
})

/** Puts a ring of two nodes in its place. */
const ring = NodeClass.define({
  class: "TestDynamicDependencyCycle",
  required: { input1: value },
  outputs: ["*"],
  info,
  run: () =>
    Plan.expands({
      nodes: {
        1: { class: "RecPass", inputs: { value: Plan.out("2") } },
        2: { class: "RecPass", inputs: { value: Plan.out("1") } }
      },
      outputs: [Plan.out("1")]
    })
})

export const expandingNodes: ReadonlyArray<NodeClass.NodeClass> = [
  parallelSleep,
  loopOpen,
  loopClose,
  math,
  condition,
  lazyMix,
  ring
]
