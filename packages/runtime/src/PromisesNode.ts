// @effect-diagnostics newPromise:off
/** Effects as promises and streams as iterations, of which none is left open when they are closed. */
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as ComfyError from "./ComfyError.ts"

/** The way from one world to the other. */
export interface Promises<R> {
  /** Runs it at once; rejected with a `ComfyError`. An abort interrupts it, which is the reason `Cancelled`. */
  readonly run: <A, E>(effect: Effect.Effect<A, E, R>, signal?: AbortSignal) => Promise<A>
  /** Each iteration is a subscription; an abort ends it, as does the closing. */
  readonly iterate: <A, E>(stream: Stream.Stream<A, E, R>, signal?: AbortSignal) => AsyncIterable<A>
  /** Settles whatever is open still; later calls are rejected as `Closed`. */
  readonly close: Effect.Effect<void>
}

const closed = new PoolError({ reason: { _tag: "Closed" } })

const errorOf = (cause: Cause.Cause<unknown>, signal: AbortSignal | undefined): ComfyError.ComfyError => {
  const failure = Cause.findErrorOption(cause)
  if (Option.isSome(failure)) return ComfyError.from(failure.value)
  if (!Cause.hasInterruptsOnly(cause)) return ComfyError.from(Cause.squash(cause))
  if (signal?.aborted !== true) return ComfyError.from(closed)
  return new ComfyError.ComfyError("aborted", "Cancelled", "caller", signal.reason)
}

/** Done when the signal is aborted; without one never. */
export const aborted = (signal: AbortSignal | undefined): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (signal === undefined) return
    if (signal.aborted) return resume(Effect.void)
    const listener = () => resume(Effect.void)
    signal.addEventListener("abort", listener, { once: true })
    return Effect.sync(() => signal.removeEventListener("abort", listener))
  })

/** Effects get these services. */
export const make = <R>(context: Context.Context<R>): Promises<R> => {
  const fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  const end = Deferred.makeUnsafe<void>()
  const fork = Effect.runForkWith(context)

  const run = <A, E>(effect: Effect.Effect<A, E, R>, signal?: AbortSignal): Promise<A> => {
    if (Deferred.isDoneUnsafe(end)) return Promise.reject(ComfyError.from(closed))
    const fiber = fork(effect, signal === undefined ? {} : { signal })
    fibers.add(fiber)
    return new Promise((resolve, reject) => {
      fiber.addObserver((exit) => {
        fibers.delete(fiber)
        if (Exit.isSuccess(exit)) resolve(exit.value)
        else reject(errorOf(exit.cause, signal))
      })
    })
  }

  return {
    run,
    iterate: (stream, signal) =>
      stream.pipe(
        Stream.catchCause((cause) => Stream.fail(errorOf(cause, signal))),
        Stream.interruptWhen(Effect.raceFirst(Deferred.await(end), aborted(signal))),
        Stream.toAsyncIterableWith(context)
      ),
    close: Effect.suspend(() => {
      Deferred.doneUnsafe(end, Effect.void)
      return Fiber.interruptAll(fibers)
    })
  }
}
