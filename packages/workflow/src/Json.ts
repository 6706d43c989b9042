/**
 * JSON as ComfyUI speaks it: integers of any size, and bare `NaN` and infinities, which Python writes and `JSON.parse`
 * refuses. Nothing here throws, and nothing a sender chose can touch a prototype.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { parseNative } from "./internal/json.ts"
import { read } from "./internal/jsonReader.ts"
import type { Json, JsonObject, JsonPath, JsonProblem } from "./internal/jsonTypes.ts"
import { numberText } from "./internal/numberText.ts"

export type { Json, JsonObject, JsonPath, JsonProblem }

/** Sixteen digits in a row: the least that can pass 2^53 − 1, so V8's parser would round it. */
const longDigits = /[0-9]{16}/

/**
 * Reads what a server sent. Integers beyond ±(2^53 − 1) become `bigint`, bare `NaN`, `Infinity` and `-Infinity` become
 * numbers, of duplicate keys the last wins. Costs what `JSON.parse` costs, unless the text needs more.
 */
export const parse = (text: string): Result.Result<Json, JsonProblem> => {
  const value = longDigits.test(text) ? undefined : parseNative(text)
  return value === undefined
    ? read(text, { maxDepth: 10_000, duplicates: "last", numberTexts: false })
    : Result.succeed(value)
}

/** Limits of {@link parseDocument}: `maxLength` in UTF-16 units, `maxDepth` in nested arrays and objects. */
export interface DocumentLimits {
  readonly maxLength: number
  readonly maxDepth: number
}

/**
 * Reads what a person wrote or saved: as {@link parse}, but duplicate keys, too much text and too much depth are
 * refused, and numbers like `8.0` are written again as they were read.
 */
export const parseDocument = (text: string, limits: DocumentLimits): Result.Result<Json, JsonProblem> =>
  text.length > limits.maxLength
    ? Result.fail({ _tag: "TooLarge", length: text.length, limit: limits.maxLength })
    : read(text, { maxDepth: limits.maxDepth, duplicates: "refuse", numberTexts: true })

/** Whether a value is a JSON object: not null, not an array. */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The member of that name, if the object itself has it; never something inherited. */
export const get = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined

const writeNumber = (holder: object, key: string, value: number): string => {
  const text = numberText(holder, key, value)
  if (text !== undefined) return text
  return Object.is(value, -0) ? "-0.0" : String(value)
}

/** Deeper values can only be built by hand: what is read stays far below. */
const maxWriteDepth = 4_000

const write = (value: Json, holder: object, key: string, depth: number): string => {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value)
    case "number":
      return writeNumber(holder, key, value)
    case "boolean":
    case "bigint":
      return String(value)
  }
  if (value === null || depth > maxWriteDepth) return "null"
  let out = ""
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      out += (i === 0 ? "" : ",") + write(value[i] ?? null, value, String(i), depth + 1)
    }
    return `[${out}]`
  }
  for (const [name, member] of Object.entries(value)) {
    if (member === undefined) continue
    out += `${out === "" ? "" : ","}${JSON.stringify(name)}:${write(member, value, name, depth + 1)}`
  }
  return `{${out}}`
}

/**
 * The text of a value: every digit of a `bigint`, bare `NaN` and infinities, and `8.0` where `8.0` was read. Members
 * that are `undefined` are left out; whatever lies deeper than 4,000 levels is written as `null`.
 */
export const stringify = (value: Json): string => write(value, [], "", 0)

const isJson = (value: unknown, depth = 0): value is Json => {
  switch (typeof value) {
    case "string":
    case "number":
    case "boolean":
    case "bigint":
      return true
    case "object":
      return value === null ||
        (depth <= maxWriteDepth && Object.values(value).every((member) => isJson(member, depth + 1)))
    default:
      return false
  }
}

/** A JSON value that travels as its text, so that its integers and NaN survive a boundary that knows neither. */
export const JsonFromText: Schema.Codec<Json, string> = Schema.String.pipe(
  Schema.decodeTo(
    Schema.declare(isJson, { title: "Json" }),
    SchemaTransformation.transformEffect({
      decode: (text, options) => {
        const result = parse(text)
        return Result.isSuccess(result)
          ? Effect.succeed(result.success)
          : Effect.fail(new SchemaIssue.InvalidValue({ message: "not JSON" }, text, options))
      },
      encode: (value) => Effect.succeed(stringify(value))
    })
  )
)
