// json.loads and json.dumps as Python's: NaN and infinities stand bare, ints keep every digit, floats their point, text
// outside ASCII is escaped, and separators have a space.
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type Dict, Float, isDict, isList, Opaque, type Py } from "./py.ts"
import { floatText } from "./pyText.ts"

/** Python gives up near its recursion limit. */
const maxDepth = 990

const number = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

export const encode = (text: string): Uint8Array => encoder.encode(text)

/** The text of a body; none if it is not UTF-8. */
const decodeText = (bytes: Uint8Array): Option.Option<string> => Result.getSuccess(Result.try(() => utf8.decode(bytes)))

const nativeString = (literal: string): string | undefined => {
  const parsed = Result.try((): unknown => JSON.parse(literal))
  return Result.isSuccess(parsed) && typeof parsed.success === "string" ? parsed.success : undefined
}

class Reader {
  readonly text: string
  at = 0
  constructor(text: string) {
    this.text = text
  }

  skip(): number {
    for (;;) {
      const code = this.text.charCodeAt(this.at)
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return code
      this.at++
    }
  }

  string(): string | undefined {
    const start = this.at + 1
    let end = this.text.indexOf("\"", start)
    if (end < 0) return undefined
    let plain = true
    for (let i = start; i < end; i++) {
      const code = this.text.charCodeAt(i)
      if (code < 32) return undefined
      if (code === 92) {
        plain = false
        i++
        if (i === end) {
          end = this.text.indexOf("\"", end + 1)
          if (end < 0) return undefined
        }
      }
    }
    this.at = end + 1
    return plain ? this.text.slice(start, end) : nativeString(this.text.slice(start - 1, end + 1))
  }

  scalar(code: number): Py | undefined {
    if (code === 34) return this.string()
    if (code === 45 || (code >= 48 && code <= 57)) {
      number.lastIndex = this.at
      const match = number.exec(this.text)
      if (match !== null) {
        this.at = number.lastIndex
        const value = Number(match[0])
        if (match[1] !== undefined || match[2] !== undefined) return new Float(value)
        return Number.isSafeInteger(value) ? (value === 0 ? 0 : value) : BigInt(match[0])
      }
    }
    for (const [word, value] of words) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length
        return value
      }
    }
    return undefined
  }

  value(depth: number): Py | undefined {
    const code = this.skip()
    if (code === 123) return depth > maxDepth ? undefined : this.dict(depth)
    if (code === 91) return depth > maxDepth ? undefined : this.list(depth)
    return this.scalar(code)
  }

  list(depth: number): Py | undefined {
    const out: Array<Py> = []
    this.at++
    if (this.skip() === 93) {
      this.at++
      return out
    }
    for (;;) {
      const item = this.value(depth + 1)
      if (item === undefined) return undefined
      out.push(item)
      const next = this.skip()
      this.at++
      if (next === 93) return out
      if (next !== 44) return undefined
    }
  }

  dict(depth: number): Py | undefined {
    const out: Dict = new Map()
    this.at++
    if (this.skip() === 125) {
      this.at++
      return out
    }
    for (;;) {
      if (this.skip() !== 34) return undefined
      const key = this.string()
      if (key === undefined || this.skip() !== 58) return undefined
      this.at++
      const member = this.value(depth + 1)
      if (member === undefined) return undefined
      out.set(key, member)
      const next = this.skip()
      this.at++
      if (next === 125) return out
      if (next !== 44) return undefined
    }
  }
}

const words: ReadonlyArray<readonly [string, Py]> = [
  ["true", true],
  ["false", false],
  ["null", null],
  ["NaN", new Float(Number.NaN)],
  ["Infinity", new Float(Number.POSITIVE_INFINITY)],
  ["-Infinity", new Float(Number.NEGATIVE_INFINITY)]
]

/** None where Python raises: malformed, too deep, something behind the value. */
export const loads = (text: string): Option.Option<Py> => {
  const reader = new Reader(text)
  const value = reader.value(0)
  if (value === undefined) return Option.none()
  reader.skip()
  return reader.at === text.length ? Option.some(value) : Option.none()
}

export const loadsBytes = (bytes: Uint8Array): Option.Option<Py> => Option.flatMap(decodeText(bytes), loads)

const special = /[^ !#-[\]-~]/
const beyond = /[\u007f-\uffff]/g
const escapeBeyond = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`

/** A JSON string literal in ASCII. */
export const quote = (text: string): string =>
  special.test(text) ? JSON.stringify(text).replace(beyond, escapeBeyond) : `"${text}"`

/** Thrown within `write` only, caught by `dumps`: what Python does at the same place. */
const unwritable = new Error("not JSON serializable")

const write = (value: Py): string => {
  switch (typeof value) {
    case "string":
      return quote(value)
    case "boolean":
      return value ? "true" : "false"
    case "bigint":
      return value.toString()
    case "number":
      return Number.isInteger(value) ? String(value) : jsonFloat(value)
  }
  if (value === null) return "null"
  if (value instanceof Float) return jsonFloat(value.value)
  if (value instanceof Opaque) throw unwritable
  if (isList(value)) {
    let out = ""
    for (const item of value) out += out === "" ? write(item) : `, ${write(item)}`
    return `[${out}]`
  }
  let out = ""
  if (isDict(value)) {
    for (const [key, member] of value) out += `${out === "" ? "" : ", "}${quote(key)}: ${write(member)}`
  }
  return `{${out}}`
}

const jsonFloat = (value: number): string => {
  if (Number.isNaN(value)) return "NaN"
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity"
  return floatText(value)
}

/** None if something in it cannot be JSON: TypeError in Python. */
export const dumps = (value: Py): Option.Option<string> => Result.getSuccess(Result.try(() => write(value)))

/** For values that the server built itself and that hold nothing foreign. */
export const dumpsSafe = (value: Py): string => write(value)
