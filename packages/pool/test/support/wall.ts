// The clock of the test with a wall that can be moved; its timers and its monotonic side stay.
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

export const withSteps = <A, E, R>(program: (step: (ms: number) => void) => Effect.Effect<A, E, R>) =>
  Effect.clockWith((clock) => {
    let offset = 0
    const stepped: Clock.Clock = Object.create(clock, {
      currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + offset },
      currentTimeMillis: { value: Effect.sync(() => clock.currentTimeMillisUnsafe() + offset) }
    })
    return Effect.provideService(program((ms) => void (offset += ms)), Clock.Clock, stepped)
  })
