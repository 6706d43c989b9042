/** Reading versioned documents. */
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { ProfilingError, type Reason } from "../ProfilingError.ts"

const fail = (reason: Reason): Result.Result<never, ProfilingError> => Result.fail(new ProfilingError({ reason }))

const invalid = (problem: string) => fail({ _tag: "InvalidDocument", problem: problem.slice(0, 500) })

/** The value of a JSON text whose `version` is this one. */
export const read = <A, I>(
  schema: Schema.Codec<A, I>,
  version: number,
  text: string
): Result.Result<A, ProfilingError> => {
  const json = Json.parse(text)
  if (Result.isFailure(json)) return invalid("no JSON")
  if (!Json.isObject(json.success)) return invalid("no object")
  const found = Json.get(json.success, "version")
  if (found !== version) {
    return fail({ _tag: "UnsupportedVersion", found: typeof found === "number" ? found : null, supported: version })
  }
  const decoded = Schema.decodeUnknownResult(schema)(json.success)
  return Result.isFailure(decoded) ? invalid(String(decoded.failure.message)) : Result.succeed(decoded.success)
}
