// A reader without recursion, so that depth is a number and not a stack overflow.
import * as Result from "effect/Result"
import { unquote } from "./json.ts"
import type { Json, JsonPath, JsonProblem } from "./jsonTypes.ts"
import { rememberNumberText } from "./numberText.ts"

interface Options {
  readonly maxDepth: number
  readonly duplicates: "last" | "refuse"
  /** Keep the text of numbers whose text JavaScript would not write again. */
  readonly numberTexts: boolean
}

type MutableObject = { [key: string]: Json }

/** One open array or object; `key` is the member being read. */
interface Level {
  readonly array: Array<Json> | undefined
  readonly object: MutableObject | undefined
  key: string
}

const space = /[ \t\n\r]*/y
const number = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const integer = /^-?[0-9]+$/
const control = /[\u0000-\u001f]/

const literals: ReadonlyArray<readonly [string, Json]> = [
  ["true", true],
  ["false", false],
  ["null", null],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY]
]

/** Plain assignment to `__proto__` would set the prototype instead of a member. */
const put = (object: MutableObject, key: string, value: Json): void => {
  if (key === "__proto__") {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  } else object[key] = value
}

/** Whether JavaScript would write this number so that Python reads another type or another value. */
const losesItsText = (value: number, text: string): boolean =>
  Number.isInteger(value) ? /[.eE]/.test(text) || Object.is(value, -0) : !Number.isFinite(value)

const toNumber = (text: string): number | bigint => {
  const value = Number(text)
  return Number.isSafeInteger(value) || !integer.test(text) ? value : BigInt(text)
}

export const read = (text: string, options: Options): Result.Result<Json, JsonProblem> => {
  const stack: Array<Level> = []
  let position = 0
  let root: Json = null

  const skip = (): void => {
    space.lastIndex = position
    space.test(text)
    position = space.lastIndex
  }
  const syntax = (offset: number): Result.Result<never, JsonProblem> =>
    Result.fail({ _tag: "Syntax", offset, excerpt: text.slice(Math.max(0, offset - 20), offset + 40) })
  const pathOf = (): JsonPath => stack.map((level) => level.array === undefined ? level.key : level.array.length)

  /** The string that starts at `position`; undefined if it is malformed or has no end. */
  const string = (): string | undefined => {
    const start = position + 1
    let end = text.indexOf("\"", start)
    if (end === -1) return undefined
    const plain = text.slice(start, end)
    if (!plain.includes("\\")) {
      if (control.test(plain)) return undefined
      position = end + 1
      return plain
    }
    const escaped = (quote: number): boolean => {
      let backslashes = 0
      while (text.charCodeAt(quote - 1 - backslashes) === 92) backslashes++
      return backslashes % 2 === 1
    }
    while (escaped(end)) {
      end = text.indexOf("\"", end + 1)
      if (end === -1) return undefined
    }
    position = end + 1
    return unquote(text.slice(start - 1, end + 1))
  }

  /** Reads `"key":` of the object on top of the stack. */
  const key = (level: Level, object: MutableObject): JsonProblem | undefined => {
    const offset = position
    const name = text.charCodeAt(position) === 34 ? string() : undefined
    skip()
    if (name === undefined || text.charCodeAt(position) !== 58) {
      return { _tag: "Syntax", offset, excerpt: text.slice(Math.max(0, offset - 20), offset + 40) }
    }
    position++
    level.key = name
    return options.duplicates === "refuse" && Object.hasOwn(object, name)
      ? { _tag: "DuplicateKey", path: pathOf() }
      : undefined
  }

  const scalar = (holder: Level | undefined): Json | undefined => {
    const code = text.charCodeAt(position)
    if (code === 34) return string()
    number.lastIndex = position
    const match = code === 45 || (code >= 48 && code <= 57) ? number.exec(text) : null
    if (match !== null) {
      position = number.lastIndex
      const value = toNumber(match[0])
      if (options.numberTexts && holder !== undefined && typeof value === "number" && losesItsText(value, match[0])) {
        if (holder.array === undefined) {
          if (holder.object !== undefined) rememberNumberText(holder.object, holder.key, match[0])
        } else rememberNumberText(holder.array, String(holder.array.length), match[0])
      }
      return value
    }
    for (const [word, value] of literals) {
      if (text.startsWith(word, position)) {
        position += word.length
        return value
      }
    }
    return undefined
  }

  for (;;) {
    // A value begins at `position`.
    skip()
    const top = stack.at(-1)
    const code = text.charCodeAt(position)
    let value: Json | undefined
    if (code === 123 || code === 91) {
      if (stack.length >= options.maxDepth) return Result.fail({ _tag: "TooDeep", limit: options.maxDepth })
      position++
      skip()
      const isArray = code === 91
      if (text.charCodeAt(position) !== (isArray ? 93 : 125)) {
        const level: Level = isArray
          ? { array: [], object: undefined, key: "" }
          : { array: undefined, object: {}, key: "" }
        stack.push(level)
        if (level.object !== undefined) {
          const problem = key(level, level.object)
          if (problem !== undefined) return Result.fail(problem)
        }
        continue
      }
      position++
      value = isArray ? [] : {}
    } else {
      const offset = position
      value = scalar(top)
      if (value === undefined) return syntax(offset)
    }
    // The value is complete: put it where it belongs, and close every level that ends here.
    for (;;) {
      const level = stack.at(-1)
      if (level === undefined) {
        root = value
        break
      }
      if (level.array !== undefined) level.array.push(value)
      else if (level.object !== undefined) put(level.object, level.key, value)
      skip()
      const next = text.charCodeAt(position)
      if (next === 44) {
        position++
        if (level.object !== undefined) {
          skip()
          const problem = key(level, level.object)
          if (problem !== undefined) return Result.fail(problem)
        }
        break
      }
      if (next !== (level.array === undefined ? 125 : 93)) return syntax(position)
      position++
      stack.pop()
      value = level.array ?? level.object ?? null
    }
    if (stack.length === 0) break
  }
  skip()
  return position === text.length ? Result.succeed(root) : syntax(position)
}
