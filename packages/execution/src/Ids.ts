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

const hex = (word: number): string => word.toString(16).padStart(8, "0")

/** A version 4 UUID from the `Random` service: repeatable under a seed, and no secret. */
export const makeUuid: Effect.Effect<string> = Effect.map(Random.Random, (random) => {
  const word = (): number => Math.floor(random.nextDoubleUnsafe() * 0x1_0000_0000)
  const a = hex(word())
  const b = hex(word())
  const c = hex(word())
  const d = hex(word())
  const variant = "89ab".charAt(Math.floor(random.nextDoubleUnsafe() * 4))
  return `${a}-${b.slice(0, 4)}-4${b.slice(5)}-${variant}${c.slice(1, 4)}-${c.slice(4)}${d}`
})

/** A fresh run id. */
export const makeRunId: Effect.Effect<RunId> = Effect.map(makeUuid, (uuid) => RunId.make(uuid))
