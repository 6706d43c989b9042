import * as Version from "@effect-comfyui/protocol/Version"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"

const traits = (text: string) => Version.traits(Version.parse(text))

describe("Version", () => {
  it("reads releases and git describe texts, nothing else", () => {
    for (
      const [text, expected] of [
        ["0.33.0", "0.33.0"],
        ["v0.3.10-12-gabc1234", "0.3.10"],
        [" 0.45 ", "0.45.0"],
        ["1.2.3-rc.1", "1.2.3"],
        ["unknown", undefined],
        ["", undefined],
        ["abc1234", undefined],
        ["0.3.4.5", undefined],
        [null, undefined]
      ] as const
    ) {
      const version = Version.parse(text)
      assert.strictEqual(version === undefined ? undefined : Version.format(version), expected)
    }
  })

  it("compares by number", () => {
    const part = fc.nat(200)
    fc.assert(
      fc.property(fc.tuple(part, part, part), fc.tuple(part, part, part), (a, b) => {
        const difference = a.map((value, index) => value - (b[index] ?? 0)).find((value) => value !== 0) ?? 0
        const [left, right] = [Version.parse(a.join(".")), Version.parse(b.join("."))]
        if (left === undefined || right === undefined) throw new Error("no version")
        assert.strictEqual(Math.sign(Version.compare(left, right)), Math.sign(difference))
      })
    )
    assert.isFalse(traits("0.3.77").jobsApi)
    assert.isTrue(traits("0.10.0").cancelledStatus)
  })

  it("knows what the recorded servers do", () => {
    assert.deepInclude(traits("0.3.64"), {
      promptIdRule: "any",
      clientPromptId: true,
      targetedInterrupt: true,
      jobsApi: false,
      cancelApi: false,
      cachedOutputsKept: true
    })
    assert.deepInclude(traits("0.27.0"), {
      promptIdRule: "uuid",
      jobsApi: true,
      cancelApi: true,
      cachedOutputsKept: false
    })
    assert.deepInclude(traits("0.33.0"), { cancelApi: true, cachedOutputsKept: true, workflowMetadata: false })
  })

  it("assumes nothing of an unknown version but the strictest id", () => {
    const { promptIdRule, version, ...rest } = traits("unknown")
    assert.strictEqual(promptIdRule, "uuid")
    assert.isNull(version)
    assert.isTrue(Object.values(rest).every((trait) => !trait))
  })
})
