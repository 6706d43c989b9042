/**
 * What was learnt of how long things take, kept in a store of Effect's, so that the next process starts where this one was.
 * Two places are written in turn, each whole: a process that is killed while it writes loses what one save was about.
 */
import * as Estimates from "@effect-comfyui/profiling/Estimates"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { KeyValueStore } from "effect/persistence/KeyValueStore"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Defaults from "./Defaults.ts"

/** Where, and how often. */
export interface Options {
  /** Of this pool alone: two that write to one store overwrite each other. */
  readonly store: KeyValueStore
  /** Between two saves, if anything was learnt. Default 5 minutes; the last one is made when the pool closes. */
  readonly every?: Duration.Input
}

/** The keys of the two places. */
export const keys = ["effect-comfyui.estimates.0", "effect-comfyui.estimates.1"] as const

/** What stands in one of them; the higher number is the newer one. */
const Save = Schema.fromJsonString(Schema.Struct({ save: Schema.Int, estimates: Estimates.Stored }))

const decode = Schema.decodeUnknownEffect(Save)

interface Place {
  readonly save: number
  readonly estimates: Estimates.Stored | undefined
}

const none: Place = { save: 0, estimates: undefined }

/** One place; what cannot be read is told of, and counts as empty. */
const read = ({ store }: Options, key: string): Effect.Effect<Place> =>
  store.get(key).pipe(
    Effect.flatMap((text) =>
      text === undefined ? Effect.succeed(none) : Effect.map(decode(text), (place): Place => place)
    ),
    Effect.catch((error) =>
      Effect.as(Effect.logWarning("estimates that were kept cannot be read", key, error.message.slice(0, 500)), none)
    )
  )

/** The newest that is whole, or nothing yet; then saved now and then until the scope closes, and once more at its end. */
export const open = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<Estimates.State, never, Scope.Scope> {
  const places = yield* Effect.forEach(keys, (key) => read(options, key))
  const newest = places.reduce((a, b) => b.save > a.save ? b : a)
  const state = newest.estimates === undefined ? Estimates.init() : Estimates.fromStored(newest.estimates)
  let { save } = newest
  let learnt = state.all.warm.count + state.all.cold.count
  const write = Effect.suspend(() => {
    const now = state.all.warm.count + state.all.cold.count
    if (now === learnt) return Effect.void
    const key = keys[(save + 1) % keys.length] ?? keys[0]
    const text = JSON.stringify({ save: save + 1, estimates: Estimates.toStored(state) })
    return Effect.map(options.store.set(key, text), () => {
      save++
      learnt = now
    })
  }).pipe(Effect.catch((error) => Effect.logWarning("estimates are not saved", error.message.slice(0, 500))))
  const every = options.every ?? Defaults.profiles.save
  yield* Effect.addFinalizer(() => write)
  yield* Effect.forkScoped(Effect.forever(Effect.delay(write, every)))
  return state
})
