import * as NodeClasses from "@effect-comfyui/protocol/NodeClasses"
import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import * as Bypass from "@effect-comfyui/workflow/Bypass"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"

const info = Result.getOrThrow(ObjectInfo.ObjectInfo.decodeText(JSON.stringify({
  Sampler: {
    input: {
      required: {
        model: ["MODEL"],
        seed: ["INT", { default: 0 }],
        linked: ["INT", { forceInput: true }],
        name: [["euler", "heun"]],
        either: ["INT,FLOAT"],
        any: ["*"]
      },
      optional: {
        images: ["COMFY_AUTOGROW_V3", {
          template: { input: { required: { image: ["IMAGE"] } }, names: ["a", "b"], min: 1 }
        }],
        mode: ["COMFY_DYNAMICCOMBO_V3", {
          options: [
            { key: "one", inputs: { required: { width: ["INT"] } } },
            { key: "two", inputs: { required: { width: ["INT"], mask: ["MASK"] } } }
          ]
        }],
        same: ["COMFY_MATCHTYPE_V3", { template: { template_id: "T", allowed_types: "IMAGE,MASK" } }]
      }
    },
    output: ["LATENT", ["euler", "heun"]]
  },
  Through: { input: { required: { image: ["IMAGE"] } }, output: ["IMAGE"] }
})))

describe("NodeClasses", () => {
  it("lists inputs in order, dynamic ones by every name, and says which are fields", () => {
    const found = NodeClasses.fromObjectInfo(info)("Sampler")
    assert.deepStrictEqual(found?.inputs.map(({ name, type, widget }) => [name, type, widget]), [
      ["model", "MODEL", false],
      ["seed", "INT", true],
      ["linked", "INT", false],
      ["name", "COMBO", true],
      ["either", "INT,FLOAT", false],
      ["any", "*", false],
      ["images.a", "IMAGE", false],
      ["images.b", "IMAGE", false],
      ["mode", "COMBO", true],
      ["mode.width", "INT", true],
      ["mode.mask", "MASK", false],
      ["same", "IMAGE,MASK", false]
    ])
    assert.deepStrictEqual(found?.outputs, ["LATENT", "COMBO"])
    assert.deepStrictEqual(found?.inputs[3]?.options, ["euler", "heun"])
  })

  it("knows nothing of other classes, nor of what every object has", () => {
    const classes = NodeClasses.fromObjectInfo(info)
    assert.isUndefined(classes("Nowhere"))
    assert.isUndefined(classes("constructor"))
  })

  it("is what a bypass needs", () => {
    const workflow = Workflow.fromNodes({
      "1": { class_type: "Source", inputs: {} },
      "2": { class_type: "Through", inputs: { image: ["1", 0] } },
      "3": { class_type: "Sink", inputs: { images: ["2", 0] } }
    })
    const bypassed = Result.getOrThrow(Bypass.bypass(workflow, ["2"], NodeClasses.fromObjectInfo(info)))
    assert.deepStrictEqual(bypassed.nodes["3"]?.inputs["images"], ["1", 0])
  })
})
