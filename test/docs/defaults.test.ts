// The table of all defaults in docs/failover-and-timeouts.md, against the code: each figure once, as it is.
import * as client from "@effect-comfyui/client/Defaults"
import * as pool from "@effect-comfyui/pool/Defaults"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { figures } from "./figures.ts"

const root = new URL("../../", import.meta.url)

const page = readFileSync(new URL("docs/failover-and-timeouts.md", root), "utf8")

const modules = { client, pool }

/** | `pool.queue.lease` | 30 s | a few words | */
const row = /^\| `((?:client|pool)\.[\w.]+)` +\| (.*?) +\| (.*?) +\|$/gm

const rows = [...page.matchAll(row)].map(([, name = "", value = "", words = ""]) => ({ name, value, words }))

describe("the table of defaults", () => {
  it.effect("has every figure of the code once, with its value, and no other", () =>
    Effect.gen(function*() {
      const inCode = (yield* figures(modules)).map(([name, value]) => `${name} = ${value}`)
      assert.deepStrictEqual(rows.map(({ name, value }) => `${name} = ${value}`).toSorted(), inCode.toSorted())
    }))

  it("says of each what it does", () => {
    assert.deepStrictEqual(rows.filter(({ words }) => words.length < 3), [])
  })

  it("is of all packages that have defaults", () => {
    const packages = readdirSync(new URL("packages/", root))
    const having = packages.filter((name) => existsSync(new URL(`packages/${name}/src/Defaults.ts`, root)))
    assert.deepStrictEqual(having, Object.keys(modules))
  })
})
