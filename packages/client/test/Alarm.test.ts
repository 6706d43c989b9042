import * as Alarm from "@effect-comfyui/client/Alarm"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"

/** Waits that write down their names. */
const named = (names: Array<string>) => (name: string): Alarm.Wait => ({ openUnsafe: () => names.push(name) })

describe("Alarm", () => {
  it.effect("opens each wait at its time, whichever was set first", () =>
    Effect.gen(function*() {
      const alarm = yield* Alarm.make
      const opened: Array<string> = []
      const wait = named(opened)
      const moved = wait("moved")
      const cleared = wait("cleared")
      alarm.set(wait("late"), 3_000)
      alarm.set(moved, 500)
      alarm.set(cleared, 800)
      alarm.set(wait("early"), 1_000)
      alarm.set(moved, 2_000)
      alarm.clear(cleared)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(opened, ["early"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(opened, ["early", "moved"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(opened, ["early", "moved", "late"])
    }))

  it.effect("gives what came in time, and interrupts what did not", () =>
    Effect.gen(function*() {
      const alarm = yield* Alarm.make
      const within = <A>(self: Effect.Effect<A>) => alarm.timeoutOrElse(self, "1 second", () => Effect.succeed("late"))
      assert.strictEqual(yield* within(Effect.succeed("at once")), "at once")
      const inTime = yield* Effect.forkChild(within(Effect.as(Effect.sleep("900 millis"), "in time")))
      let interrupted = 0
      const hangs = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted++
        }))
      const late = yield* Effect.forkChild(within(hangs))
      const gone = yield* Effect.forkChild(within(hangs))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(gone)
      assert.strictEqual(interrupted, 1)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(inTime), "in time")
      assert.strictEqual(yield* Fiber.join(late), "late")
      assert.strictEqual(interrupted, 2)
    }))

  it.effect("still ends what somebody waits for after its scope has closed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const alarm = yield* Scope.provide(Alarm.make, scope)
      const before = Latch.makeUnsafe(false)
      alarm.set(before, 1_000)
      yield* Scope.close(scope, Exit.void)
      const after = Latch.makeUnsafe(false)
      alarm.set(after, 2_000)
      yield* TestClock.adjust("2 seconds")
      yield* Latch.await(before)
      yield* Latch.await(after)
    }))
})
