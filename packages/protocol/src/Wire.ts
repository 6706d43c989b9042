/**
 * How this package reads JSON of a server: a value **is** the parsed JSON, checked by a schema of the part that is
 * known. Nothing is copied or renamed, so members and enum values of newer servers survive; encoding writes the value
 * as it stands, and an edit is a spread.
 */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaJITCompiler from "effect/schema/SchemaJITCompiler"
import * as SchemaIssue from "effect/SchemaIssue"

/** Why a value is not what it should be: where, what stands there (at most 200 characters), and what should. */
export interface DecodeProblem {
  readonly path: Json.JsonPath
  readonly expected: string
  readonly excerpt: string
}

/** Checks the known part of one kind of JSON value and gives back the very value it was given. Never throws. */
export interface Decoder<out A extends Json.Json> {
  /** For people and logs. */
  readonly name: string
  readonly decode: (json: Json.Json) => Result.Result<A, DecodeProblem>
  /** The same from text, in which `NaN` may stand bare and integers may have any size. */
  readonly decodeText: (text: string) => Result.Result<A, DecodeProblem>
}

/** A decoder and its way back: `encode` writes every member and every digit. */
export interface Codec<A extends Json.Json> extends Decoder<A> {
  readonly schema: Schema.Schema<A>
  readonly is: (json: Json.Json) => json is A
  readonly encode: (value: A) => string
}

/** What a codec decodes to. */
export type Type<C> = C extends Decoder<infer A> ? A : never

/** The start of a text, at most 200 UTF-16 units: enough to recognise it in a log. */
export const excerpt = (text: string): string => text.length > 200 ? `${text.slice(0, 199)}…` : text

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const problemOf = (issue: SchemaIssue.Issue, json: Json.Json): DecodeProblem => {
  const first = format(issue).issues[0]
  const path: Array<string | number> = []
  let found: Json.Json | undefined = json
  for (const segment of first?.path ?? []) {
    const key = typeof segment === "object" ? segment.key : segment
    if (typeof key === "symbol") continue
    path.push(key)
    if (Array.isArray(found)) found = found[Number(key)]
    else found = Json.isObject(found) ? Json.get(found, String(key)) : undefined
  }
  return {
    path,
    expected: first?.message ?? "another value",
    excerpt: found === undefined ? "" : excerpt(Json.stringify(found))
  }
}

/** A codec of that schema. */
export const make = <A extends Json.Json>(name: string, schema: Schema.Codec<A>): Codec<A> => {
  SchemaJITCompiler.enable(schema.ast)
  const is = Schema.is(schema)
  const explain = Schema.decodeUnknownResult(schema)
  const decode = (json: Json.Json): Result.Result<A, DecodeProblem> => {
    if (is(json)) return Result.succeed(json)
    const result = explain(json)
    return Result.isFailure(result)
      ? Result.fail(problemOf(result.failure.issue, json))
      : Result.succeed(result.success)
  }
  return {
    name,
    schema,
    is,
    decode,
    decodeText: (text) => {
      const json = Json.parse(text)
      return Result.isFailure(json)
        ? Result.fail({ path: [], expected: "JSON", excerpt: excerpt(text) })
        : decode(json.success)
    },
    encode: Json.stringify
  }
}

/** Any JSON. Not looked into: what is checked here came out of `Json.parse`. */
export const json = Schema.Unknown as Schema.Codec<Json.Json>

/** Any JSON object. */
export const object: Schema.Codec<Json.JsonObject> = Schema.Record(Schema.String, json)

/** A number as Python writes it: NaN, an infinity, or an integer of any size (then a `bigint`) among them. */
export const number: Schema.Codec<number | bigint> = Schema.Union([Schema.Number, Schema.BigInt])

/** Sizes, counts and times: what a server sends for them, NaN included, but nothing beyond 2^53. */
export const double: Schema.Codec<number> = Schema.Number

/** An array of strings, such as node ids. */
export const strings = Schema.Array(Schema.String)

/** Whether a value is an array of strings. */
export const isStrings = Schema.is(strings)

/** One of these, or a value that only newer servers know. */
export const open = <const A extends ReadonlyArray<string>>(..._known: A): Schema.Codec<A[number] | (string & {})> =>
  Schema.String as Schema.Codec<A[number] | (string & {})>

/** A member that may be absent, or null, as in what V3 nodes and pydantic write. */
export const nullish = <A>(schema: Schema.Codec<A>): Schema.optionalKey<Schema.NullOr<Schema.Codec<A>>> =>
  Schema.optionalKey(Schema.NullOr(schema))
