/** The servers of a pool, as they come and go. Each lives in a scope of its own: what is taken out is closed. */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Stream from "effect/Stream"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import { latest } from "./internal/latest.ts"
import * as Lease from "./Lease.ts"
import * as Member from "./Member.ts"
import * as ServerControl from "./ServerControl.ts"
import * as Servers from "./Servers.ts"
import * as Storage from "./Storage.ts"
import * as Upkeep from "./Upkeep.ts"

/** What can be done with servers while the pool runs. */
export interface Shape {
  /** False: there is a server of this name. */
  readonly add: (spec: Servers.ServerSpec) => Effect.Effect<boolean>
  /**
   * Its run is ended and tried elsewhere, after the files of earlier ones have been collected, which is waited for up to
   * two minutes, and it is given back by its `release`; false: there is none. Drain first to let it finish.
   */
  readonly remove: (id: BackendId) => Effect.Effect<boolean>
  /** Nothing new is placed there; done when it is idle, and all files of its runs are collected. */
  readonly drain: (id: BackendId) => Effect.Effect<void>
  /**
   * Other tags, weight or VRAM, another lease or price from now on; what is not given stays. With a longer lease a server
   * that was drained for its end takes jobs again. False: there is no such server.
   */
  readonly update: (
    id: BackendId,
    facts: Pick<Servers.ServerSpec, "tags" | "weight" | "vramBytes" | "availableUntil" | "costPerHour">
  ) => Effect.Effect<boolean>
  readonly pause: (id: BackendId) => Effect.Effect<void>
  /** Ends its pause, its draining, and that it was put out after a restart that failed. */
  readonly resume: (id: BackendId) => Effect.Effect<void>
  /** Asks the server, or all that are reached, to drop models and results from memory; how many of them took it. */
  readonly free: (id?: BackendId) => Effect.Effect<number>
  /** Closes its breakers and ends its pause, or those of all. */
  readonly unblock: (id?: BackendId) => Effect.Effect<void>
  readonly get: Effect.Effect<ReadonlyArray<Member.View>>
  /** The servers now, and whenever something changed; the latest wins. */
  readonly changes: Stream.Stream<ReadonlyArray<Member.View>>
}

/** Servers that are kept for short jobs, named one by one or by a tag of theirs. */
export interface Lane {
  /** Only jobs that are expected to run for less than this; unknown ones not. */
  readonly under: Duration.Input
  readonly servers?: ReadonlyArray<BackendId>
  readonly tags?: ReadonlyArray<string>
}

/** What membership changes and wakes, and how servers are looked after. */
export interface Options extends Omit<Servers.Watcher, "reading">, Servers.Options {
  readonly lanes: ReadonlyArray<Lane>
  /** Servers that have had nothing to do for so long are asked to free their memory. Default: none. */
  readonly freeAfter?: Duration.Input | undefined
}

/** The narrowest of the lanes that the server stands in; infinity outside of all. */
const underOf = (lanes: ReadonlyArray<Lane>, id: BackendId, tags: ReadonlyArray<string>): number =>
  Math.min(
    Number.POSITIVE_INFINITY,
    ...lanes.filter((lane) => lane.servers?.includes(id) === true || lane.tags?.some((tag) => tags.includes(tag)))
      .map(({ under }) => Duration.toMillis(Duration.fromInputUnsafe(under)))
  )

/** The members of the pool whose scope this is. */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Shape, never, Scope.Scope> {
  const { fleet, notice, wake } = options
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const changed = yield* PubSub.sliding<void>(1)
  const scopes = new Map<BackendId, Scope.Closeable>()
  const now = () => readTime(clock).now
  const fork = yield* FiberSet.makeRuntime()

  const tell: Servers.Watcher["tell"] = (server, told) => {
    if (told.length === 0) return
    options.tell(server, told)
    PubSub.publishUnsafe(changed, undefined)
    if (told.some(({ _tag }) => _tag === "ServerDisconnected" || _tag === "ServerHealth")) upkeep.wake()
  }
  const reading = yield* Semaphore.make(Defaults.health.reading)
  const watcher: Servers.Watcher = { ...options, tell, reading }

  const upkeep = yield* Upkeep.make({
    fleet,
    tell,
    remove: (id) => remove(id),
    freeAfterMs: options.freeAfter === undefined
      ? Number.POSITIVE_INFINITY
      : Duration.toMillis(Duration.fromInputUnsafe(options.freeAfter))
  })

  const resized = () => notice(Breakers.step(fleet.breakers, { _tag: "Fleet", servers: fleet.members.size }, now()))

  const add = (spec: Servers.ServerSpec) =>
    Effect.gen(function*() {
      if (fleet.members.has(spec.id)) return false
      const { availableUntil, control = {}, costPerHour, id, tags = [], vramBytes, weight = 1 } = spec
      const underMs = underOf(options.lanes, id, tags)
      const host = Servers.hostOf(spec)
      const facts = { id, host, tags: new Set(tags), weight, vramBytes, underMs, availableUntil, costPerHour }
      const leaseEndsAt = Lease.endsAt(availableUntil, readTime(clock))
      const member = Member.make(facts, now(), { control, leaseEndsAt })
      fleet.members.set(spec.id, member)
      resized()
      const own = yield* Scope.fork(scope)
      scopes.set(spec.id, own)
      tell(spec.id, [{ _tag: "ServerAdded", tags }])
      yield* Scope.provide(Servers.watch(spec, member, watcher, options), own)
      upkeep.wake()
      return true
    })

  const ofMember = (id: BackendId, change: (member: Member.Member) => ReadonlyArray<Member.Told>) =>
    Effect.sync(() => {
      const member = fleet.members.get(id)
      if (member === undefined) return
      tell(id, change(member))
      wake()
    })

  const until = Effect.fnUntraced(function*(isSo: () => boolean) {
    while (!isSo()) yield* Effect.sleep("100 millis")
  })

  const drain = (id: BackendId) =>
    Effect.gen(function*() {
      yield* ofMember(id, (member) => {
        member.draining = "asked"
        return [{ _tag: "ServerDraining" }]
      })
      yield* until(() => {
        const member = fleet.members.get(id)
        return member === undefined || member.runs.size + member.collecting === 0
      })
      yield* ofMember(id, () => [{ _tag: "ServerDrained" }])
    })

  /** In the background: a cloud may take minutes. */
  const giveBack = ({ control: { release }, facts: { id } }: Member.Member) => {
    if (release === undefined) return
    fork(
      Effect.catch(
        ServerControl.call(release, Defaults.restarts.release),
        (cause) => Effect.sync(() => tell(id, [{ _tag: "ServerControlFailed", action: "release", cause }]))
      )
    )
  }

  const remove = (id: BackendId): Effect.Effect<boolean> =>
    Effect.gen(function*() {
      const member = fleet.members.get(id)
      if (member === undefined) return false
      member.draining = "asked"
      // What has run there is not to run again for the sake of its files.
      yield* Effect.timeoutOption(until(() => member.collecting === 0), Defaults.collect.removal)
      if (fleet.members.get(id) !== member) return false
      const own = scopes.get(id)
      scopes.delete(id)
      const gone = Fleet.remove(fleet, id, now())
      // Its client closes, and with it the run that is open there: that job goes elsewhere.
      if (own !== undefined) yield* Scope.close(own, Exit.void)
      notice(gone)
      resized()
      tell(id, [{ _tag: "ServerRemoved" }])
      giveBack(member)
      wake()
      return true
    })

  const get = Effect.sync(() => Fleet.views(fleet, now()))

  return {
    add,
    remove,
    drain,
    pause: (id) =>
      ofMember(id, (member) => {
        member.paused = true
        return [{ _tag: "ServerPaused" }]
      }),
    resume: (id) =>
      ofMember(id, (member) => {
        member.paused = false
        member.draining = undefined
        upkeep.wake()
        return [{ _tag: "ServerResumed" }]
      }),
    free: (id) =>
      Effect.suspend(() => {
        const asked = [...fleet.members.values()].filter(({ facts }) => id === undefined || facts.id === id)
        const free = (member: Member.Member) =>
          member.backend === undefined || Member.isSilent(member, Defaults.health.misses)
            ? Effect.succeed(0)
            : Effect.match(member.backend.freeMemory, { onFailure: () => 0, onSuccess: () => 1 })
        const took = Effect.forEach(asked, free, { concurrency: Defaults.machines.freeing })
        return Effect.map(took, (all) => all.reduce<number>((total, one) => total + one, 0))
      }),
    unblock: (id) =>
      Effect.sync(() => {
        notice(Breakers.step(fleet.breakers, { _tag: "Reset", server: id ?? null, key: null }, now()))
        notice(Storage.step(fleet.storage, { _tag: "Forget", server: id ?? null, by: "reset" }, now()))
        for (const member of fleet.members.values()) {
          if (id === undefined || member.facts.id === id) member.restsUntil = Number.NEGATIVE_INFINITY
        }
        wake()
      }),
    update: (id, { availableUntil, costPerHour, tags, vramBytes, weight }) =>
      Effect.map(
        ofMember(id, (member) => {
          const { facts } = member
          const isOther = availableUntil !== undefined && availableUntil !== facts.availableUntil
          if (isOther) member.leaseEndsAt = Lease.endsAt(availableUntil, readTime(clock))
          const named = tags ?? [...facts.tags]
          member.facts = {
            id,
            host: facts.host,
            availableUntil: availableUntil ?? facts.availableUntil,
            costPerHour: costPerHour ?? facts.costPerHour,
            tags: new Set(named),
            weight: weight ?? facts.weight,
            vramBytes: vramBytes ?? facts.vramBytes,
            underMs: underOf(options.lanes, id, named)
          }
          const updated = { _tag: "ServerUpdated", tags: named, weight: member.facts.weight } as const
          upkeep.wake()
          if (member.draining !== "lease" || Lease.drainsAt(member) <= now()) return [updated]
          member.draining = undefined
          // A longer lease does not mend what was put out.
          return member.held === undefined ? [updated, { _tag: "ServerResumed" }] : [updated]
        }),
        () => fleet.members.has(id)
      ),
    get,
    changes: latest(get, changed)
  }
})
