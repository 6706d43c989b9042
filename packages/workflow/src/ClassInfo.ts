/** What edits and keys want to know of a node class: a small view of the `object_info` of some server. */
import type { Json } from "./Json.ts"

/**
 * An input: `type` as `object_info` has it (`MODEL`, `INT,FLOAT`, `*`; of a list of options: `COMBO`), `widget` if the
 * editor shows a field for it instead of a socket, and the options of a combo (else none).
 */
export interface ClassInput {
  readonly name: string
  readonly type: string
  readonly widget: boolean
  readonly options: ReadonlyArray<Json>
}

/** A class: inputs in the order of their declaration (dynamic ones as `group.name`), and the type of each output. */
export interface ClassInfo {
  readonly inputs: ReadonlyArray<ClassInput>
  readonly outputs: ReadonlyArray<string>
}

/** Looks a class up by its name; undefined if nothing is known of it. */
export type Classes = (classType: string) => ClassInfo | undefined

/** Whether a type takes everything. */
export const isWildcard = (type: string): boolean => type === "*" || type === ""

/** Whether the editor would link these: equal but for case, one takes everything, or two of comma lists do. */
export const fits = (a: string, b: string): boolean => {
  if (isWildcard(a) || isWildcard(b)) return true
  const left = a.toLowerCase().split(",")
  const right = new Set(b.toLowerCase().split(","))
  return left.some((type) => right.has(type))
}
