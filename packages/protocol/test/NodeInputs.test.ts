import * as NodeInputs from "@effect-comfyui/protocol/NodeInputs"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import type { Json, JsonObject } from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { json } from "./support/arbitrary.ts"

const info = (value: JsonObject): ObjectInfo.NodeInfo => Result.getOrThrow(ObjectInfo.NodeInfo.decode(value))

const required = (inputs: JsonObject, more: JsonObject = {}): ObjectInfo.NodeInfo =>
  info({ input: { required: inputs }, ...more })

const only = (spec: Json): NodeInputs.Input => {
  const [input] = NodeInputs.inputs(required({ x: spec }))
  if (input === undefined) throw new Error("no input")
  return input
}

describe("NodeInputs", () => {
  it("reads both forms of a combo, and what custom nodes make of a type", () => {
    const kinds: ReadonlyArray<readonly [Json, NodeInputs.InputKind]> = [
      [["INT", { min: 0, max: 18446744073709551615n }], { _tag: "Plain", types: ["INT"] }],
      ["INT", { _tag: "Plain", types: ["INT"] }],
      [["IMAGE,MASK", null], { _tag: "Plain", types: ["IMAGE", "MASK"] }],
      [["FLOAT", {}, "third"], { _tag: "Plain", types: ["FLOAT"] }],
      [["*"], { _tag: "Plain", types: ["*"] }],
      [[["a", 1, true]], { _tag: "Combo", options: ["a", 1, true], multiselect: false, remote: false }],
      [["COMBO", { options: ["a"], multiselect: true }], {
        _tag: "Combo",
        options: ["a"],
        multiselect: true,
        remote: false
      }],
      [["COMBO", { remote: { route: "/x" } }], { _tag: "Combo", options: [], multiselect: false, remote: true }],
      [["COMFY_MATCHTYPE_V3", { template: { template_id: "t", allowed_types: "IMAGE,MASK" } }], {
        _tag: "MatchType",
        template: "t",
        types: ["IMAGE", "MASK"]
      }],
      [null, { _tag: "Unknown" }],
      [[], { _tag: "Unknown" }],
      [{ type: "INT" }, { _tag: "Unknown" }]
    ]
    for (const [spec, kind] of kinds) assert.deepStrictEqual(only(spec).kind, kind)
  })

  it("orders inputs as the class does, though JavaScript sorts numeric names", () => {
    const node = required({ 2: ["INT"], 1: ["INT"], b: ["INT"] }, { input_order: { required: ["b", "2", "gone"] } })
    assert.deepStrictEqual(NodeInputs.inputs(node).map((input) => input.name), ["b", "2", "1"])
  })

  it("counts out the names of dynamic inputs", () => {
    const image = { required: { image: ["IMAGE", {}] } }
    const grown = (template: JsonObject) => NodeInputs.keys(only(["COMFY_AUTOGROW_V3", { template }]))
    assert.deepStrictEqual(grown({ input: image, prefix: "image", min: 1, max: 2 }), ["x.image0", "x.image1"])
    assert.deepStrictEqual(grown({ input: image, names: ["a", "b"], min: 0 }), ["x.a", "x.b"])
    assert.strictEqual(grown({ input: image, prefix: "image", max: 1e9 }).length, 100)
    assert.strictEqual(grown({ input: image, prefix: "image", max: Number.NaN }).length, 100)
    const combo = only(["COMFY_DYNAMICCOMBO_V3", {
      options: [
        { key: "one", inputs: { required: { width: ["INT"] } } },
        { key: "two", inputs: { required: { width: ["INT"] }, optional: { deep: ["COMFY_AUTOGROW_V3", {}] } } },
        { inputs: {} }
      ]
    }])
    assert.deepStrictEqual(NodeInputs.keys(combo), ["x", "x.width"])
    assert.deepStrictEqual(
      combo.kind._tag === "DynamicCombo" ? combo.kind.branches.map((branch) => branch.key) : [],
      ["one", "two"]
    )
    const slot = only(["COMFY_DYNAMICSLOT_V3", { slotType: "IMAGE", inputs: { required: { strength: ["FLOAT"] } } }])
    assert.deepStrictEqual(NodeInputs.keys(slot), ["x", "x.strength"])
  })

  it("has one signature for what a graph cannot tell apart, another for what it can", () => {
    const base = { a: ["INT", { default: 1, tooltip: "t" }], file: [["x.ckpt"]] }
    const outputs = { output: ["IMAGE"], output_node: false }
    const same = (inputs: JsonObject, more: JsonObject = outputs): boolean =>
      NodeInputs.signature(required(inputs, more)) === NodeInputs.signature(required(base, outputs))
    assert.isTrue(same({ a: ["INT", { default: 2 }], file: ["COMBO", { options: ["y.ckpt", "z.ckpt"] }] }))
    assert.isTrue(same(base, { ...outputs, display_name: "x", deprecated: null, is_input_list: false }))
    assert.isFalse(same({ a: ["FLOAT"], file: [[]] }))
    assert.isFalse(same({ b: ["INT"], file: [[]] }))
    assert.isFalse(same({ file: [[]], a: ["INT"] }))
    assert.isFalse(same({ ...base, more: ["INT"] }))
    assert.isFalse(same(base, { ...outputs, output: ["MASK"] }))
    assert.isFalse(same(base, { ...outputs, output: ["IMAGE", "MASK"] }))
    assert.isFalse(same(base, { ...outputs, output_node: true }))
  })

  it("guesses which combos are files", () => {
    const node = required({
      ckpt: [["a.safetensors", "b.ckpt"]],
      none: [[]],
      image: [["in.png"], { image_upload: true }],
      upload: ["COMBO", { options: [], file_upload: true }],
      out: ["COMBO", { remote: { route: "/internal/files/output" } }],
      voice: ["COMBO", { remote: { route: "/voices" } }],
      method: [["nearest", "area"]],
      seed: ["INT"]
    })
    assert.deepStrictEqual(NodeInputs.fileLists(node), [
      { name: "ckpt", options: ["a.safetensors", "b.ckpt"], upload: false },
      { name: "none", options: [], upload: false },
      { name: "image", options: ["in.png"], upload: true },
      { name: "upload", options: [], upload: true },
      { name: "out", options: [], upload: false }
    ])
  })

  it("reads outputs that do not fit together, and who is paid", () => {
    const node = info({
      output: ["IMAGE", ["a", "b"], 5],
      output_name: "IMAGE",
      output_is_list: [true],
      output_matchtypes: [null, "t"],
      api_node: true,
      output_node: null
    })
    assert.deepStrictEqual(ObjectInfo.outputs(node), [
      { name: "IMAGE", type: "IMAGE", isList: true, template: null },
      { name: "COMBO", type: "COMBO", isList: false, template: "t" },
      { name: "*", type: "*", isList: false, template: null }
    ])
    assert.isTrue(ObjectInfo.isPaid(node))
    assert.isFalse(ObjectInfo.isOutput(node))
    assert.deepStrictEqual(ObjectInfo.outputs(info({})), [])
    assert.isUndefined(ObjectInfo.find({}, "constructor"))
  })

  it("survives whatever a custom node declares", () => {
    const type = fc.oneof(
      json,
      fc.constantFrom(
        "COMBO",
        "COMFY_AUTOGROW_V3",
        "COMFY_DYNAMICCOMBO_V3",
        "COMFY_DYNAMICSLOT_V3",
        "COMFY_MATCHTYPE_V3"
      )
    )
    const options = fc.oneof(
      json,
      fc.record({ template: json, options: json, inputs: json, slotType: json, multi_select: json, remote: json }),
      fc.record({ template: fc.record({ input: json, prefix: json, names: json, min: json, max: json }) })
    )
    fc.assert(
      fc.property(type, options, (type, options) => {
        const node = required({ x: [type, options] })
        assert.isString(NodeInputs.signature(node))
        assert.isArray(NodeInputs.fileLists(node))
        assert.isAtMost(NodeInputs.inputs(node).flatMap(NodeInputs.keys).length, 200)
      })
    )
    let deep: Json = ["INT"]
    for (let i = 0; i < 5000; i++) deep = ["COMFY_DYNAMICSLOT_V3", { inputs: { required: { y: deep } } }]
    assert.isString(NodeInputs.signature(required({ x: deep })))
  })
})
