// The bench files of the packages and the cases that they export.
import { globSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "../lib/packages.ts"
import type { Case } from "./contract.ts"
import { canBeClose } from "./statistics.ts"

export const readCases = async (file: string): Promise<ReadonlyArray<Case>> => {
  const { cases }: { readonly cases?: ReadonlyArray<Case> } = await import(pathToFileURL(file).href)
  if (cases === undefined) throw new Error(`${file} exports no cases`)
  const wrong = cases.find(({ goal, noise }) => noise === "close" && !canBeClose(goal))
  if (wrong !== undefined) throw new Error(`${wrong.name}: a close case has a ratio from 0.95 to 1.2 as its goal`)
  return cases
}

export interface Found {
  readonly file: string
  readonly one: Case
}

/** All cases, or those named; unknown and doubled names are errors. */
export const findCases = async (names: ReadonlyArray<string>): Promise<ReadonlyArray<Found>> => {
  const files = globSync("packages/*/bench/*.bench.ts", { cwd: root }).toSorted().map((path) => join(root, path))
  const lists = await Promise.all(
    files.map(async (file) => (await readCases(file)).map((one): Found => ({ file, one })))
  )
  const byName = Map.groupBy(lists.flat(), ({ one }) => one.name)
  for (const [name, { length }] of byName) if (length > 1) throw new Error(`${length} cases are called ${name}`)
  const unknown = names.filter((name) => !byName.has(name))
  if (unknown.length > 0) throw new Error(`no case is called ${unknown.join(" or ")}; there are ${[...byName.keys()]}`)
  return lists.flat().filter(({ one }) => names.length === 0 || names.includes(one.name))
}
