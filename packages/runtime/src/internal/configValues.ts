/** The values of a configuration: each with the words that say what it takes. */
import * as BaseUrl from "@effect-comfyui/client/BaseUrl"
import type * as ByteSize from "effect/ByteSize"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"

export const time = Schema.DurationFromString.check(
  Schema.makeFilter((duration: Duration.Duration) => Duration.toMillis(duration) > 0)
).annotate({ expected: "a time with its unit", example: "\"30 seconds\"" })

/** One that comes. */
export const finite = Schema.DurationFromString.check(
  Schema.makeFilter((duration: Duration.Duration) =>
    Duration.toMillis(duration) > 0 && Number.isFinite(Duration.toMillis(duration))
  )
).annotate({ expected: "a finite time with its unit", example: "\"30 seconds\"" })

export const size = Schema.ByteSizeFromString.check(
  Schema.makeFilter((bytes: ByteSize.ByteSize) => bytes > 0n)
).annotate({ expected: "a size with its unit", example: "\"24 GB\"" })

export const text = (expected: string, example: string) =>
  Schema.NonEmptyString.annotate({ expected, example: JSON.stringify(example) })

export const texts = (expected: string, example: string) => Schema.Array(text(expected, example))

export const count = (example: number) =>
  Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
    .annotate({ expected: "a whole number from 0", example: `${example}` })

/** From 1 to so many. */
export const few = (example: number, most: number) =>
  Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: most }))
    .annotate({ expected: `a whole number from 1 to ${most}`, example: `${example}` })

export const share = (example: number) =>
  Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
    .annotate({ expected: "a share from 0 to 1", example: `${example}` })

export const truth = (example: boolean) => Schema.Boolean.annotate({ expected: "true or false", example: `${example}` })

export const positive = (example: number) =>
  Schema.Finite.check(Schema.isGreaterThan(0)).annotate({ expected: "a number above 0", example: `${example}` })

export const oneOf = <const Words extends ReadonlyArray<string>>(words: Words) =>
  Schema.Literals(words).annotate({
    expected: `one of ${words.map((word) => JSON.stringify(word)).join(", ")}`,
    example: JSON.stringify(words[0])
  })

export const url = Schema.String.check(Schema.makeFilter((address: string) => {
  const parsed = BaseUrl.parse(address)
  return Result.isSuccess(parsed) ? undefined : parsed.failure.message
})).annotate({ expected: "an address", example: "\"http://gpu-1:8188\"", hidden: true })

const named = Schema.Struct({ env: Schema.NonEmptyString })

const isNamed = Schema.is(named)

/** From the variable of that name, of whatever `ConfigProvider` is there: the environment, if nobody says another. */
const variable = (name: string): Effect.Effect<Redacted.Redacted<string>, SchemaIssue.Issue> =>
  Effect.mapError(
    Config.Redacted(name),
    () => new SchemaIssue.InvalidValue({ message: `the variable ${name} is not set` })
  )

/** A secret is `Redacted` from here on. Files name a variable of the environment, and so hold none. */
export const secret = Schema.Union([Schema.NonEmptyString, named, Schema.Redacted(Schema.String)]).pipe(
  Schema.decodeTo(Schema.Redacted(Schema.String), {
    decode: SchemaGetter.transformEffect((given) =>
      isNamed(given)
        ? variable(given.env)
        : Effect.succeed(Redacted.isRedacted(given) ? given : Redacted.make(given))
    ),
    encode: SchemaGetter.passthroughSupertype()
  })
).annotate({ expected: "a secret", example: "{\"env\": \"COMFY_TOKEN\"}", hidden: true })

export const secrets = Schema.Record(Schema.String, secret)

/** Without a zone it would be another moment on each machine. */
const isDate = (moment: string): boolean => /T.*(Z|[+-]\d\d:\d\d)$/.test(moment) && Number.isFinite(Date.parse(moment))

export const date = Schema.String.check(Schema.makeFilter(isDate))
  .annotate({ expected: "a date with its time and zone", example: "\"2027-01-31T18:00:00Z\"" })
