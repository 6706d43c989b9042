/** What a schema says of a configuration, as the reasons of a `ConfigError`: by path, with the words of the key itself. */
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"
import type * as SchemaIssue from "effect/SchemaIssue"
import type { Reason } from "../ConfigError.ts"
import { nearest } from "../Nearest.ts"

/** What a key takes, in words, and a value that would do; `hidden` where the value may be a secret. */
interface Words {
  readonly expected: string
  readonly example: string
}

type Path = ReadonlyArray<PropertyKey>

/** A problem that a schema found out by itself, in its own words. */
interface Leaf {
  readonly path: Path
  readonly tag: "Missing" | "Unknown" | "Wrong"
  readonly said: string | undefined
  /** The value would do if it stood alone. */
  readonly clashes: boolean
}

const messageOf = (annotations: object | undefined): string | undefined => {
  if (annotations === undefined || !("message" in annotations)) return undefined
  return typeof annotations.message === "string" ? annotations.message : undefined
}

/** Alternatives are taken as one: what a key takes says all of them. `clashes`: found by a check of what is around it. */
const leaves = (issue: SchemaIssue.Issue, path: Path, clashes = false): ReadonlyArray<Leaf> => {
  switch (issue._tag) {
    case "Pointer":
      return leaves(issue.issue, [...path, ...issue.path], clashes)
    case "Composite":
      return issue.issues.flatMap((one) => leaves(one, path, clashes))
    case "Filter":
      return leaves(issue.issue, path, issue.issue._tag !== "InvalidValue")
    case "Encoding":
      return leaves(issue.issue, path)
    case "MissingKey":
      return [{ path, tag: "Missing", said: undefined, clashes }]
    case "UnexpectedKey":
      return [{ path, tag: "Unknown", said: undefined, clashes }]
    case "InvalidValue":
      return [{ path, tag: "Wrong", said: messageOf(issue.annotations), clashes }]
    default:
      return [{ path, tag: "Wrong", said: undefined, clashes }]
  }
}

const child = (ast: SchemaAST.AST | undefined, key: PropertyKey): SchemaAST.AST | undefined => {
  if (ast === undefined) return undefined
  if (SchemaAST.isArrays(ast)) return ast.rest[0]
  if (!SchemaAST.isObjects(ast)) return undefined
  return ast.propertySignatures.find(({ name }) => name === key)?.type ?? ast.indexSignatures[0]?.type
}

const at = (ast: SchemaAST.AST, path: Path): SchemaAST.AST | undefined =>
  path.reduce((inner: SchemaAST.AST | undefined, key) => child(inner, key), ast)

const keysOf = (ast: SchemaAST.AST | undefined): ReadonlyArray<string> =>
  ast !== undefined && SchemaAST.isObjects(ast) ? ast.propertySignatures.map(({ name }) => String(name)) : []

const valueAt = (input: unknown, path: Path): unknown => {
  let value = input
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined
    value = Reflect.get(value, key)
  }
  return value
}

const kindOf = (value: unknown): string => {
  if (value === undefined) return "what stands there"
  if (Array.isArray(value)) return "a list"
  if (value === null) return "null"
  return typeof value === "object" ? "an object" : typeof value === "string" ? "a text" : `a ${typeof value}`
}

const shown = (value: unknown): string =>
  typeof value === "number" || typeof value === "boolean" || (typeof value === "string" && value.length <= 40)
    ? JSON.stringify(value)
    : kindOf(value)

const isWords = Schema.is(Schema.Struct({ expected: Schema.String, example: Schema.String }))

const wordsOf = (ast: SchemaAST.AST | undefined): Words | undefined => {
  const found: unknown = ast === undefined ? undefined : SchemaAST.resolve(ast)
  return isWords(found) ? found : undefined
}

const isHidden = (ast: SchemaAST.AST | undefined): boolean =>
  ast !== undefined && SchemaAST.resolve(ast)?.["hidden"] === true

const structureOf = (ast: SchemaAST.AST | undefined): string =>
  ast !== undefined && SchemaAST.isArrays(ast) ? "a list" : "an object"

/** All of them. A value is shown only where it can be no secret: an address may have a password in it. */
export const reasons = (issue: SchemaIssue.Issue, ast: SchemaAST.AST, input: unknown): ReadonlyArray<Reason> =>
  leaves(issue, []).map(({ clashes, path, said, tag }): Reason => {
    const name = path.map(String).join(".")
    const here = at(ast, path)
    const words = wordsOf(here)
    if (tag === "Missing") return { _tag: "Missing", path: name, example: words?.example ?? null }
    if (tag === "Unknown") {
      const valid = keysOf(at(ast, path.slice(0, -1)))
      return { _tag: "UnknownKey", path: name, nearest: nearest(String(path.at(-1)), valid), valid }
    }
    const value = valueAt(input, path)
    const hides = words === undefined || isHidden(here)
    const otherwise = `${hides ? kindOf(value) : shown(value)} is not ${words?.expected ?? structureOf(here)}`
    const problem = hides || clashes ? said ?? otherwise : otherwise
    return { _tag: "WrongValue", path: name, problem, example: words?.example ?? null }
  })
