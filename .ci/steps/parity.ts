// The page for those who come from other clients: every test that it names exists, and it has every fault that a test names.
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { filesBelow, packages, root } from "../lib/packages.ts"
import type { Outcome } from "../lib/schedule.ts"

const page = "docs/parity.md"

/** `pool/Pool` is packages/pool/test/Pool.test.ts, `testing/src/X` packages/testing/src/X.ts. */
const placesOf = (name: string): ReadonlyArray<string> => {
  const [owner = "", ...rest] = name.split("/")
  const path = rest.join("/")
  return [`test/${path}.test.ts`, `test/${path}.test-d.ts`, `${path}.ts`].map((one) => `packages/${owner}/${one}`)
}

const call = /\b(?:it|test|describe|suite)(?:\.\w+)*\(\s*(["'`])((?:\\.|(?!\1)[^\\])*)\1/gs

/** Contract suites keep their tests in objects, by name. */
const key = /^ {2}"((?:\\.|[^"\\])*)":/gm

/** The names of all tests in a file, and of what they stand in. */
const titlesOf = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(join(root, file), "utf8")
  const found = [...text.matchAll(call)].map(([, , title = ""]) => title)
  const keys = file.includes("/src/") ? [...text.matchAll(key)].map(([, title = ""]) => title) : []
  return [...found, ...keys].map((title) => title.replaceAll(/\\(.)/gs, "$1"))
}

/** `pool/Pool` "runs a job" */
const reference = /`([a-z]+\/[\w/]+)` "([^"]+)"/g

/** What a row of a table is about. */
const firstCell = /^\| ([^|]*) \|/gm

const faultsIn = (text: string): ReadonlyArray<string> => text.match(/\b[BCMPW]\d\d\b/g) ?? []

const problemOf = (name: string, part: string): string | undefined => {
  const file = placesOf(name).find((path) => existsSync(join(root, path)))
  if (file === undefined) return `${page}: there is no test file ${name}`
  return titlesOf(file).some((title) => title.includes(part))
    ? undefined
    : `${page}: no test in ${file} is called "${part}"`
}

export const parity = (): Outcome => {
  const text = readFileSync(join(root, page), "utf8")
  const references = [...text.matchAll(reference)]
  const broken = references.map(([, name = "", part = ""]) => problemOf(name, part)).filter((one) => one !== undefined)
  const known = new Set([...text.matchAll(firstCell)].flatMap(([, cell = ""]) => faultsIn(cell)))
  const tests = packages.flatMap(({ name }) =>
    filesBelow(join(root, "packages", name, "test"))
      .filter((path) => path.endsWith(".test.ts"))
      .map((path) => `packages/${name}/test/${path}`)
  )
  const unknown = tests.flatMap((file) =>
    titlesOf(file).flatMap(faultsIn).filter((id) => !known.has(id))
      .map((id) => `${page}: ${id}, which a test in ${file} names, is not there`)
  )
  return { problems: [...broken, ...unknown], note: `${references.length} references, ${known.size} faults` }
}
