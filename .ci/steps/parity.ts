// Pages that name tests: every test that they name exists. And the one for those who come from other clients has every
// fault that a test names.
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { filesBelow, packages, root } from "../lib/packages.ts"
import type { Outcome } from "../lib/schedule.ts"

const page = "docs/parity.md"

const pages = [page, "README.md", "docs/profiling.md"]

/** `pool/Pool` is packages/pool/test/Pool.test.ts, `testing/src/X` packages/testing/src/X.ts, `test/start` test/start.test.ts. */
const placesOf = (name: string): ReadonlyArray<string> => {
  const [owner = "", ...rest] = name.split("/")
  const path = rest.join("/")
  if (owner === "test") return [`test/${path}.test.ts`]
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

/** `pool/Pool` "runs a job", and with a link to the file: [`pool/Pool`](packages/pool/test/Pool.test.ts) "runs a job" */
const reference = /`([a-z]+\/[\w/]+)`(?:\]\(([^)]*)\))? "([^"]+)"/g

/** What a row of a table is about. */
const firstCell = /^\| ([^|]*) \|/gm

const faultsIn = (text: string): ReadonlyArray<string> => text.match(/\b[BCMPW]\d\d\b/g) ?? []

const problemOf = (page: string, name: string, link: string | undefined, part: string): string | undefined => {
  const file = placesOf(name).find((path) => existsSync(join(root, path)))
  if (file === undefined) return `${page}: there is no test file ${name}`
  if (link !== undefined && link !== file) return `${page}: ${name} is not ${link}`
  return titlesOf(file).some((title) => title.includes(part))
    ? undefined
    : `${page}: no test in ${file} is called "${part}"`
}

export const parity = (): Outcome => {
  const text = readFileSync(join(root, page), "utf8")
  const references = pages.flatMap((path) =>
    [...readFileSync(join(root, path), "utf8").matchAll(reference)].map(([, name = "", link, part = ""]) =>
      problemOf(path, name, link, part)
    )
  )
  const broken = references.filter((one) => one !== undefined)
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
