import * as Aliases from "@effect-comfyui/workflow/Aliases"
import * as Edit from "@effect-comfyui/workflow/Edit"
import * as Seeds from "@effect-comfyui/workflow/Seeds"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowReason } from "@effect-comfyui/workflow/WorkflowError"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { freeze, get, json, node, reasonOf, textToImage, workflow } from "./support/arbitrary.ts"

const inherited = Object.getOwnPropertyNames(Object.prototype)
const missing: WorkflowReason = { _tag: "NodeNotFound", nodeId: "99" }
const sorted = ({ nodes }: Workflow.Workflow) => Object.keys(nodes).toSorted()

/** Every edit with these arguments, whether it succeeds or not. */
const everyEdit = (
  before: Workflow.Workflow,
  nodeId: string,
  name: string,
  value: Parameters<typeof Edit.setInput>[3]
) => [
  Edit.setInput(before, nodeId, name, value),
  Edit.setInputs(before, { [nodeId]: { [name]: value } }),
  Edit.removeInput(before, nodeId, name),
  Edit.connect(before, [name, 0], nodeId, name),
  Edit.replaceClass(before, nodeId, name),
  Edit.addNode(before, nodeId, node(name, { [name]: value })),
  Edit.removeNode(before, nodeId),
  Edit.removeNode(before, nodeId, { links: "drop" }),
  Edit.renameNodes(before, { [nodeId]: name }),
  Aliases.set(before, name, nodeId),
  Aliases.remove(before, name)
]

describe("Edit", () => {
  it("never changes what it was given, and never throws, whatever it is asked (B02)", () => {
    const name = fc.oneof(fc.constantFrom("__proto__", "constructor", "toString", "model", "57:8"), fc.string())
    fc.assert(fc.property(workflow, name, name, json, (workflow, nodeId, name, value) => {
      const before = freeze(workflow)
      for (const id of [nodeId, ...Object.keys(before.nodes)]) {
        for (const result of everyEdit(before, id, name, value)) {
          if (Result.isFailure(result)) assert.isNotEmpty(result.failure.message)
        }
      }
      assert.deepStrictEqual(Object.getOwnPropertyNames(Object.prototype), inherited)
    }))
  })

  it("shares what it did not change", () => {
    const before = textToImage()
    const after = get(Edit.setInput(before, "3", "seed", 7))
    assert.strictEqual(after.nodes["3"]?.inputs["seed"], 7)
    assert.strictEqual(before.nodes["3"]?.inputs["seed"], 1)
    for (const id of ["4", "5", "6", "7", "8", "9"]) assert.strictEqual(after.nodes[id], before.nodes[id])
    assert.strictEqual(after.nodes["3"]?.inputs["model"], before.nodes["3"]?.inputs["model"])
    const renamed = get(Edit.renameNodes(before, { "8": "57:8" }))
    assert.strictEqual(renamed.nodes["3"], before.nodes["3"])
  })

  it("fails typed where the node is missing", () => {
    const before = textToImage()
    assert.deepStrictEqual(reasonOf(Edit.setInput(before, "99", "seed", 1)), missing)
    assert.deepStrictEqual(reasonOf(Edit.setInputs(before, { "3": { seed: 1 }, "99": {} })), missing)
    assert.deepStrictEqual(reasonOf(Edit.removeInput(before, "99", "seed")), missing)
    assert.deepStrictEqual(reasonOf(Edit.connect(before, ["99", 0], "3", "model")), missing)
    assert.deepStrictEqual(reasonOf(Edit.connect(before, ["4", 0], "99", "model")), missing)
    assert.deepStrictEqual(reasonOf(Edit.replaceClass(before, "99", "A")), missing)
    assert.deepStrictEqual(reasonOf(Edit.removeNode(before, "99")), missing)
    assert.deepStrictEqual(reasonOf(Edit.renameNodes(before, { "99": "1" })), missing)
    assert.deepStrictEqual(reasonOf(Aliases.set(before, "x", "99")), missing)
    assert.deepStrictEqual(reasonOf(Edit.setInput(before, "toString", "a", 1)), {
      _tag: "NodeNotFound",
      nodeId: "toString"
    })
  })

  it("refuses names that reach prototypes", () => {
    const before = textToImage()
    for (const name of ["__proto__", "constructor", "prototype"]) {
      const forbidden: WorkflowReason = { _tag: "ForbiddenName", nodeId: "3", inputName: name }
      assert.deepStrictEqual(reasonOf(Edit.setInput(before, "3", name, { polluted: 1 })), forbidden)
      assert.deepStrictEqual(reasonOf(Edit.connect(before, ["4", 0], "3", name)), forbidden)
      const forbiddenId: WorkflowReason = { _tag: "ForbiddenName", nodeId: name, inputName: null }
      assert.deepStrictEqual(reasonOf(Edit.addNode(before, name, node("A"))), forbiddenId)
      assert.deepStrictEqual(reasonOf(Edit.renameNodes(before, { "3": name })), forbiddenId)
    }
    assert.isFalse("polluted" in {})
  })

  it("sets many inputs at once or none, digits of floats that stay included", () => {
    const before = get(Workflow.fromJson("{\"1\":{\"class_type\":\"A\",\"inputs\":{\"cfg\":8.0,\"seed\":1}}}"))
    const after = get(Edit.setInputs(before, { "1": { seed: 18446744073709551615n, "mode.width": 5 } }))
    assert.strictEqual(
      Workflow.toJson(after),
      "{\"1\":{\"class_type\":\"A\",\"inputs\":{\"cfg\":8.0,\"seed\":18446744073709551615,\"mode.width\":5}}}"
    )
  })

  it("connects, disconnects and replaces", () => {
    const before = textToImage()
    const after = get(Edit.connect(before, ["5", 0], "8", "samples"))
    assert.deepStrictEqual(after.nodes["8"]?.inputs["samples"], ["5", 0])
    const without = get(Edit.removeInput(after, "8", "samples"))
    assert.notProperty(without.nodes["8"]?.inputs, "samples")
    assert.deepStrictEqual(reasonOf(Edit.removeInput(without, "8", "samples")), {
      _tag: "InputNotFound",
      nodeId: "8",
      inputName: "samples"
    })
    const tiled = get(Edit.replaceClass(before, "8", "VAEDecodeTiled"))
    assert.deepStrictEqual(tiled.nodes["8"], { ...before.nodes["8"], class_type: "VAEDecodeTiled" })
  })

  it("adds what can be a node, under a free id, with sources that are there", () => {
    const before = textToImage()
    assert.strictEqual(Edit.freshId(before), "10")
    assert.deepStrictEqual(reasonOf(Edit.addNode(before, "3", node("A"))), { _tag: "NodeExists", nodeId: "3" })
    assert.deepStrictEqual(reasonOf(Edit.addNode(before, "10", node("A", { x: ["11", 0] }))), {
      _tag: "DanglingLink",
      nodeId: "10",
      inputName: "x",
      target: "11"
    })
    const added = get(Edit.addNode(before, "57:8", node("PreviewImage", { images: ["8", 0] })))
    assert.deepStrictEqual(get(Workflow.check(added)), added)
  })

  it("undoes an addition by a removal", () => {
    fc.assert(fc.property(workflow, json, (before, value) => {
      const id = Edit.freshId(before)
      const target = Object.keys(before.nodes)[0] ?? ""
      const added = get(Edit.addNode(before, id, node("A", { value: { wrapped: value }, link: [target, 0] })))
      assert.deepStrictEqual(get(Edit.removeNode(added, id)), before)
    }))
  })

  it("removes a node that feeds others only if told to drop the links", () => {
    const before = get(Aliases.set(textToImage(), "latent", "5"))
    assert.deepStrictEqual(reasonOf(Edit.removeNode(before, "5")), {
      _tag: "StillLinked",
      nodeId: "5",
      by: [{ nodeId: "3", inputName: "latent_image" }]
    })
    const after = get(Edit.removeNode(before, "5", { links: "drop" }))
    assert.notProperty(after.nodes["3"]?.inputs, "latent_image")
    assert.deepStrictEqual(after.aliases, {})
    assert.deepStrictEqual(get(Workflow.check(after)), after)
    assert.strictEqual(after.nodes["8"], before.nodes["8"])
  })

  it("renames with everything that names the node, and back", () => {
    fc.assert(fc.property(workflow, fc.nat(), (workflow, seed) => {
      const ids = Object.keys(workflow.nodes)
      const id = ids[seed % ids.length] ?? ""
      const before = get(Aliases.set(workflow, "out", id))
      const renamed = get(Edit.renameNodes(before, { [id]: "a:free:id" }))
      assert.deepStrictEqual(get(Workflow.check(renamed)), renamed)
      assert.strictEqual(get(Aliases.nodeId(renamed, "out")), "a:free:id")
      assert.notInclude(sorted(renamed), id)
      assert.deepStrictEqual(get(Edit.renameNodes(renamed, { "a:free:id": id })), before)
    }))
  })

  it("lets nodes change places, and refuses two nodes one id", () => {
    const before = textToImage()
    const swapped = get(Edit.renameNodes(before, { "6": "7", "7": "6" }))
    assert.deepStrictEqual(swapped.nodes["6"], before.nodes["7"])
    assert.deepStrictEqual(swapped.nodes["3"]?.inputs["positive"], ["7", 0])
    assert.deepStrictEqual(reasonOf(Edit.renameNodes(before, { "6": "7" })), { _tag: "NodeExists", nodeId: "7" })
    assert.deepStrictEqual(reasonOf(Edit.renameNodes(before, { "6": "x", "7": "x" })), {
      _tag: "NodeExists",
      nodeId: "x"
    })
    assert.deepStrictEqual(get(Edit.renameNodes(before, { "6": "6" })), before)
  })
})

describe("Aliases", () => {
  it("may look like anything, and ids stay whole (C15)", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.constantFrom("__proto__", "constructor", "9:images")), (alias) => {
      const before = Workflow.fromNodes({ "57:8": node("SaveImage") })
      assert.deepStrictEqual(reasonOf(Aliases.nodeId(before, alias)), { _tag: "AliasNotFound", alias })
      assert.deepStrictEqual(reasonOf(Aliases.remove(before, alias)), { _tag: "AliasNotFound", alias })
      const named = get(Aliases.set(before, alias, "57:8"))
      assert.strictEqual(get(Aliases.nodeId(named, alias)), "57:8")
      assert.deepStrictEqual(get(Aliases.remove(named, alias)), before)
    }))
    assert.isFalse("polluted" in {})
  })
})

describe("Seeds", () => {
  it("draws each seed of −1 from all of 64 bits, and tells", () => {
    const before = freeze(textToImage({ seed: -1 }))
    const { chosen, workflow } = Seeds.resolve(before, () => 1 - 2 ** -53)
    assert.deepStrictEqual(chosen, [{ nodeId: "3", inputName: "seed", value: 2n ** 64n - 1n }])
    assert.strictEqual(workflow.nodes["3"]?.inputs["seed"], 2n ** 64n - 1n)
    assert.strictEqual(Seeds.resolve(textToImage(), () => 0).chosen.length, 0)
  })
})
