import * as Json from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { get, json, node, reasonOf, workflow } from "./support/arbitrary.ts"

const refuse = (text: string) => reasonOf(Workflow.fromJson(text))
const chain = (length: number): Workflow.Nodes =>
  Object.fromEntries(Array.from({ length }, (_, index) => [
    String(index),
    node("Step", index === 0 ? {} : { input: [String(index - 1), 0] })
  ]))

describe("bad workflows are typed errors that say where", () => {
  it("the editor's format", () => {
    assert.deepStrictEqual(refuse("{\"last_node_id\":3,\"nodes\":[],\"links\":[],\"version\":0.4}"), {
      _tag: "UiFormat"
    })
    assert.deepStrictEqual(refuse("{\"last_node_id\":3,\"links\":[]}"), { _tag: "UiFormat" })
  })

  it("no object of nodes, or one without any", () => {
    assert.deepStrictEqual(refuse("[]"), { _tag: "NotAWorkflow", found: "an array" })
    assert.deepStrictEqual(refuse("null"), { _tag: "NotAWorkflow", found: "null" })
    assert.deepStrictEqual(refuse("\"x\""), { _tag: "NotAWorkflow", found: "string" })
    assert.deepStrictEqual(refuse("{}"), { _tag: "Empty" })
  })

  it("a node that is none", () => {
    assert.deepStrictEqual(refuse("{\"4\":{\"inputs\":{}}}"), { _tag: "MissingClassType", nodeId: "4" })
    assert.deepStrictEqual(refuse("{\"4\":{\"class_type\":null,\"inputs\":{}}}"), {
      _tag: "MissingClassType",
      nodeId: "4"
    })
    assert.deepInclude(refuse("{\"4\":5}"), { _tag: "InvalidNode", nodeId: "4" })
    assert.deepInclude(refuse("{\"4\":{\"class_type\":5,\"inputs\":{}}}"), { _tag: "InvalidNode", nodeId: "4" })
    assert.deepInclude(refuse("{\"4\":{\"class_type\":\"A\"}}"), { _tag: "InvalidNode", nodeId: "4" })
    assert.deepInclude(refuse("{\"4\":{\"class_type\":\"A\",\"inputs\":[]}}"), { _tag: "InvalidNode", nodeId: "4" })
    assert.deepInclude(refuse("{\"4\":{\"class_type\":\"A\",\"inputs\":{},\"_meta\":1}}"), { _tag: "InvalidNode" })
  })

  it("a link to a missing node, whatever Python counts as its slot", () => {
    for (const slot of ["0", "true", "0.5", "18446744073709551615", "NaN"]) {
      assert.deepStrictEqual(refuse(`{"57:8":{"class_type":"A","inputs":{"odd":["99",${slot}]}}}`), {
        _tag: "DanglingLink",
        nodeId: "57:8",
        inputName: "odd",
        target: "99"
      })
    }
    assert.isTrue(
      Result.isSuccess(Workflow.fromJson("{\"1\":{\"class_type\":\"A\",\"inputs\":{\"a\":[\"99\",\"0\"]}}}"))
    )
  })

  it("a circle, in the order of its links", () => {
    const text = "{\"1\":{\"class_type\":\"A\",\"inputs\":{\"x\":[\"2\",0]}},\"2\":{\"class_type\":\"A\",\"inputs\":" +
      "{\"y\":[\"3\",0]}},\"3\":{\"class_type\":\"A\",\"inputs\":{\"z\":[\"2\",true]}}}"
    assert.deepStrictEqual(refuse(text), { _tag: "Cycle", nodeIds: ["2", "3", "2"], inputName: "y" })
    const itself = reasonOf(Workflow.check(Workflow.fromNodes({ a: node("A", { x: ["a", 0] }) })))
    assert.deepStrictEqual(itself, { _tag: "Cycle", nodeIds: ["a", "a"], inputName: "x" })
  })

  it("names that reach prototypes", () => {
    for (const name of ["__proto__", "constructor", "prototype"]) {
      assert.deepStrictEqual(refuse(`{"${name}":{"class_type":"A","inputs":{}}}`), {
        _tag: "ForbiddenName",
        nodeId: name,
        inputName: null
      })
      assert.deepStrictEqual(refuse(`{"1":{"class_type":"A","inputs":{"${name}":{"polluted":1}}}}`), {
        _tag: "ForbiddenName",
        nodeId: "1",
        inputName: name
      })
    }
    assert.isFalse("polluted" in {})
  })

  it("too much text, too much depth, duplicate keys", () => {
    assert.deepInclude(refuse(" ".repeat(100_000_000)), { _tag: "TooLarge", length: 100_000_000 })
    const deep = "[".repeat(10_000) + "]".repeat(10_000)
    assert.deepStrictEqual(refuse(`{"1":{"class_type":"A","inputs":{"a":${deep}}}}`), { _tag: "TooDeep", limit: 200 })
    assert.deepStrictEqual(refuse("{\"1\":{\"class_type\":\"A\",\"inputs\":{\"seed\":1,\"seed\":2}}}"), {
      _tag: "DuplicateKey",
      path: ["1", "inputs", "seed"]
    })
    assert.deepInclude(refuse("{\"1\": <html>"), { _tag: "Syntax", offset: 6 })
  })

  it("any JSON, and any text, without throwing", () => {
    fc.assert(fc.property(fc.oneof(json.map(Json.stringify), fc.string()), (text) => {
      const result = Workflow.fromJson(text)
      assert.isTrue(Result.isSuccess(result) || result.failure.message.length > 0)
    }))
    fc.assert(fc.property(json, json, (inputs, meta) => {
      const result = Workflow.fromDocument({ "1": { class_type: "A", inputs, _meta: meta } })
      assert.isTrue(Json.isObject(inputs) || Result.isFailure(result))
    }))
  })

  it("and the errors survive JSON", () => {
    const codec = Schema.toCodecJson(WorkflowError)
    const error = new WorkflowError({ reason: { _tag: "NotHashable", path: ["1", "inputs", 0] } })
    const back = Schema.decodeUnknownSync(codec)(JSON.parse(JSON.stringify(Schema.encodeSync(codec)(error))))
    assert.deepStrictEqual(back.reason, error.reason)
    assert.strictEqual(back.message, "no canonical text for 1 / inputs / 0")
  })
})

describe("Workflow", () => {
  it("keeps every member and digit of what it read", () => {
    const text = "{\"57:8\":{\"inputs\":{\"seed\":18446744073709551615,\"cfg\":8.0,\"w\":{\"__value__\":[\"a\",1]}}," +
      "\"class_type\":\"KSampler\",\"_meta\":{\"title\":\"é\"},\"is_changed\":[NaN]}}"
    assert.strictEqual(Workflow.toJson(get(Workflow.fromJson(text))), text)
  })

  it("is read as what was written", () => {
    fc.assert(fc.property(workflow, (workflow) => {
      assert.deepStrictEqual(get(Workflow.fromJson(Workflow.toJson(workflow))), workflow)
    }))
    const codec = Schema.decodeUnknownSync(Workflow.FromJson)
    assert.strictEqual(
      Schema.encodeSync(Workflow.FromJson)(codec("{\"1\":{\"class_type\":\"A\",\"inputs\":{}}}")),
      "{\"1\":{\"class_type\":\"A\",\"inputs\":{}}}"
    )
    assert.throws(() => codec("[]"), /object of nodes/)
  })

  it("checks chains of any length", () => {
    assert.isTrue(Result.isSuccess(Workflow.check(Workflow.fromNodes(chain(10_000)))))
    const circle = { ...chain(10_000), "0": node("Step", { input: ["9999", 0] }) }
    assert.deepInclude(reasonOf(Workflow.check(Workflow.fromNodes(circle))), { _tag: "Cycle" })
  })

  it("finds no node by an inherited name", () => {
    assert.isUndefined(Workflow.node(Workflow.fromNodes({}), "toString"))
    assert.isUndefined(Workflow.cycle({ "1": node("A", { x: ["toString", 0] }) }))
  })
})
