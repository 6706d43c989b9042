import * as Json from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { get, json } from "./support/arbitrary.ts"

const limits = { maxLength: 1_000_000, maxDepth: 200 }
const readBoth = (text: string) => [Json.parse(text), Json.parseDocument(text, limits)] as const

describe("Json", () => {
  it("keeps integers up to 2^64 − 1 and beyond, and plain numbers where they are exact", () => {
    for (const text of ["9007199254740993", "18446744073709551615", "-9007199254740993", `1${"0".repeat(40)}`]) {
      for (const value of readBoth(`{"seed":${text}}`)) {
        assert.deepStrictEqual(get(value), { seed: BigInt(text) })
        assert.strictEqual(Json.stringify(get(value)), `{"seed":${text}}`)
      }
    }
    assert.deepStrictEqual(get(Json.parse("[9007199254740991,-9007199254740991]")), [
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER
    ])
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (seed) => {
      assert.strictEqual(Json.stringify(get(Json.parse(`[${seed}]`))), `[${seed}]`)
    }))
  })

  it("writes a document's floats as they were, unless they were changed", () => {
    const text = "{\"a\":8.0,\"b\":1e3,\"c\":[-0.0,0.1],\"d\":1E400}"
    const value = get(Json.parseDocument(text, limits))
    assert.strictEqual(Json.stringify(value), text)
    assert.isTrue(Json.isObject(value) && Json.get(value, "a") === 8)
  })

  it("takes the bare NaN and infinities of a server", () => {
    const text = "[NaN,Infinity,-Infinity,1]"
    for (const value of readBoth(text)) {
      assert.deepStrictEqual(get(value), [Number.NaN, Infinity, -Infinity, 1])
      assert.strictEqual(Json.stringify(get(value)), text)
    }
  })

  it("reads what it wrote as the same value", () => {
    fc.assert(fc.property(json, (value) => {
      for (const read of readBoth(Json.stringify(value))) assert.deepStrictEqual(get(read), value)
    }))
  })

  it("agrees with JSON.parse on every text, but for the digits that that loses", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.nat({ max: 4 }), (value, indent) => {
      const text = JSON.stringify(value, null, indent)
      for (const read of readBoth(text)) assert.deepStrictEqual(JSON.parse(Json.stringify(get(read))), JSON.parse(text))
    }))
  })

  it("says where any other text stops being JSON, and throws at none", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json().map((text) => text.slice(0, -1))), (text) => {
        for (const value of readBoth(text)) {
          if (Result.isSuccess(value)) continue
          assert.strictEqual(value.failure._tag, "Syntax")
          if (value.failure._tag === "Syntax") assert.isAtMost(value.failure.offset, text.length)
        }
      })
    )
    for (const text of ["", "{", "[1,]", "{\"a\" 1}", "\"\\x\"", "\"\u0001\"", "01", "+1", "nul", "[1] x", "\"open"]) {
      for (const value of readBoth(text)) assert.isTrue(Result.isFailure(value), text)
    }
  })

  it("refuses a document's duplicate keys with their path, where a server's last one wins", () => {
    const text = "{\"a\":[0,{\"b\":1,\"b\":2}]}"
    const problem = Result.getOrThrow(Result.flip(Json.parseDocument(text, limits)))
    assert.deepStrictEqual(problem, { _tag: "DuplicateKey", path: ["a", 1, "b"] })
    assert.deepStrictEqual(get(Json.parse(text)), { a: [0, { b: 2 }] })
  })

  it("reaches no prototype, whatever the keys are", () => {
    const text = "{\"__proto__\":{\"polluted\":18446744073709551615},\"constructor\":{\"prototype\":1}}"
    for (const value of readBoth(text)) {
      assert.isTrue(Object.hasOwn(Object(get(value)), "__proto__"))
      assert.strictEqual(Json.stringify(get(value)), text)
    }
    assert.isFalse("polluted" in {})
    assert.isUndefined(Json.get({}, "toString"))
  })

  it("counts depth and length instead of failing by them", () => {
    const deep = "[".repeat(10_000) + "]".repeat(10_000)
    assert.isTrue(Result.isSuccess(Json.parse(deep)))
    const problem = (text: string) => Result.getOrThrow(Result.flip(Json.parseDocument(text, limits)))
    assert.deepStrictEqual(problem(deep), { _tag: "TooDeep", limit: 200 })
    assert.deepStrictEqual(problem("x".repeat(1_000_001)), { _tag: "TooLarge", length: 1_000_001, limit: 1_000_000 })
  })

  it("travels as text", () => {
    const codec = Schema.decodeUnknownSync(Json.JsonFromText)
    assert.deepStrictEqual(codec("[18446744073709551615]"), [18446744073709551615n])
    assert.throws(() => codec("{"))
    assert.strictEqual(Schema.encodeSync(Json.JsonFromText)([1n, Number.NaN]), "[1,NaN]")
  })
})
