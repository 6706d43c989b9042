/** The servers that a pool restarts by their owner's hook: tells `Restarts` what happens, and does what it decides. */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import type * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import type { Fleet } from "./Fleet.ts"
import type * as Member from "./Member.ts"
import * as Restarts from "./Restarts.ts"
import * as ServerControl from "./ServerControl.ts"

/** The parts of a pool that restarts change or wake. */
export interface Options {
  readonly fleet: Fleet
  readonly tell: (server: BackendId, told: ReadonlyArray<Member.Told>) => void
  /** A server may get jobs again. */
  readonly wake: () => void
  readonly restarts?: Partial<Restarts.Options> | undefined
}

/** What the pool hears, for its restarts. */
export interface Control {
  readonly noticed: (notice: Breakers.Notice) => void
  readonly told: (server: BackendId, told: ReadonlyArray<Member.Told>) => void
  /** What its process says of its machine was read. */
  readonly described: (member: Member.Member) => void
}

const settleMs = Duration.toMillis(Defaults.machines.settle)

/** Of the faults that breakers tell of, those that end with the process. */
const curable = (cause: string): cause is "WorkerStuck" | "GpuPoisoned" =>
  cause === "WorkerStuck" || cause === "GpuPoisoned"

const inputOf = (server: BackendId, told: Member.Told): Restarts.Input | undefined => {
  switch (told._tag) {
    case "ServerRestarted":
      return { _tag: "Answers", server, isNew: true }
    case "ServerConnected":
      return { _tag: "Answers", server, isNew: false }
    case "ServerHealth":
      return told.healthy ? { _tag: "Answers", server, isNew: false } : undefined
    case "ServerResumed":
      return { _tag: "Reset", server }
    case "ServerRemoved":
      return { _tag: "Removed", server }
    default:
      return undefined
  }
}

/** Restarts servers in the scope of the caller: hooks end with it. */
export const make = Effect.fnUntraced(function*(
  { fleet, restarts, tell, wake }: Options
): Effect.fn.Return<Control, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const fork = yield* FiberSet.makeRuntime()
  const latch = Latch.makeUnsafe()
  const state = Restarts.init(restarts)
  const withinMs = state.options.within
  const now = () => readTime(clock).now

  const act = (input: Restarts.Input) => {
    for (const decision of Restarts.step(state, input, now())) carryOut(decision)
  }
  const take = (input: Restarts.Input) => {
    act(input)
    latch.openUnsafe()
  }

  const restart = (server: BackendId, step: ServerControl.Step) =>
    Effect.matchEffect(ServerControl.call(step, withinMs), {
      onSuccess: () => Effect.sync(() => take({ _tag: "Called", server })),
      onFailure: (cause) => Effect.sync(() => take({ _tag: "Failed", server, cause }))
    })

  const carryOut = (decision: Restarts.Decision) => {
    const { server } = decision
    const member = fleet.members.get(server)
    if (member === undefined) return
    switch (decision._tag) {
      case "Hold":
        member.held = "restarting"
        return
      case "Restart": {
        tell(server, [{ _tag: "ServerRestarting", cause: decision.cause }])
        const { restart: step } = member.control
        if (step !== undefined) fork(restart(server, step))
        return
      }
      case "Eject":
        member.held = "ejected"
        return tell(server, [{ _tag: "ServerControlFailed", action: "restart", cause: decision.cause }])
      case "Admit":
        member.held = undefined
        return wake()
    }
  }

  const tick = Effect.sync(() =>
    act({
      _tag: "Tick",
      servers: fleet.members.size,
      isBusy: (server) => [...fleet.members.get(server)?.runs.values() ?? []].some(({ fenced }) => !fenced),
      isWell: (server) => !fleet.breakers.blocked.has(server)
    })
  )

  yield* Effect.forkScoped(Effect.gen(function*() {
    for (;;) {
      latch.closeUnsafe()
      yield* tick
      const ms = Restarts.nextDue(state, settleMs, now()) - now()
      yield* Number.isFinite(ms) ? Effect.timeoutOption(latch.await, Math.max(1, Math.ceil(ms))) : latch.await
    }
  }))

  const canRestart = (server: BackendId): boolean => fleet.members.get(server)?.control.restart !== undefined

  return {
    noticed: (notice) => {
      if (notice._tag === "Unblocked" || !curable(notice.cause) || !canRestart(notice.server)) return
      take({ _tag: "Wanted", server: notice.server, cause: notice.cause })
    },
    told: (server, told) => {
      if (!state.servers.has(server)) return
      for (const one of told) {
        const input = inputOf(server, one)
        if (input !== undefined) take(input)
      }
    },
    described: ({ capabilities, facts: { id: server }, runs }) => {
      const { ramFreeBytes, ramTotalBytes } = capabilities?.machine ?? {}
      if (runs.size > 0 || !canRestart(server)) return
      if (typeof ramFreeBytes !== "number" || typeof ramTotalBytes !== "number") return
      take({ _tag: "Memory", server, freeBytes: ramFreeBytes, totalBytes: ramTotalBytes })
    }
  }
})
