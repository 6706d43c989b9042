import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { bigIntegers, canonical, equal, membersOf } from "./Exact.ts"

describe("equality of JSON", () => {
  it("takes numbers by their value", () => {
    const same = [
      ["1", "1.0"],
      ["1e2", "100"],
      ["0.1", "1e-1"],
      ["0.30000000000000004", "0.3000000000000000444"],
      ["18446744073709551615", "18446744073709551615"],
      ["NaN", "NaN"],
      ["1e400", "Infinity"]
    ] as const
    for (const [a, b] of same) assert.isTrue(equal(a, b), `${a} ${b}`)
    const other = [
      ["18446744073709551615", "18446744073709551616"],
      ["9007199254740992", "9007199254740993"],
      ["0.1", "0.10000000000000002"],
      ["Infinity", "-Infinity"],
      ["NaN", "null"],
      ["1", "\"1\""],
      ["0", "false"]
    ] as const
    for (const [a, b] of other) assert.isFalse(equal(a, b), `${a} ${b}`)
  })

  it("ignores spaces, the order of keys and escapes, and lets the last of two keys win", () => {
    assert.isTrue(equal("{\"a\": [1, {\"b\": null}], \"c\": \"\\u00e4\"}", "{\"c\":\"ä\",\"a\":[1.0,{\"b\":null}]}"))
    assert.isTrue(equal("{\"a\":1,\"a\":2}", "{\"a\":2}"))
    assert.isFalse(equal("{\"a\":1,\"a\":2}", "{\"a\":1}"))
  })

  it("sees a member that is missing, null or in another place", () => {
    assert.isFalse(equal("{\"a\":null}", "{}"))
    assert.isFalse(equal("[1,2]", "[2,1]"))
    assert.isFalse(equal("{\"__proto__\":1}", "{}"))
    assert.isFalse(equal("[]", "{}"))
  })

  it("is not equal to anything where one of both is no JSON", () => {
    for (const text of ["", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "nul", "1 2", "01", "\"\u0001\"", "{a:1}"]) {
      assert.isUndefined(canonical(text), text)
      assert.isFalse(equal(text, text))
    }
  })

  it("agrees with JSON.parse on whatever JSON.stringify writes", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      assert.isTrue(equal(text, JSON.stringify(JSON.parse(text), null, 2)))
      assert.isFalse(equal(text, `[${text}]`))
    }))
  })

  it("gives the members of an object as they were written", () => {
    const members = membersOf("{ \"a\" : [1.0, {\"x\": 2}] , \"b\":18446744073709551615 }")
    assert.strictEqual(members?.get("a"), "[1.0, {\"x\": 2}]")
    assert.strictEqual(members?.get("b"), "18446744073709551615")
    assert.isUndefined(membersOf("[1]"))
  })

  it("finds the integers that a double loses", () => {
    assert.deepStrictEqual(
      bigIntegers("{\"a\":18446744073709551615,\"b\":9007199254740991,\"c\":\"18446744073709551615\",\"d\":1e30}"),
      ["18446744073709551615"]
    )
  })
})
