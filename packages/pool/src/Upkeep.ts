/**
 * What a pool does for its servers when it is time: leases that end, servers that nobody hears of, memory that is given
 * back. One fiber for all of them.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import * as Defaults from "./Defaults.ts"
import type { Fleet } from "./Fleet.ts"
import * as Lease from "./Lease.ts"
import * as Member from "./Member.ts"

/** The parts of a pool that this changes or wakes. */
export interface Options {
  readonly fleet: Fleet
  readonly tell: (server: BackendId, told: ReadonlyArray<Member.Told>) => void
  /** Takes a server out of the pool, and gives it back to its owner. */
  readonly remove: (id: BackendId) => Effect.Effect<boolean>
  /** Servers that have had nothing to do for so long are asked to free their memory; infinity: none. Milliseconds. */
  readonly freeAfterMs: number
}

/** Looks again: a server was added or is silent, or its lease changed. */
export interface Upkeep {
  readonly wake: () => void
}

/** What is due for one server. */
type Due = "drain" | "drained" | "release" | "gone" | "free"

/** What was done already for one server, so that it is done once. */
interface Done {
  drained: boolean
  /** {@link Member.Member.aliveAt} when it was told of as gone. */
  goneSince: number
  /** {@link Member.Member.freeSince} when its memory was freed. */
  freedSince: number
}

const { misses } = Defaults.health
const goneMs = Duration.toMillis(Defaults.machines.gone)
const settleMs = Duration.toMillis(Defaults.machines.settle)

/** Rented, or its owner wants it back: nobody waits for it once it is silent. */
const isRented = ({ control, facts }: Member.Member): boolean =>
  facts.availableUntil !== undefined || control.release !== undefined

/** What is to be done next, and when, monotonic milliseconds. */
const nextOf = (
  member: Member.Member,
  done: Done,
  freeAfterMs: number,
  now: number
): ReadonlyArray<readonly [at: number, due: Due]> => {
  const out: Array<readonly [number, Due]> = []
  if (member.draining === undefined) out.push([Lease.drainsAt(member), "drain"])
  if (member.draining === "lease") {
    const idleAt = member.runs.size === 0 ? now : now + settleMs
    if (!done.drained) out.push([idleAt, "drained"])
    if (member.control.release !== undefined) out.push([Math.max(member.leaseEndsAt, idleAt), "release"])
  }
  if (!Member.isSilent(member, misses)) out.push([now + goneMs, "gone"])
  else if (done.goneSince !== member.aliveAt) out.push([member.aliveAt + goneMs, "gone"])
  if (member.runs.size > 0) out.push([now + freeAfterMs, "free"])
  else if (done.freedSince !== member.freeSince) out.push([member.freeSince + freeAfterMs, "free"])
  return out
}

/** Looks after the servers in the scope of the caller. */
export const make = Effect.fnUntraced(function*(
  { fleet, freeAfterMs, remove, tell }: Options
): Effect.fn.Return<Upkeep, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const fork = yield* FiberSet.makeRuntime()
  const latch = Latch.makeUnsafe()
  const done = new WeakMap<Member.Member, Done>()

  const doneFor = (member: Member.Member): Done => {
    const known = done.get(member) ?? { drained: false, goneSince: Number.NaN, freedSince: Number.NaN }
    done.set(member, known)
    return known
  }

  const leave = (id: BackendId, why: "lease" | "silent") =>
    Effect.map(Effect.uninterruptible(remove(id)), (wasThere) => {
      if (wasThere) tell(id, [{ _tag: "ServerGone", why, removed: true }])
    })

  const perform = (member: Member.Member, due: Due) => {
    const { backend, facts: { id } } = member
    const so = doneFor(member)
    switch (due) {
      case "drain":
        member.draining = "lease"
        so.drained = false
        return tell(id, [{ _tag: "ServerDraining" }])
      case "drained":
        so.drained = true
        return tell(id, [{ _tag: "ServerDrained" }])
      case "release":
        // Its client may take seconds to close: the others do not wait for it.
        return fork(leave(id, "lease"))
      case "gone":
        if (isRented(member)) return fork(leave(id, "silent"))
        so.goneSince = member.aliveAt
        return tell(id, [{ _tag: "ServerGone", why: "silent", removed: false }])
      case "free":
        so.freedSince = member.freeSince
        // What others work with there is theirs to free.
        if (backend !== undefined && member.connected && member.load.foreign === 0) {
          return fork(Effect.ignore(backend.freeMemory))
        }
        return undefined
    }
  }

  /** Does what is due; when to look again. */
  const look = Effect.sync(() => {
    let until = Number.POSITIVE_INFINITY
    for (const member of [...fleet.members.values()]) {
      const { now } = readTime(clock)
      for (const [at, due] of nextOf(member, doneFor(member), freeAfterMs, now)) {
        until = Math.min(until, Math.max(at, now))
        if (at <= now && fleet.members.get(member.facts.id) === member) perform(member, due)
      }
    }
    return until
  })

  yield* Effect.forkScoped(Effect.gen(function*() {
    for (;;) {
      latch.closeUnsafe()
      const until = yield* look
      const ms = Math.max(1, Math.ceil(until - readTime(clock).now))
      yield* Number.isFinite(until) ? Effect.timeoutOption(latch.await, ms) : latch.await
    }
  }))

  return { wake: () => void latch.openUnsafe() }
})
