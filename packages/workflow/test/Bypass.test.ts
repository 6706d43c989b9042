import * as Bypass from "@effect-comfyui/workflow/Bypass"
import type { Classes, ClassInfo } from "@effect-comfyui/workflow/ClassInfo"
import { fits } from "@effect-comfyui/workflow/ClassInfo"
import * as Edit from "@effect-comfyui/workflow/Edit"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { readFileSync } from "node:fs"
import { freeze, get, node, reasonOf } from "./support/arbitrary.ts"

/** What the editor made of graphs with bypassed nodes: the graph before, and the links that it sent. */
const fixture: {
  readonly classes: Readonly<Record<string, ClassInfo>>
  readonly cases: ReadonlyArray<{
    readonly name: string
    readonly nodes: Workflow.Nodes
    readonly bypassed: ReadonlyArray<string>
    readonly sent: Readonly<Record<string, Readonly<Record<string, Workflow.Link>>>>
  }>
} = JSON.parse(readFileSync(new URL("fixtures/bypass.json", import.meta.url), "utf8"))

const editor: Classes = (classType) => fixture.classes[classType]

/** Every class has inputs a, b, c and one output, all of one type; `Odd` has nothing in common with them. */
const uniform: Classes = (classType) => ({
  inputs: ["a", "b", "c"].map((name) => ({ name, type: "IMAGE", widget: false, options: [] })),
  outputs: [classType === "Odd" ? "AUDIO" : "IMAGE"]
})

const sentLinks = ({ nodes }: Workflow.Workflow) =>
  Object.fromEntries(Object.entries(nodes).map(([id, node]) => [id, Object.fromEntries(Workflow.links(node))]))

/** 1 → 2 → 3 → 4 → 5, each but the first with a second input from 1. */
const chain = Workflow.fromNodes({
  "1": node("Load"),
  "2": node("Step", { a: ["1", 0], strength: 0.5 }),
  "3": node("Step", { a: ["2", 0], b: ["1", 0] }),
  "4": node("Step", { a: ["3", 0], b: ["2", 0] }),
  "5": node("Save", { a: ["4", 0], b: ["1", 0] })
})

const graph: fc.Arbitrary<Workflow.Workflow> = fc.array(
  fc.record({ odd: fc.boolean(), sources: fc.array(fc.nat(), { maxLength: 3 }) }),
  { minLength: 2, maxLength: 9 }
).map((nodes) =>
  Workflow.fromNodes(Object.fromEntries(nodes.map(({ odd, sources }, index) => [
    `n:${index}`,
    node(
      odd ? "Odd" : "Step",
      index === 0 ? {} : Object.fromEntries(
        sources.map((source, at) => [["a", "b", "c"][at] ?? "d", [`n:${source % index}`, 0] as const])
      )
    )
  ])))
)

const subset = (workflow: Workflow.Workflow) => fc.shuffledSubarray(Object.keys(workflow.nodes))

describe("Bypass", () => {
  for (const { bypassed, name, nodes, sent } of fixture.cases) {
    it(`leads links as the editor does: ${name}`, () => {
      const whole = Workflow.fromNodes(nodes)
      const without = get(Bypass.bypass(whole, bypassed, editor))
      assert.deepStrictEqual(sentLinks(without), sent)
      assert.deepStrictEqual(get(Bypass.reinstate(without, bypassed)), whole)
    })
  }

  it("takes the node out of what is sent and leads its consumers around it", () => {
    const without = get(Bypass.bypass(freeze(chain), ["2", "3"], uniform))
    assert.deepStrictEqual(Object.keys(without.nodes), ["1", "4", "5"])
    assert.deepStrictEqual(without.nodes["4"]?.inputs, { a: ["1", 0], b: ["1", 0] })
    assert.notInclude(Workflow.toJson(without), "strength")
    assert.deepStrictEqual(get(Workflow.check(without)), without)
  })

  it("puts back one of several, in any order (B01)", () => {
    const both = get(Bypass.bypass(chain, ["2", "3"], uniform))
    const onlyThree = get(Bypass.reinstate(both, ["2"]))
    assert.deepStrictEqual(onlyThree, get(Bypass.bypass(chain, ["3"], uniform)))
    assert.deepStrictEqual(onlyThree.nodes["4"]?.inputs, { a: ["2", 0], b: ["2", 0] })
    assert.deepStrictEqual(get(Bypass.reinstate(onlyThree, ["3"])), chain)
  })

  it("depends on what is bypassed, not on the order; and all of it can be undone in any order", () => {
    const cases = graph.chain((whole) =>
      fc.record({ whole: fc.constant(whole), ids: subset(whole), back: fc.nat(), split: fc.nat() })
    )
    fc.assert(fc.property(cases, ({ back, ids, split, whole }) => {
      const at = ids.length === 0 ? 0 : split % (ids.length + 1)
      const once = get(Bypass.bypass(freeze(whole), ids, uniform))
      const first = get(Bypass.bypass(whole, ids.slice(at), uniform))
      const twice = get(Bypass.bypass(freeze(first), ids.slice(0, at), uniform))
      assert.deepStrictEqual(twice.nodes, once.nodes)
      assert.isUndefined(ids.find((id) => Object.hasOwn(once.nodes, id)))
      assert.isTrue(ids.length === Object.keys(whole.nodes).length || Result.isSuccess(Workflow.check(once)))
      const start = ids.length === 0 ? 0 : back % ids.length
      const order = [...ids.slice(start), ...ids.slice(0, start)]
      let workflow = twice
      for (const id of order) workflow = get(Bypass.reinstate(freeze(workflow), [id]))
      assert.deepStrictEqual(workflow, whole)
    }))
  })

  it("takes the input away where nothing fits", () => {
    const whole = Workflow.fromNodes({
      "1": node("Load"),
      "2": node("Odd", { a: ["1", 0] }),
      "3": node("Save", { audio: ["2", 0] })
    })
    const without = get(Bypass.bypass(whole, ["2"], uniform))
    assert.deepStrictEqual(without.nodes["3"]?.inputs, {})
    assert.deepStrictEqual(get(Bypass.reinstate(without, ["2"])), whole)
  })

  it("lets an edit of a led link stand", () => {
    const without = get(Bypass.bypass(chain, ["3"], uniform))
    const edited = get(Edit.setInput(without, "4", "a", 5))
    const back = get(Bypass.reinstate(edited, ["3"]))
    assert.deepStrictEqual(back.nodes["4"]?.inputs, { a: 5, b: ["2", 0] })
    assert.deepStrictEqual(back.nodes["3"], chain.nodes["3"])
  })

  it("follows renames and removals", () => {
    const without = get(Bypass.bypass(chain, ["2", "3"], uniform))
    const renamed = get(Edit.renameNodes(without, { "1": "57:1", "2": "57:2", "4": "57:4" }))
    const back = get(Edit.renameNodes(get(Bypass.reinstate(renamed, ["57:2", "3"])), {
      "57:1": "1",
      "57:2": "2",
      "57:4": "4"
    }))
    assert.deepStrictEqual(back, chain)
    assert.deepInclude(reasonOf(Edit.addNode(without, "2", node("A"))), { _tag: "NodeExists" })
    assert.deepStrictEqual(reasonOf(Edit.removeNode(without, "1")), {
      _tag: "StillLinked",
      nodeId: "1",
      by: [
        { nodeId: "4", inputName: "a" },
        { nodeId: "4", inputName: "b" },
        { nodeId: "5", inputName: "b" },
        { nodeId: "2", inputName: "a" },
        { nodeId: "3", inputName: "b" }
      ]
    })
    const removed = get(Edit.removeNode(without, "1", { links: "drop" }))
    const restored = get(Bypass.reinstate(removed, ["2", "3"]))
    assert.deepStrictEqual(restored, get(Edit.removeNode(chain, "1", { links: "drop" })))
    const consumerGone = get(Edit.removeNode(without, "5"))
    assert.deepStrictEqual(get(Bypass.reinstate(consumerGone, ["2", "3"])), get(Edit.removeNode(chain, "5")))
  })

  it("is typed where it cannot be", () => {
    const unknown: Classes = () => undefined
    assert.deepStrictEqual(reasonOf(Bypass.bypass(chain, ["2"], unknown)), {
      _tag: "UnknownClass",
      nodeId: "2",
      classType: "Step"
    })
    assert.notProperty(get(Bypass.bypass(chain, ["5"], unknown)).nodes, "5")
    assert.deepStrictEqual(reasonOf(Bypass.bypass(chain, ["toString"], uniform)), {
      _tag: "NodeNotFound",
      nodeId: "toString"
    })
    const without = get(Bypass.bypass(chain, ["2"], uniform))
    assert.deepStrictEqual(get(Bypass.bypass(without, ["2"], uniform)), without)
    for (const nodeId of ["3", "__proto__"]) {
      assert.deepStrictEqual(reasonOf(Bypass.reinstate(without, [nodeId])), { _tag: "NotBypassed", nodeId })
    }
    const circle = Workflow.fromNodes({
      "1": node("Step", { a: ["2", 0] }),
      "2": node("Step", { a: ["1", 0] }),
      "3": node("Save", { a: ["1", 0] })
    })
    assert.deepInclude(reasonOf(Bypass.bypass(circle, ["1", "2"], uniform)), { _tag: "Cycle" })
  })

  it("matches types as the editor does", () => {
    assert.isTrue(fits("IMAGE", "image"))
    assert.isTrue(fits("*", "MODEL") && fits("MODEL", ""))
    assert.isTrue(fits("INT,FLOAT", "FLOAT"))
    assert.isFalse(fits("INT,FLOAT", "STRING"))
  })
})
