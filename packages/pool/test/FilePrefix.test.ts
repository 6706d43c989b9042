import { changedPrefix } from "@effect-comfyui/pool/FilePrefix"
import { Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { posix } from "node:path"

/** Where a server saves: as its `get_save_image_path` reads a prefix. */
const read = (prefix: string) => {
  const path = posix.normalize(prefix)
  return { folder: posix.dirname(path), name: posix.basename(path) }
}

const saving = (prefix: Workflow.Node["inputs"][string]): Workflow.Workflow =>
  Workflow.fromNodes({
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
    "57:2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: prefix } }
  })

const prefixOf = (workflow: Workflow.Workflow | null) => workflow?.nodes["57:2"]?.inputs["filename_prefix"]

const part = fc.oneof(
  fc.string({ maxLength: 8 }).map((text) => text.replace(/[/\\]/g, "")),
  fc.constantFrom("%date:yyyy-MM-dd%", "%year%", "100%", "ComfyUI", ".", "a.b", "")
)

const prefixes = fc.tuple(fc.array(part, { maxLength: 4 }), fc.constantFrom("", "/", "//", "/."))
  .map(([parts, end]) => parts.join("/") + end)
  .filter((prefix) => !prefix.startsWith("/") && !prefix.includes(".."))

describe("another file prefix", () => {
  it("keeps the folder, the name's beginning and the patterns, and changes nothing else", () => {
    fc.assert(fc.property(prefixes, fc.stringMatching(/^[\w%/-]{1,12}$/), (prefix, tag) => {
      const safe = tag.replace(/[%/]/g, "")
      const before = saving(prefix)
      const after = changedPrefix(before, tag)
      if (safe === "") {
        assert.isNull(after)
        return
      }
      const changed = String(prefixOf(after))
      const old = read(prefix)
      const now = read(changed)
      assert.strictEqual(now.folder, old.folder, `${prefix} → ${changed}`)
      assert.strictEqual(now.name, old.name === "." ? safe : `${old.name}-${safe}`)
      assert.strictEqual(changed.split("%").length, prefix.split("%").length)
      assert.deepStrictEqual(after, saving(changed))
      assert.deepStrictEqual(before, saving(prefix))
    }))
  })

  it("two tags are two prefixes", () => {
    fc.assert(
      fc.property(prefixes, fc.uniqueArray(fc.stringMatching(/^[\w-]{1,8}$/), { minLength: 2 }), (prefix, tags) => {
        const all = tags.map((tag) => prefixOf(changedPrefix(saving(prefix), tag)))
        assert.strictEqual(new Set([prefix, ...all]).size, tags.length + 1)
      })
    )
  })

  it("for every output node", () => {
    const once = changedPrefix(Workflows.picture(), "again")
    assert.strictEqual(once?.nodes["2"]?.inputs["filename_prefix"], "picture-again")
    assert.strictEqual(prefixOf(changedPrefix(saving("a/%date:yyyy/MM%/x"), "1")), "a/%date:yyyy/MM%/x-1")
    assert.strictEqual(prefixOf(changedPrefix(saving("a\\b\\"), "1")), "a\\b-1")
  })

  it("is not there where nothing would change", () => {
    assert.isNull(changedPrefix(Workflows.counting(), "x"))
    assert.isNull(changedPrefix(saving(["1", 0]), "x"))
    assert.isNull(changedPrefix(saving("a/.."), "x"))
    assert.isNull(changedPrefix(saving("a"), "%/"))
  })
})
