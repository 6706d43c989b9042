import * as Frame from "@effect-comfyui/protocol/Frame"
import * as Wire from "@effect-comfyui/protocol/Wire"
import * as Json from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { json } from "./support/arbitrary.ts"
import { canonical } from "./support/exact.ts"

const Task = Wire.make(
  "task",
  Schema.Struct({
    state: Wire.open("queued", "done"),
    seed: Wire.number,
    parts: Schema.Array(Schema.Struct({ name: Schema.String })),
    note: Wire.nullish(Schema.String)
  })
)

describe("Wire", () => {
  it("gives back the very value, unknown members, enum values and digits included", () => {
    const text = `{"state":"paused","seed":18446744073709551615,"parts":[{"name":"a","x":NaN}],"later":{"y":1e-320}}`
    const parsed = Json.parse(text)
    const decoded = Result.flatMap(parsed, Task.decode)
    assert.isTrue(Result.isSuccess(parsed) && Result.isSuccess(decoded) && decoded.success === parsed.success)
    assert.strictEqual(Result.isSuccess(decoded) ? Task.encode(decoded.success) : "", text)
  })

  it("says where, what it wanted and what it found, in 200 characters", () => {
    const problem = (text: string) => Result.getOrThrow(Result.flip(Task.decodeText(text)))
    assert.deepStrictEqual(problem(`{"state": "done", "seed": 1, "parts": [{"name": "a"}, {"name": 5}]}`), {
      path: ["parts", 1, "name"],
      expected: "Expected string",
      excerpt: "5"
    })
    const missing = problem(`{"state": "done", "parts": []}`)
    assert.deepStrictEqual(missing.path, ["seed"])
    assert.strictEqual(missing.excerpt, "")
    assert.deepInclude(problem("<html>"), { path: [], expected: "JSON", excerpt: "<html>" })
    assert.strictEqual(problem(`"${"x".repeat(1000)}"`).excerpt.length, 200)
  })

  it("takes null where null may stand for nothing, and no undefined member for one", () => {
    assert.isTrue(Task.is({ state: "done", seed: Number.NaN, parts: [], note: null }))
    assert.isFalse(Task.is({ state: "done", seed: 1, parts: [], note: 5 }))
  })

  it("decodes any JSON or says why not, and then writes it as it was", () => {
    const loose = Wire.make("loose", Schema.Struct({ type: Schema.optionalKey(Wire.json) }))
    fc.assert(
      fc.property(json, (value) => {
        const decoded = loose.decode(value)
        if (Result.isSuccess(decoded)) {
          assert.strictEqual(canonical(loose.encode(decoded.success)), canonical(Json.stringify(value)))
        } else assert.isAtMost(decoded.failure.excerpt.length, 200)
        assert.strictEqual(Result.isSuccess(decoded), Json.isObject(value))
      })
    )
  })
})

describe("Frame", () => {
  it("reads words big-endian and checks every bound", () => {
    fc.assert(
      fc.property(fc.nat(0xffffffff), fc.nat(3), (value, missing) => {
        const bytes = Frame.concat(value)
        assert.strictEqual(Frame.word(bytes, 0), value)
        assert.isUndefined(Frame.word(bytes, 1 + missing))
      })
    )
    assert.strictEqual(Frame.word(Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc), 0), 0xfffefdfc)
    const bytes = Frame.concat(2, Uint8Array.of(1, 2, 3))
    assert.deepStrictEqual(Frame.piece(bytes, 0), { bytes: Uint8Array.of(1, 2), end: 6 })
    assert.isUndefined(Frame.piece(bytes, 1))
    assert.isUndefined(Frame.piece(bytes, 99))
  })

  it("keeps a byte order mark, which is text too", () => {
    assert.strictEqual(Frame.text(Frame.utf8("\ufeffa")), "\ufeffa")
  })
})
