/**
 * The three names of the domain. A job is the user's (one in a pool), a run is one attempt of it on one backend, and
 * `prompt_id` is the server's own name for a run, equal to the run id wherever the server accepts ours.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"

/** A user's job in a pool: any non-empty text of at most 200 characters. */
export const JobId = Schema.String.check(Schema.isNonEmpty(), Schema.isMaxLength(200)).pipe(Schema.brand("JobId"))
export type JobId = typeof JobId.Type

/** One attempt on one backend, never changed: a canonical lowercase UUID, as servers from 0.25 on require. */
export const RunId = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
).pipe(Schema.brand("RunId"))
export type RunId = typeof RunId.Type

/** The name of a backend: the user's word for a server, or its origin. */
export const BackendId = Schema.NonEmptyString.pipe(Schema.brand("BackendId"))
export type BackendId = typeof BackendId.Type

const digits = new TextEncoder().encode("0123456789abcdef")
const blank = Array.from({ length: 36 }, () => "-".charCodeAt(0))

/** Where the 32 digits of a UUID stand among its 36 characters. */
const places = Array.from({ length: 36 }, (_, i) => i).filter((i) => ![8, 13, 18, 23].includes(i))

/**
 * A version 4 UUID from the `Random` service: repeatable under a seed, and no secret. Made of characters at once: a text
 * that was put together of pieces keeps them all, and ids are kept by the hundred thousand.
 */
export const makeUuid: Effect.Effect<string> = Effect.map(Random.Random, (random) => {
  const codes = Array.from(blank)
  for (let word = 0; word < 4; word++) {
    let bits = Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)
    for (let digit = 7; digit >= 0; digit--) {
      codes[places[8 * word + digit] ?? 0] = digits[bits & 15] ?? 0
      bits >>>= 4
    }
  }
  codes[14] = digits[4] ?? 0
  codes[19] = digits[8 + Math.floor(random.nextDoubleUnsafe() * 4)] ?? 0
  return String.fromCharCode(...codes)
})

/** A fresh run id. */
export const makeRunId: Effect.Effect<RunId> = Effect.map(makeUuid, (uuid) => RunId.make(uuid))
