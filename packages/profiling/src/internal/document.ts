/** Reading versioned documents. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ProfilingError, type Reason } from "../ProfilingError.ts"

const fail = (reason: Reason): Result.Result<never, ProfilingError> => Result.fail(new ProfilingError({ reason }))

const invalid = (problem: string) => fail({ _tag: "InvalidDocument", problem: problem.slice(0, 500) })

const parse = Schema.decodeUnknownResult(Schema.fromJsonString(Schema.Unknown))

/** The value of a JSON text whose `version` is this one. */
export const read = <A, I>(
  schema: Schema.Codec<A, I>,
  version: number,
  text: string
): Result.Result<A, ProfilingError> => {
  const json = parse(text)
  if (Result.isFailure(json)) return invalid("no JSON")
  const document = json.success
  if (typeof document !== "object" || document === null || Array.isArray(document)) return invalid("no object")
  const found = "version" in document ? document.version : undefined
  if (found !== version) {
    return fail({ _tag: "UnsupportedVersion", found: typeof found === "number" ? found : null, supported: version })
  }
  const decoded = Schema.decodeUnknownResult(schema)(document)
  return Result.isFailure(decoded) ? invalid(String(decoded.failure.message)) : Result.succeed(decoded.success)
}
