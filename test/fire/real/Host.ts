/** A fake process, and a book of what it did that outlives it: the ledger of a killed process is lost with it. */
import type { FakeComfy, FakeServer, Fault } from "@effect-comfyui/testing"
import { type FakeProcess, spawnFake, type SpawnOptions } from "@effect-comfyui/testing/SpawnFakeNode"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { performance } from "node:perf_hooks"
import nodeProcess from "node:process"

/** A hold on a process that may be killed and started again. */
export interface Host {
  readonly process: FakeProcess
  readonly server: FakeServer<Fault.FaultData>
  /** How many processes are dead, and how many have begun to die: from their last {@link record} on nobody knows. */
  readonly deaths: () => { readonly begun: number; readonly done: number }
  /** What is known of all processes; of the dead ones what they knew when they were last asked. */
  readonly ledger: Effect.Effect<FakeComfy.Ledger>
  /** Asks what the process knows, so that it is not lost with it. Begins its death: a {@link restart} must follow. */
  readonly record: Effect.Effect<void>
  /** {@link record}, unless that was done before, then SIGKILL. */
  readonly kill: Effect.Effect<void>
  /** It ended by itself. */
  readonly died: Effect.Effect<void>
  /** A new process on the same port; kills the old one first, if it lives. */
  readonly restart: Effect.Effect<void>
  /** Forgets what the dead knew of prompts that nobody will ask about any more. */
  readonly forget: (isOpen: (promptId: string) => boolean) => void
}

const empty: FakeComfy.Ledger = { prompts: [], nodes: [], dropped: 0 }

const join = (one: FakeComfy.Ledger, other: FakeComfy.Ledger): FakeComfy.Ledger => ({
  prompts: [...one.prompts, ...other.prompts],
  nodes: [...one.nodes, ...other.nodes],
  dropped: one.dropped + other.dropped
})

/** Starts a process; closing the scope kills it. */
export const make: (options?: SpawnOptions) => Effect.Effect<Host, never, Scope.Scope> = Effect.fnUntraced(
  function*(options: SpawnOptions = {}) {
    const process = yield* spawnFake({ testNodes: true, ...options })
    let buried = empty
    let last = empty
    let alive = true
    let begun = 0
    let done = 0
    const record = Effect.suspend(() => {
      begun = done + 1
      // A process that has ended unasked cannot be asked any more.
      return Effect.ignoreCause(Effect.map(process.server.ledger, (ledger) => {
        last = ledger
      }))
    })
    const bury = Effect.sync(() => {
      if (!alive) return
      alive = false
      done++
      begun = done
      buried = join(buried, last)
      last = empty
    })
    const kill = Effect.suspend(() =>
      alive
        ? Effect.suspend(() => begun === done ? record : Effect.void).pipe(
          Effect.andThen(process.kill()),
          Effect.andThen(bury)
        )
        : Effect.void
    )
    return {
      process,
      server: process.server,
      deaths: () => ({ begun, done }),
      ledger: Effect.suspend(() =>
        alive ? Effect.map(process.server.ledger, (now) => join(buried, now)) : Effect.succeed(buried)
      ),
      record,
      kill,
      died: Effect.andThen(process.ended, bury),
      restart: kill.pipe(
        Effect.andThen(process.restart),
        Effect.andThen(Effect.sync(() => {
          alive = true
        }))
      ),
      forget: (isOpen) => {
        const keep = ({ promptId }: { readonly promptId: string }) => isOpen(promptId)
        buried = { ...buried, prompts: buried.prompts.filter(keep), nodes: buried.nodes.filter(keep) }
      }
    }
  }
)

/** Waits until the ledger says so; a scenario whose jobs never come so far is over by then. */
export const once = (host: Host, test: (ledger: FakeComfy.Ledger) => boolean): Effect.Effect<void> =>
  Effect.asVoid(
    Effect.timeoutOption(Effect.repeat(Effect.delay(host.ledger, "3 millis"), { until: test }), "1 second")
  )

/** Kills it, and starts it again after so many milliseconds. */
export const killedAnd = (host: Host, ms: number): Effect.Effect<void> =>
  host.kill.pipe(Effect.andThen(Effect.sleep(ms)), Effect.andThen(host.restart))

/** Nothing of this thread goes on meanwhile: timers, sockets, answers. */
export const standStill = (ms: number): Effect.Effect<void> =>
  Effect.sync(() => {
    const until = performance.now() + ms
    while (performance.now() < until);
  })

/** Whether there is a process of this number. */
export const isAlive = (pid: number): Effect.Effect<boolean> =>
  Effect.match(Effect.try(() => nodeProcess.kill(pid, 0)), { onFailure: () => false, onSuccess: () => true })
