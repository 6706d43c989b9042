/** State that others may watch and nobody but its owner may change. */
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"

/** A value that changes: `changes` begins with the present one and skips to the latest for slow readers. */
export interface Observable<A> {
  readonly get: Effect.Effect<A>
  readonly changes: Stream.Stream<A>
}
