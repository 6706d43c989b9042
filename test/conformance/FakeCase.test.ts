import { assert, describe, it } from "@effect/vitest"
import { join } from "node:path"
import { fakeCases, readSkips } from "./FakeCase.ts"
import { filesIn } from "./Files.ts"

const fixtures = [
  ...filesIn(join(import.meta.dirname, "../../packages/testing/test/fixtures/recordings"), ".jsonl")
]

type Line = Record<string, unknown>

const linesOf = (text: string): Array<Line> =>
  text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))

const isRunFrame = (line: Line | undefined): line is Line & { data: string } =>
  line?.["kind"] === "ws-text" && line["dir"] === "in" && typeof line["data"] === "string" &&
  /"type": "(execut|progress_state)/.test(line["data"]) && !/"max": [0-9]*\.[0-9]*[1-9]/.test(line["data"])

/** A recording of a server that never was; undefined where it has nothing to change. */
type Mutation = (lines: ReadonlyArray<Line>) => ReadonlyArray<Line> | undefined

const replaced = (lines: ReadonlyArray<Line>, at: number, line: Line): ReadonlyArray<Line> | undefined =>
  at < 0 ? undefined : lines.with(at, line)

const mutations: Readonly<Record<string, Mutation>> = {
  "another status": (lines) => {
    const at = lines.findIndex((line) => line["kind"] === "response")
    return replaced(lines, at, { ...lines[at], status: 299 })
  },
  "a member more in an answer": (lines) => {
    const at = lines.findIndex((line) => line["kind"] === "response" && String(line["body"]).startsWith("{\""))
    return replaced(lines, at, { ...lines[at], body: `{"more": 1, ${String(lines[at]?.["body"]).slice(1)}` })
  },
  "a frame of a run is missing": (lines) => {
    const at = lines.findIndex(isRunFrame)
    return at < 0 ? undefined : lines.toSpliced(at, 1)
  },
  "a frame of a run twice": (lines) => {
    const at = lines.findIndex(isRunFrame)
    const line = lines[at]
    return line === undefined ? undefined : lines.toSpliced(at, 0, line)
  },
  "two frames of a run in the other order": (lines) => {
    const at = lines.findIndex((line, index) => {
      const next = lines[index + 1]
      return isRunFrame(line) && isRunFrame(next) && line["conn"] === next["conn"] && line.data !== next.data
    })
    const [first, second] = [lines[at], lines[at + 1]]
    return first === undefined || second === undefined ? undefined : lines.with(at, second).with(at + 1, first)
  },
  "another word in a frame of a run": (lines) => {
    const at = lines.findIndex(isRunFrame)
    const line = lines[at]
    return isRunFrame(line)
      ? lines.with(at, { ...line, data: line.data.replace(/"type": "\w+"/, "\"type\": \"x\"") })
      : undefined
  }
}

const outcomeOf = (name: string, lines: ReadonlyArray<Line>) =>
  fakeCases(name, lines.map((line) => JSON.stringify(line)).join("\n"), {})[0]?.outcome._tag

describe("the fake against recordings", () => {
  for (const [what, mutation] of Object.entries(mutations)) {
    it(`${what}: the case fails`, () => {
      let mutated = 0
      for (const { name, text } of fixtures) {
        const lines = linesOf(text)
        const changed = mutation(lines)
        if (changed === undefined) continue
        mutated++
        assert.strictEqual(outcomeOf(name, lines), "Passed", name)
        assert.strictEqual(outcomeOf(name, changed), "Failed", name)
      }
      assert.isAbove(mutated, 10)
    })
  }

  it("a case that is listed and has no difference fails, and so does one with a difference that is not listed", () => {
    const [fixture] = fixtures
    assert.isDefined(fixture)
    const id = fixture.name.replace(".jsonl", "")
    assert.strictEqual(fakeCases(fixture.name, fixture.text, { [id]: "no reason" })[0]?.outcome._tag, "Failed")
    const changed = mutations["another status"]?.(linesOf(fixture.text))?.map((line) => JSON.stringify(line)).join("\n")
    assert.strictEqual(fakeCases(fixture.name, changed ?? "", { [id]: "a reason" })[0]?.outcome._tag, "Listed")
  })

  it("no fixture is listed", () => {
    const skips = readSkips()
    for (const { name } of fixtures) assert.notProperty(skips, name.replace(".jsonl", ""))
  })
})
