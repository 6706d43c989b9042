import { assert, describe, it } from "@effect/vitest"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { parseLines } from "./support/recording.ts"
import { replay } from "./support/replay.ts"

const folder = join(import.meta.dirname, "fixtures", "recordings")

const recording = (path: string) => parseLines(readFileSync(join(folder, path), "utf8"))

describe("recordings of real servers", () => {
  for (const version of readdirSync(folder)) {
    it(`${version}: every answer is the same, and every frame but for the length of the queue`, () => {
      let answers = 0
      let frames = 0
      for (const file of readdirSync(join(folder, version))) {
        const report = replay(recording(`${version}/${file}`))
        assert.deepStrictEqual(report.differences, [], file)
        answers += report.answers.same
        frames += report.frames.same
      }
      assert.isAbove(answers, 100)
      assert.isAbove(frames, 100)
    })
  }

  it("are compared in full: one changed member, digit, header or frame is seen", () => {
    const lines = recording("0.33.0/05-cold-run.jsonl")
    const changed = (kind: "response" | "ws-text", from: RegExp, to: string) => {
      let done = false
      const edited = lines.map((line) => {
        const text = JSON.stringify(line)
        if (done || line.kind !== kind || !from.test(text)) return line
        done = true
        return parseLines(text.replace(from, to))[0] ?? line
      })
      assert.isTrue(done)
      return replay(edited).differences.length
    }
    assert.strictEqual(replay(lines).differences.length, 0)
    assert.strictEqual(changed("response", /success/, "sucess"), 1)
    assert.strictEqual(changed("response", /"status":200/, "\"status\":201"), 1)
    assert.strictEqual(changed("response", /application\/json/, "text/json"), 1)
    assert.strictEqual(changed("response", /\[\]/, "{}"), 1)
    assert.strictEqual(changed("ws-text", /1\.0/, "1"), 1)
    assert.strictEqual(changed("ws-text", /execution_success/, "execution_done"), 1)
    const cut = lines.filter((line) => line.kind !== "ws-text" || !line.data.includes("execution_success"))
    assert.isAbove(replay(cut).differences.length, 0)
  })
})
