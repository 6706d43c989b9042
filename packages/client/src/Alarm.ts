/** One timer for many waits: a fiber that sleeps until the earliest of them, however many there are. */
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import type { Context } from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"

/** What an alarm opens: a latch, or whatever else ends a wait. */
export interface Wait {
  openUnsafe(): unknown
}

/** Waits by what ends them; at most one each. */
export interface Alarm {
  /** Opens the wait at this monotonic millisecond; a later call moves it. */
  readonly set: (wait: Wait, at: number) => void
  readonly clear: (wait: Wait) => void
  /**
   * As `Effect.timeoutOrElse`, with one fiber where that has two and a timer: a run waits twice for each answer, and
   * next to nothing is ever late.
   */
  readonly timeoutOrElse: <A, E, R, B, E2>(
    self: Effect.Effect<A, E, R>,
    duration: Duration.Input,
    orElse: () => Effect.Effect<B, E2>
  ) => Effect.Effect<A | B, E | E2, R>
}

/** An alarm without waits ends with its scope; one that somebody outside still waits by, with the last of them. */
export const make: Effect.Effect<Alarm, never, Scope.Scope> = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context())
  const waits = new Map<Wait, number>()
  let target = Number.POSITIVE_INFINITY
  let sleeper: Fiber.Fiber<void> | undefined
  let closed = false

  const now = () => readTime(clock).now
  const sleep = () => {
    target = Math.min(...waits.values())
    sleeper = target === Number.POSITIVE_INFINITY
      ? undefined
      : fork(Effect.andThen(Effect.sleep(Math.max(1, Math.ceil(target - now()))), ring))
  }
  const ring = Effect.sync(() => {
    const time = now()
    for (const [wait, at] of waits) {
      if (at > time) continue
      waits.delete(wait)
      wait.openUnsafe()
    }
    sleep()
  })
  const rest = () => {
    sleeper?.interruptUnsafe()
    sleeper = undefined
    target = Number.POSITIVE_INFINITY
  }
  const set = (wait: Wait, at: number) => {
    waits.set(wait, at)
    if (at >= target) return
    sleeper?.interruptUnsafe()
    sleep()
  }
  const clear = (wait: Wait) => {
    waits.delete(wait)
    if (closed && waits.size === 0) rest()
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      closed = true
      if (waits.size === 0) rest()
    })
  )

  return {
    set,
    clear,
    timeoutOrElse: <A, E, R, B, E2>(
      self: Effect.Effect<A, E, R>,
      duration: Duration.Input,
      orElse: () => Effect.Effect<B, E2>
    ) =>
      Effect.contextWith((context: Context<R>) =>
        Effect.callback<A | B, E | E2>((resume) => {
          let late = false
          const fiber = Effect.runForkWith(context)(self)
          const wait = {
            openUnsafe: () => {
              late = true
              fiber.interruptUnsafe()
            }
          }
          set(wait, now() + Duration.toMillis(duration))
          fiber.addObserver((exit) => {
            clear(wait)
            resume(late ? orElse() : exit)
          })
          return Fiber.interrupt(fiber)
        })
      )
  }
})
