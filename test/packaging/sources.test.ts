// That the rules over imports can fail: each is shown modules that break it.
import { assert, describe, it } from "@effect/vitest"
import { directions } from "../../.ci/imports.ts"
import type { Module } from "../../.ci/lib/modules.ts"
import type { Package } from "../../.ci/lib/packages.ts"
import { direction } from "../../.ci/steps/direction.ts"
import { declared, length, usedInternals } from "../../.ci/steps/sources.ts"

const owner = (name: string, dependencies: Record<string, string> = {}): Package => ({
  name,
  folder: name,
  sources: [],
  manifest: { name: `@effect-comfyui/${name}`, version: "0.0.0", dependencies }
})

const module = (
  id: string,
  imports: Record<string, ReadonlyArray<string>>,
  rest: Partial<Module> = {}
): Module => ({
  id,
  package: id.slice(0, id.indexOf("/")),
  path: id.slice(id.indexOf("/") + 1),
  imports: Object.entries(imports).map(([specifier, names]) => ({ specifier, names: new Set(names) })),
  exports: [],
  codeLines: 1,
  ...rest
})

const owners = ["workflow", "execution", "client", "testing"].map((name) => owner(name))
const directed = (...modules: ReadonlyArray<Module>) => direction(owners, modules).problems

describe("directions", () => {
  it("has no cycle, so that packages can be built one after the other", () => {
    const reaches = (from: string, to: string): boolean =>
      directions[from]?.some((next) => next === to || reaches(next, to)) ?? false
    for (const name of Object.keys(directions)) assert.isFalse(reaches(name, name), name)
  })

  it("takes what points downwards and is deep", () => {
    const fine = module("client/Run.ts", {
      "effect/Effect": [],
      "@effect-comfyui/execution/Ids": [],
      "./internal/time.ts": []
    })
    assert.deepStrictEqual(directed(fine, module("client/WebSocketNode.ts", { ws: [], "node:tls": [] })), [])
  })

  it("refuses one wrong import each", () => {
    const wrong: ReadonlyArray<readonly [string, string]> = [
      ["workflow/Json.ts", "@effect-comfyui/execution/Ids"],
      ["client/Run.ts", "@effect-comfyui/testing/FakeComfy"],
      ["client/Run.ts", "@effect-comfyui/execution/internal/x"],
      ["client/Run.ts", "../../execution/src/Ids.ts"],
      ["client/Run.ts", "@effect-comfyui/unheard/X"],
      ["client/Run.ts", "@effect-comfyui/execution"],
      ["client/Run.ts", "effect"],
      ["client/Run.ts", "ws"],
      ["client/Run.ts", "node:fs"],
      ["client/Run.ts", "crypto"],
      ["client/Run.ts", "@effect/platform-node/NodeHttpClient"],
      ["testing/FakeComfy.ts", "@effect-comfyui/client/Run"]
    ]
    for (const [id, specifier] of wrong) {
      assert.lengthOf(directed(module(id, { [specifier]: [] })), 1, `${id} imports ${specifier}`)
    }
    assert.deepStrictEqual(directed(module("testing/BackendContract.ts", { "@effect-comfyui/client/Run": [] })), [])
  })

  it("refuses a barrel that reaches Node or an optional peer, over any number of modules and packages", () => {
    const far = [
      module("client/index.ts", { "./A.ts": [] }),
      module("client/A.ts", { "@effect-comfyui/execution/B": [] }),
      module("execution/B.ts", { "./FileNode.ts": [] }),
      module("execution/FileNode.ts", {})
    ]
    assert.include(directed(...far).join(), "client/index.ts → client/A.ts → execution/B.ts → execution/FileNode.ts")
    assert.deepStrictEqual(directed(...far.slice(0, 2)), [])
    const peers: Package = {
      ...owner("testing"),
      manifest: { name: "t", version: "0", peerDependenciesMeta: { vitest: { optional: true } } }
    }
    const barrel = module("testing/index.ts", { "vitest": [] })
    assert.lengthOf(direction([peers], [barrel]).problems, 1)
  })

  it("refuses a package that the table does not know", () => {
    assert.lengthOf(direction([owner("novel")], []).problems, 1)
  })
})

describe("sources", () => {
  it("refuses a package that is not declared, by any of its paths", () => {
    const client = owner("client", { effect: "4.1.0" })
    const found = (specifier: string) => declared([client], [module("client/A.ts", { [specifier]: [] })]).problems
    for (const fine of ["effect/Effect", "./B.ts", "node:fs"]) assert.deepStrictEqual(found(fine), [])
    for (const wrong of ["fast-png", "@noble/hashes/sha2.js", "@effect-comfyui/workflow/Json"]) {
      assert.lengthOf(found(wrong), 1)
    }
  })

  it("refuses an internal export that no other file imports", () => {
    const internal = module("client/internal/time.ts", { "./time.ts": ["own"] }, { exports: ["used", "own", "unused"] })
    const user = (...names: ReadonlyArray<string>) => module("client/A.ts", { "./internal/time.ts": names })
    assert.lengthOf(usedInternals([internal, user("used")]).problems, 2)
    assert.deepStrictEqual(usedInternals([internal, user("used", "own", "unused")]).problems, [])
    assert.deepStrictEqual(usedInternals([internal, user("*")]).problems, [])
  })

  it("refuses more than 350 lines of code", () => {
    const long = (codeLines: number) => length([module("client/A.ts", {}, { codeLines })]).problems
    assert.deepStrictEqual(long(350), [])
    assert.lengthOf(long(351), 1)
  })
})
