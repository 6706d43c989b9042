import * as ObjectInfo from "@effect-comfyui/protocol/ObjectInfo"
import * as Json from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"

/** Reads a text in pieces of these sizes, again and again. */
const read = (text: string, sizes: ReadonlyArray<number>) => {
  const found: Record<string, unknown> = {}
  const reader = ObjectInfo.classReader((name, text) => {
    const info = ObjectInfo.NodeInfo.decodeText(text)
    if (Result.isFailure(info)) return info.failure
    found[name] = info.success
    return undefined
  })
  let goes = true
  for (let at = 0, turn = 0; at < text.length && goes; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    goes = reader.feed(text.slice(at, at + size))
    at += size
  }
  return { found, end: reader.end() }
}

const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 })
const name = fc.string({ unit: fc.constantFrom("a", "\"", "\\", "{", "}", "[", ",", ":", " ", "ü", "\n") })
const info = fc.record({ display_name: fc.jsonValue(), description: name, output: fc.array(name) })
const infos = fc.dictionary(name.filter((key) => key !== "__proto__"), info)

describe("object info in pieces", () => {
  it("is the same as whole, wherever it is cut, however it is spaced", () => {
    fc.assert(fc.property(infos, sizes, fc.constantFrom(undefined, 2), (all, cuts, space) => {
      const text = JSON.stringify(all, undefined, space)
      const { end, found } = read(text, cuts)
      assert.isTrue(Result.isSuccess(end))
      assert.deepStrictEqual<unknown>(found, Result.getOrThrow(Json.parse(text)))
    }))
  })

  it("that breaks off, goes on behind its end, or is no object fails, after the classes before", () => {
    fc.assert(fc.property(infos, sizes, fc.double({ min: 0, max: 0.999, noNaN: true }), (all, cuts, share) => {
      const text = JSON.stringify(all)
      assert.isTrue(Result.isFailure(read(text.slice(0, Math.floor(text.length * share)), cuts).end))
      for (const more of ["}", ",", "{}", "x"]) assert.isTrue(Result.isFailure(read(text + more, cuts).end))
    }))
    for (const text of ["", "[]", "null", "{\"a\":1,}", "{\"a\"}", "{a:{}}", "{\"a\":{}]", "<html>", "{\"a\": [}"]) {
      assert.isTrue(Result.isFailure(read(text, [3]).end), text)
    }
    const { end, found } = read("{\"a\": {\"output\": []}, \"b\": 7, \"c\": {}}", [4])
    assert.deepStrictEqual(Object.keys(found), ["a"])
    assert.deepStrictEqual(Result.isFailure(end) && end.failure.path, ["b"])
  })
})
