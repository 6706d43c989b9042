import type { Classes } from "@effect-comfyui/workflow/ClassInfo"
import * as Digest from "@effect-comfyui/workflow/Digest"
import * as Edit from "@effect-comfyui/workflow/Edit"
import type { Json } from "@effect-comfyui/workflow/Json"
import * as ModelInputs from "@effect-comfyui/workflow/ModelInputs"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as WorkflowKey from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import canonicalize from "canonicalize"
import * as fc from "fast-check"
import { createHash } from "node:crypto"
import { freeze, get, node, plainWorkflow, reasonOf, textToImage, workflow } from "./support/arbitrary.ts"

const content = (workflow: Workflow.Workflow) => get(WorkflowKey.content(workflow))
const affinity = (workflow: Workflow.Workflow) => get(WorkflowKey.affinity(workflow))
const sha256 = (text: string): string => createHash("sha256").update(text, "utf8").digest("hex")

/** The reference: RFC 8785 by another hand. */
const expected = ({ nodes }: Workflow.Workflow): string => {
  const projection = Object.fromEntries(
    Object.entries(nodes).map(([id, { class_type, inputs }]) => [id, { class_type, inputs }])
  )
  return `c1:${sha256(canonicalize(projection) ?? "")}`
}

const reversed = <A>(record: Readonly<Record<string, A>>): Readonly<Record<string, A>> =>
  Object.fromEntries(Object.entries(record).toReversed())

const withInput = (value: Json): Workflow.Workflow =>
  Workflow.fromNodes({ "57:8": node("A", { list: { v: [1, value] } }) })

describe("content", () => {
  it("is SHA-256 of the RFC 8785 text", () => {
    fc.assert(fc.property(plainWorkflow, (workflow) => {
      assert.strictEqual(content(freeze(workflow)), expected(workflow))
    }))
    assert.strictEqual(content(Workflow.fromNodes({})), `c1:${sha256("{}")}`)
    assert.strictEqual(
      content(Workflow.fromNodes({ a: node("A") })),
      `c1:${sha256("{\"a\":{\"class_type\":\"A\",\"inputs\":{}}}")}`
    )
    assert.match(content(textToImage()), /^c1:[0-9a-f]{64}$/)
  })

  it("whatever was hashed before: other inputs of the class, huge texts, many nodes and inputs, deep lists", () => {
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`in${index}`, index * 1.5]))
    const deep = Array.from({ length: 900 }).reduce<Json>((inner) => [inner], "x")
    for (const inputs of [{ b: 1 }, { a: 1, b: 2 }, { b: 2, a: 1 }, {}, many, { deep, after: "y" }]) {
      assert.strictEqual(
        content(Workflow.fromNodes({ "1": node("Same", inputs) })),
        expected(Workflow.fromNodes({ "1": node("Same", inputs) }))
      )
    }
    for (const text of ["x", "\"", "é", "漢\n", "🎨\\"].map((piece) => piece.repeat(70_000))) {
      assert.strictEqual(content(textToImage({ text })), expected(textToImage({ text })))
    }
    const long = node("L".repeat(5_000), { ["k".repeat(5_000)]: 1 })
    assert.strictEqual(content(Workflow.fromNodes({ "1": long })), expected(Workflow.fromNodes({ "1": long })))
    const classes = Workflow.fromNodes(
      Object.fromEntries(Array.from({ length: 1_200 }, (_, index) => [String(index), node(`Class${index}`, { index })]))
    )
    assert.strictEqual(content(classes), expected(classes))
    assert.strictEqual(content(classes), expected(classes))
  })

  it("ignores the order of keys and whatever is neither class nor input", () => {
    fc.assert(fc.property(workflow, (workflow) => {
      const other = Object.fromEntries(
        Object.entries(reversed(workflow.nodes)).map(([id, { class_type, inputs }]) => [
          id,
          { _meta: { title: "x", odd: Number.NaN }, inputs: reversed(inputs), class_type, is_changed: [1] }
        ])
      )
      assert.strictEqual(content(Workflow.fromNodes(other)), content(workflow))
    }))
  })

  it("tells seeds beyond 2^53 apart, and takes 8 and 8.0 for one number", () => {
    const of = (seed: string) => content(get(Workflow.fromJson(`{"1":{"class_type":"A","inputs":{"seed":${seed}}}}`)))
    assert.notStrictEqual(of("18446744073709551615"), of("18446744073709551614"))
    assert.notStrictEqual(of("9007199254740992"), of("9007199254740993"))
    assert.strictEqual(
      of("18446744073709551615"),
      `c1:${sha256("{\"1\":{\"class_type\":\"A\",\"inputs\":{\"seed\":18446744073709551615}}}")}`
    )
    assert.strictEqual(of("8.0"), of("8"))
    assert.strictEqual(of("-0.0"), of("0"))
  })

  it("tells ids, classes and values apart", () => {
    const keys = [
      textToImage(),
      textToImage({ seed: 2 }),
      textToImage({ seed: "1" }),
      textToImage({ text: "a lighthouse " }),
      get(Edit.renameNodes(textToImage(), { "9": "10" })),
      get(Edit.replaceClass(textToImage(), "9", "PreviewImage"))
    ].map(content)
    assert.strictEqual(new Set(keys).size, keys.length)
  })

  it("says where a value has no canonical text", () => {
    for (const value of [Number.NaN, Infinity, -Infinity, "\ud800", "a\udc00b"]) {
      assert.deepStrictEqual(reasonOf(WorkflowKey.content(withInput(value))), {
        _tag: "NotHashable",
        path: ["57:8", "inputs", "list", "v", 1]
      })
    }
    const name = "\ud800"
    assert.deepStrictEqual(reasonOf(WorkflowKey.content(Workflow.fromNodes({ "1": node("A", { [name]: 1 }) }))), {
      _tag: "NotHashable",
      path: ["1", "inputs", name]
    })
    assert.deepInclude(reasonOf(WorkflowKey.content(Workflow.fromNodes({ "1": node(name) }))), {
      path: ["1", "class_type"]
    })
    assert.deepInclude(reasonOf(WorkflowKey.content(Workflow.fromNodes({ [name]: node("A") }))), { path: [name] })
  })

  it("counts depth instead of failing by it", () => {
    const deep = Array.from({ length: 10_000 }).reduce<Json>((inner) => [inner], 1)
    assert.deepInclude(reasonOf(WorkflowKey.content(withInput(deep))), { _tag: "NotHashable" })
  })

  it("hashes pieces as it hashes the whole", () => {
    const hash = Digest.hasher()
    for (const piece of ["a", "bc"]) hash.update(new TextEncoder().encode(piece))
    assert.strictEqual(hash.digest(), Digest.sha256("abc"))
    assert.strictEqual(Digest.sha256("é"), sha256("é"))
  })
})

const loader = (name: string) => node("CheckpointLoaderSimple", { ckpt_name: name })

describe("affinity", () => {
  it("ignores ids, the order of keys, seeds, texts and sizes", () => {
    fc.assert(fc.property(fc.bigInt(), fc.string(), fc.nat(), (seed, text, width) => {
      assert.strictEqual(affinity(textToImage({ seed, text: `${text}.pt`, width })), affinity(textToImage()))
    }))
    assert.match(affinity(textToImage()), /^a1:[0-9a-f]{64}$/)
    fc.assert(fc.property(workflow, (workflow) => {
      const ids = Object.keys(workflow.nodes)
      const renamed = get(
        Edit.renameNodes(workflow, Object.fromEntries(ids.map((id, at) => [id, `new:${ids.length - at}`])))
      )
      const other = Object.fromEntries(
        Object.entries(reversed(renamed.nodes)).map(([id, node]) => [id, { ...node, inputs: reversed(node.inputs) }])
      )
      assert.strictEqual(affinity(Workflow.fromNodes(freeze(other))), affinity(workflow))
    }))
  })

  it("changes with a model, a setting of its loader, a class and a link (B03)", () => {
    const usual = textToImage()
    const flux = Workflow.fromNodes({
      "1": node("UNETLoader", { unet_name: "flux.safetensors", weight_dtype: "default" }),
      "2": node("DualCLIPLoader", { clip_name1: "t5.safetensors", clip_name2: "clip.safetensors", type: "flux" })
    })
    const others = [
      usual,
      textToImage({ checkpoint: "other.safetensors" }),
      get(Edit.replaceClass(usual, "8", "VAEDecodeTiled")),
      get(Edit.connect(usual, ["6", 0], "3", "negative")),
      get(Edit.connect(usual, ["4", 1], "3", "model")),
      get(Edit.removeInput(usual, "3", "latent_image")),
      get(Edit.removeNode(usual, "9")),
      flux,
      get(Edit.setInput(flux, "1", "weight_dtype", "fp8_e4m3fn")),
      get(Edit.setInput(flux, "2", "type", "sdxl")),
      get(Edit.setInputs(flux, { "2": { clip_name1: "clip.safetensors", clip_name2: "t5.safetensors" } }))
    ]
    assert.strictEqual(new Set(others.map(affinity)).size, others.length)
  })

  it("tells a shared loader from copies of it, and who shares which", () => {
    const graph = (...loaders: readonly [string, string, string, string]) =>
      Workflow.fromNodes({
        a: loader("x.safetensors"),
        b: loader("x.safetensors"),
        c: node("Left", { model: [loaders[0], 0] }),
        d: node("Right", { model: [loaders[1], 0] }),
        e: node("Up", { model: [loaders[2], 0] }),
        f: node("Down", { model: [loaders[3], 0] })
      })
    const keys = [graph("a", "a", "b", "b"), graph("a", "b", "a", "b"), graph("a", "a", "a", "a")].map(affinity)
    assert.strictEqual(new Set(keys).size, 3)
    assert.strictEqual(affinity(graph("b", "b", "a", "a")), keys[0])
    const shared = Workflow.fromNodes({ a: loader("x"), c: node("A", { m: ["a", 0] }), d: node("A", { m: ["a", 0] }) })
    const copied = Workflow.fromNodes({
      a: loader("x"),
      b: loader("x"),
      c: node("A", { m: ["a", 0] }),
      d: node("A", { m: ["b", 0] })
    })
    assert.notStrictEqual(affinity(shared), affinity(copied))
  })

  it("tells any two links apart that lead to different classes", () => {
    fc.assert(fc.property(workflow, fc.nat({ max: 3 }), (workflow, slot) => {
      const id = Edit.freshId(workflow)
      const target = Object.keys(workflow.nodes)[0] ?? ""
      const one = get(Edit.addNode(workflow, id, node("New", { a: [target, slot] })))
      const other = get(Edit.addNode(workflow, id, node("New", { a: [target, slot + 1] })))
      assert.notStrictEqual(affinity(one), affinity(other))
      assert.notStrictEqual(affinity(one), affinity(workflow))
    }))
  })

  it("reads true as slot 1, as Python does", () => {
    const of = (slot: Json) => affinity(Workflow.fromNodes({ a: node("A"), b: node("B", { x: ["a", slot] }) }))
    assert.strictEqual(of(true), of(1))
    assert.strictEqual(of(0n), of(0))
    assert.notStrictEqual(of(true), of(0))
  })

  it("is typed where the graph is none", () => {
    const circle = Workflow.fromNodes({ a: node("A", { x: ["b", 0] }), b: node("B", { y: ["a", 0] }), c: node("C") })
    assert.deepStrictEqual(reasonOf(WorkflowKey.affinity(circle)), {
      _tag: "Cycle",
      nodeIds: ["a", "b", "a"],
      inputName: "x"
    })
    assert.deepStrictEqual(
      reasonOf(WorkflowKey.affinity(Workflow.fromNodes({ a: node("A", { x: ["toString", 0] }) }))),
      {
        _tag: "DanglingLink",
        nodeId: "a",
        inputName: "x",
        target: "toString"
      }
    )
  })

  it("labels chains of any length, from either end", () => {
    const chain = (at: number) =>
      Workflow.fromNodes(Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [
        String(index),
        node(index === at ? "Other" : "Step", index === 0 ? {} : { input: [String(index - 1), 0] })
      ])))
    assert.strictEqual(new Set([chain(-1), chain(0), chain(5_000), chain(9_999)].map(affinity)).size, 4)
    assert.match(content(chain(-1)), /^c1:/)
  })
})

describe("models", () => {
  it("are named by a table for ComfyUI's own loaders, without what is built in", () => {
    const workflow = Workflow.fromNodes({
      "1": loader("b.safetensors"),
      "2": node("VAELoader", { vae_name: "taesd" }),
      "3": node("DiffusersLoader", { model_path: "folder/without-extension" }),
      "4": node("LoraLoader", { lora_name: "a.safetensors", strength_model: 1, model: ["1", 0] }),
      "5": loader("b.safetensors"),
      "6": node("CLIPTextEncode", { text: "a jar labelled model.bin", clip: ["1", 1] })
    })
    assert.deepStrictEqual(WorkflowKey.models(workflow), ["a.safetensors", "b.safetensors", "folder/without-extension"])
  })

  it("of other classes by extension, inside of objects and lists too", () => {
    const workflow = Workflow.fromNodes({
      "1": node("Power Lora Loader", { lora_1: { on: true, lora: "x.safetensors", strength: 1 }, lora_2: null }),
      "2": node("Many", { files: { __value__: ["y.GGUF", "z.png", 3] }, link: ["1", 0], name: "w.onnx" }),
      "3": node("constructor", { name: "v.pt\nsecond line", other: "plain" })
    })
    assert.deepStrictEqual(WorkflowKey.models(workflow), ["w.onnx", "x.safetensors", "y.GGUF"])
  })

  it("of other classes by their options, where those are known", () => {
    const classes: Classes = (classType) =>
      classType === "Custom"
        ? {
          inputs: [
            { name: "model", type: "COMBO", widget: true, options: ["None", "a.safetensors", "folder/b"] },
            { name: "mode", type: "COMBO", widget: true, options: ["fast", "slow"] }
          ],
          outputs: ["MODEL"]
        }
        : undefined
    const of = (model: string) => Workflow.fromNodes({ "1": node("Custom", { model, mode: "fast" }) })
    assert.deepStrictEqual(WorkflowKey.models(of("folder/b"), classes), ["folder/b"])
    assert.deepStrictEqual(WorkflowKey.models(of("folder/b")), [])
    assert.deepStrictEqual(WorkflowKey.models(of("None"), classes), [])
  })

  it("never fails, whatever the values are", () => {
    fc.assert(fc.property(workflow, (workflow) => {
      const models = WorkflowKey.models(workflow)
      assert.deepStrictEqual(models, [...new Set(models)].toSorted())
    }))
    assert.isFalse(ModelInputs.namesModel("toString", "constructor", "x"))
  })
})
