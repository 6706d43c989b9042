import { type FakeComfy, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import { Server, textOf } from "./support/server.ts"

/** A graph whose two results nobody else has. */
const graph = (name: string) => ({
  1: { class_type: "StringConcatenate", inputs: { string_a: name, string_b: "", delimiter: "" } },
  2: { class_type: "PreviewAny", inputs: { source: ["1", 0] } }
})

/** Of each run, whether all came from the cache. */
const hits = (cache: FakeComfy.CacheMode | undefined, names: string, options: FakeComfy.Options = {}): string => {
  const server = new Server({ ...options, cache, nodes: TestNodes.nodes })
  let out = ""
  for (const name of names) {
    const before = server.ledger().nodes.length
    server.prompt(graph(name), { client_id: "c" })
    server.settle()
    const ran = server.ledger().nodes.length - before
    out += ran === 0 ? "+" : ran === 2 ? "-" : "?"
  }
  return out
}

const argvOf = (options: FakeComfy.Options): unknown => {
  const stats = new Server(options).json("/system_stats")
  return Reflect.get(Reflect.get(Object(stats), "system"), "argv")
}

describe("the cache", () => {
  it("classic keeps what the last prompt named", () => {
    assert.strictEqual(hits(undefined, "ABAAB"), "---+-")
    assert.strictEqual(hits("classic", "AABBA"), "-+-+-")
  })

  it("none keeps nothing, and twins in one prompt both run", () => {
    assert.strictEqual(hits("none", "AAA"), "---")
    const server = new Server({ cache: "none" })
    const twins = {
      ...graph("A"),
      3: { class_type: "PreviewAny", inputs: { source: ["1", 0] } }
    }
    const id = server.prompt(twins, { client_id: "c" })
    server.settle()
    assert.strictEqual(server.ledger().nodes.length, 3)
    assert.sameMembers(Object.keys(JSON.parse(textOf(server.get(`/history/${id}`).body))[id].outputs), ["2", "3"])
    const classic = new Server()
    classic.prompt(twins, { client_id: "c" })
    classic.settle()
    assert.strictEqual(classic.ledger().nodes.length, 2)
  })

  it("LRU counts results of nodes, not workflows, and gives up whole generations when a prompt begins", () => {
    // Two results each: what is over goes when the next prompt begins.
    assert.strictEqual(hits({ lru: 4 }, "ABABAB"), "--++++")
    // What a prompt names is in use when it begins, so the oldest of the others goes.
    assert.strictEqual(hits({ lru: 4 }, "ABCA"), "---+")
    assert.strictEqual(hits({ lru: 4 }, "ABCDA"), "-----")
    assert.strictEqual(hits({ lru: 4 }, "ABACAB"), "--+-+-")
    assert.strictEqual(hits({ lru: 6 }, "ABCABC"), "---+++")
    // One generation at a time, and no more than needed.
    assert.strictEqual(hits({ lru: 6 }, "ABCDEFC"), "------+")
    // However small, it keeps what the last prompt used.
    assert.strictEqual(hits({ lru: 1 }, "AAB"), "-+-")
  })

  it("that follows the RAM drops what the prompt does not use, unless there is plenty", () => {
    assert.strictEqual(hits("ram", "ABAAB"), "---+-")
    assert.strictEqual(hits("ram", "ABAAB", { hardware: { ramBytes: 512_000_000_000 } }), "--+++")
  })

  it("that follows the RAM gives up the oldest workflow first, once models fill it", () => {
    const load = (name: string) => ({
      1: { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: name } },
      2: { class_type: "CLIPTextEncode", inputs: { text: "x", clip: ["1", 1] } },
      3: { class_type: "PreviewAny", inputs: { source: ["2", 0] } }
    })
    const names = ["a", "b", "c"]
    const models = { checkpoints: names.map((name) => ({ name, bytes: 40_000_000_000 })) }
    const server = new Server({ cache: "ram", hardware: { ramBytes: 256_000_000_000 }, models })
    const loads = (name: string): boolean => {
      const before = server.ledger().nodes.length
      server.prompt(load(name))
      server.settle()
      return server.ledger().nodes.slice(before).some((node) => node.classType === "CheckpointLoaderSimple")
    }
    assert.deepStrictEqual(names.map(loads), [true, true, true])
    // 204.8 GB less three models is under the threshold: the first went when the third came.
    assert.deepStrictEqual([loads("c"), loads("b"), loads("a")], [false, false, true])
  })

  it("is in the command line that the server shows", () => {
    assert.deepStrictEqual(argvOf({}), ["main.py", "--cpu", "--cache-classic"])
    assert.deepStrictEqual(argvOf({ cache: { lru: 7 } }), ["main.py", "--cpu", "--cache-lru", "7"])
    assert.deepStrictEqual(argvOf({ cache: "none" }), ["main.py", "--cpu", "--cache-none"])
    assert.deepStrictEqual(argvOf({ cache: "ram" }), ["main.py", "--cpu"])
    assert.deepStrictEqual(argvOf({ cache: "ram", version: "0.12.3" }), ["main.py", "--cpu", "--cache-ram"])
    assert.deepStrictEqual(argvOf({ hardware: { vramBytes: 1 } }), ["main.py", "--cache-classic"])
    assert.deepStrictEqual(argvOf({ argv: ["other.py"] }), ["other.py"])
  })

  it("LRU and none hold expansions too", () => {
    const expanding = (count: number) => ({
      7: { class_type: "FakeExpand", inputs: { count, seconds: 1 } },
      9: { class_type: "PreviewAny", inputs: { source: ["7", 0] } }
    })
    const run = (cache: FakeComfy.CacheMode): ReadonlyArray<number> => {
      const server = new Server({ cache, nodes: TestNodes.nodes })
      return [2, 3, 3].map((count) => {
        const before = server.ledger().nodes.length
        server.prompt(expanding(count), { client_id: "c" })
        server.settle()
        assert.strictEqual(server.ledger().prompts.at(-1)?.outcome, "success")
        return server.ledger().nodes.length - before
      })
    }
    assert.deepStrictEqual(run("classic"), [4, 3, 0])
    assert.deepStrictEqual(run({ lru: 100 }), [4, 3, 0])
    assert.deepStrictEqual(run("none"), [4, 5, 5])
  })
})
