import * as Residency from "@effect-comfyui/pool/Residency"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { server } from "./support/heads.ts"

const one = server("one")
const GiB = 1024 ** 3
const machine = { argv: ["main.py"], ramTotalBytes: 24 * GiB, ramFreeBytes: 20 * GiB, vramTotalBytes: null }
const facts = (more: Partial<Residency.Facts["machine"]> = {}, version = "0.33.0"): Residency.Facts => ({
  version,
  machine: { ...machine, ...more }
})

const ran = (key: AffinityKey, found: "outputs" | "loader" | null | undefined, at = 0): Residency.Input => ({
  _tag: "Ran",
  server: one,
  key,
  found,
  at
})

const fold = (...inputs: ReadonlyArray<Residency.Input>) => {
  const state = Residency.init()
  for (const input of inputs) Residency.step(state, input)
  return state
}

const kOf = (state: Residency.State) => Residency.snapshot(state)[0]?.k

describe("Residency", () => {
  it("begins with one workflow, unless flags, version or memory say otherwise", () => {
    const k = (...[more, version]: Parameters<typeof facts>) => Residency.prior(facts(more, version)).k
    const roomy = { ramTotalBytes: 256 * GiB, ramFreeBytes: 200 * GiB }
    assert.strictEqual(k({}), 1)
    assert.strictEqual(k(roomy), 2)
    assert.strictEqual(k(roomy, "0.3.64"), 1)
    assert.strictEqual(k({ ...roomy, argv: ["--cache-classic"] }), 1)
    assert.strictEqual(k({ argv: ["--cache-lru", "40"] }), 2)
    assert.strictEqual(k({ ...roomy, argv: ["--cache-none"] }), 0)
    assert.strictEqual(Residency.prior(null).k, 1)
  })

  it("knows what ran last, with its evidence", () => {
    const state = fold(ran("a1:a", null, 5), ran("a1:b", null, 6))
    assert.deepInclude(Residency.warmth(state, one, "a1:b"), { warm: true, evidence: "own-executed", at: 6, since: 0 })
    assert.deepInclude(Residency.warmth(state, one, "a1:a"), { warm: false, since: 1, among: 1 })
    assert.isUndefined(Residency.warmth(state, one, "a1:c"))
    assert.deepStrictEqual([...Residency.residentOn(state, "a1:b")], [one])
    assert.deepStrictEqual([...Residency.residentOn(state, "a1:a")], [])
    assert.strictEqual(Residency.victim(state, one), "a1:b")
  })

  it("raises k by hits it did not expect, and lowers it at the first miss", () => {
    const up = fold(ran("a1:a", null), ran("a1:b", null), ran("a1:c", null), ran("a1:a", "loader"))
    assert.strictEqual(kOf(up), 3)
    assert.isTrue(Residency.warmth(up, one, "a1:b")?.warm)
    const down = Residency.step(up, ran("a1:b", null))
    assert.strictEqual(kOf(down), 2)
    assert.strictEqual(kOf(Residency.step(down, ran("a1:b", null))), 1)
  })

  it("does not count beyond what the flags allow", () => {
    const flags = (...argv: ReadonlyArray<string>): Residency.Input => ({
      _tag: "Described",
      server: one,
      facts: facts({ argv })
    })
    const hits = [ran("a1:a", null), ran("a1:b", null), ran("a1:a", "loader")]
    assert.strictEqual(kOf(fold(flags("--cache-classic"), ...hits)), 1)
    assert.isFalse(Residency.warmth(fold(flags("--cache-none"), ran("a1:a", null)), one, "a1:a")?.warm)
    // Told later than it was seen: what runs have proved counts, within what the flags allow.
    assert.strictEqual(kOf(fold(...hits, flags())), 2)
    assert.strictEqual(kOf(fold(...hits, flags("--cache-classic"))), 1)
    assert.strictEqual(kOf(fold(flags("--cache-lru", "40"), { _tag: "Started", server: one })), 1)
  })

  it("takes a foreign prompt for what pushes ours out", () => {
    const foreign = fold(ran("a1:a", null), { _tag: "Foreign", server: one, at: 1 })
    assert.isFalse(Residency.warmth(foreign, one, "a1:a")?.warm)
    assert.isNull(Residency.victim(foreign, one))
    assert.deepStrictEqual(Residency.residents(foreign, one), [])
  })

  it("forgets with the process, with its memory, and does not call weights warm that were moved out", () => {
    const gone: ReadonlyArray<Residency.Input> = [
      { _tag: "Started", server: one },
      { _tag: "Freed", server: one, what: "all" },
      { _tag: "Removed", server: one }
    ]
    for (const input of gone) assert.isUndefined(Residency.warmth(fold(ran("a1:a", null), input), one, "a1:a"))
    const moved = fold(ran("a1:a", null), { _tag: "Freed", server: one, what: "models" })
    assert.deepInclude(Residency.warmth(moved, one, "a1:a"), { warm: false, level: "unknown", evidence: "assumed" })
    assert.strictEqual(kOf(Residency.step(moved, ran("a1:a", null))), 1)
  })

  it("reads the cached nodes of a run", () => {
    const workflow = Workflow.fromNodes({
      "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "a.safetensors" } },
      "2": { class_type: "EmptyLatentImage", inputs: { width: 512 } },
      "3": { class_type: "KSampler", inputs: { model: ["1", 0], latent_image: ["2", 0] } }
    })
    const found = (...ids: ReadonlyArray<string>) => Residency.found(workflow, new Set(ids))
    assert.strictEqual(found("1", "2", "3"), "outputs")
    assert.strictEqual(found("1"), "loader")
    assert.isNull(found("2"))
    assert.isUndefined(
      Residency.found(Workflow.fromNodes({ "1": { class_type: "EmptyImage", inputs: {} } }), new Set())
    )
  })

  it("finds the k of a real LRU cache, and is then never wrong", () => {
    const anyKey = fc.integer({ min: 0, max: 7 }).map((n): AffinityKey => `a1:${n}`)
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(anyKey, { minLength: 200, maxLength: 200 }), (k, keys) => {
        const state = Residency.init()
        const cache: Array<AffinityKey> = []
        keys.forEach((key, i) => {
          const hit = cache.includes(key)
          const expected = Residency.warmth(state, one, key)?.warm === true
          // It never promises what is not there.
          if (expected) assert.isTrue(hit)
          Residency.step(state, ran(key, hit ? "loader" : null, i))
          cache.splice(0, cache.length, ...[key, ...cache.filter((other) => other !== key)].slice(0, k))
          for (const resident of Residency.residents(state, one)) {
            assert.isTrue(Residency.residentOn(state, resident.key).has(one))
          }
        })
        assert.isAtMost(kOf(state) ?? 0, k)
      }),
      { numRuns: 100 }
    )
  })

  it("remembers sixteen workflows per server, and indexes no others", () => {
    const state = fold(...Array.from({ length: 1_000 }, (_, i) => ran(`a1:${i}`, null)))
    assert.strictEqual(state.residents.size, 1)
    assert.isUndefined(Residency.warmth(state, one, "a1:900"))
    Residency.step(state, { _tag: "Removed", server: one })
    assert.strictEqual(state.residents.size, 0)
  })
})
