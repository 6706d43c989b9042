import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import { canonical } from "./support/exact.ts"
import { replay } from "./support/replay.ts"

const folder = (version: string): string => join(import.meta.dirname, "fixtures", version)

describe("recordings", () => {
  it("lose no member and no digit, and every answer of a known endpoint decodes", () => {
    const report = replay(["0.3.64", "0.27.0", "0.33.0"].map(folder))
    assert.deepStrictEqual(report.problems, [])
    const { answers, files, frames, unknown } = report
    assert.deepStrictEqual({ files, frames, answers, unknown }, { files: 20, frames: 485, answers: 263, unknown: 17 })
  })

  it("hold what they should: previews, texts, extensions, and frames that JSON.parse refuses", () => {
    const { seen } = replay([folder("0.33.0")])
    for (
      const key of ["Preview", "ProgressText", "UnknownBinary", "Extension", "Malformed", "Executed", "ExecutionError"]
    ) {
      assert.isAbove(seen.get(`in ${key}`) ?? 0, 0, key)
    }
    assert.isAbove(seen.get("submit 500 raw") ?? 0, 0)
    assert.isAbove(seen.get("submit 400 json") ?? 0, 0)
    assert.isAbove(seen.get("assets 400 json") ?? 0, 0)
  })

  it("are compared exactly", () => {
    assert.strictEqual(canonical(`{"a": 1, "b": [NaN, 1.0]}`), canonical(`{"b":[NaN,1],"a":0,"a":1}`))
    for (
      const [a, b] of [
        ["18446744073709551615", "18446744073709551616"],
        ["NaN", "null"],
        ["Infinity", "-Infinity"],
        ["0.1", "0.10000000000000002"],
        [`{"a": 1}`, `{"a": 1, "b": null}`],
        ["[1, 2]", "[2, 1]"],
        [`"1"`, "1"]
      ] as const
    ) {
      assert.notStrictEqual(canonical(a), canonical(b))
    }
    assert.isUndefined(canonical(`{"a": }`))
    assert.isUndefined(canonical("[1] 2"))
  })
})
