/** The servers of a pool, as they come and go. Each lives in a scope of its own: what is taken out is closed. */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type * as Stream from "effect/Stream"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import * as Fleet from "./Fleet.ts"
import { latest } from "./internal/latest.ts"
import * as Member from "./Member.ts"
import * as Servers from "./Servers.ts"

/** What can be done with servers while the pool runs. */
export interface Shape {
  /** False: there is a server of this name. */
  readonly add: (spec: Servers.ServerSpec) => Effect.Effect<boolean>
  /**
   * Its run is ended and tried elsewhere, after the files of earlier ones have been collected, which is waited for up to
   * two minutes; false: there is none. Drain first to let it finish.
   */
  readonly remove: (id: BackendId) => Effect.Effect<boolean>
  /** Nothing new is placed there; done when it is idle, and all files of its runs are collected. */
  readonly drain: (id: BackendId) => Effect.Effect<void>
  /** Other tags, weight or VRAM from now on; what is not given stays. False: there is no such server. */
  readonly update: (
    id: BackendId,
    facts: Pick<Servers.ServerSpec, "tags" | "weight" | "vramBytes">
  ) => Effect.Effect<boolean>
  readonly pause: (id: BackendId) => Effect.Effect<void>
  readonly resume: (id: BackendId) => Effect.Effect<void>
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

  const tell: Servers.Watcher["tell"] = (server, told) => {
    if (told.length === 0) return
    options.tell(server, told)
    PubSub.publishUnsafe(changed, undefined)
  }
  const reading = yield* Semaphore.make(Defaults.health.reading)
  const watcher: Servers.Watcher = { ...options, tell, reading }

  const resized = () => notice(Breakers.step(fleet.breakers, { _tag: "Fleet", servers: fleet.members.size }, now()))

  const add = (spec: Servers.ServerSpec) =>
    Effect.gen(function*() {
      if (fleet.members.has(spec.id)) return false
      const { id, tags = [], vramBytes, weight = 1 } = spec
      const underMs = underOf(options.lanes, id, tags)
      const member = Member.make({ id, tags: new Set(tags), weight, vramBytes, underMs }, now())
      fleet.members.set(spec.id, member)
      resized()
      const own = yield* Scope.fork(scope)
      scopes.set(spec.id, own)
      tell(spec.id, [{ _tag: "ServerAdded", tags }])
      yield* Scope.provide(Servers.watch(spec, member, watcher, options), own)
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
        member.draining = true
        return [{ _tag: "ServerDraining" }]
      })
      yield* until(() => {
        const member = fleet.members.get(id)
        return member === undefined || member.runs.size + member.collecting === 0
      })
      yield* ofMember(id, () => [{ _tag: "ServerDrained" }])
    })

  const remove = (id: BackendId) =>
    Effect.gen(function*() {
      const member = fleet.members.get(id)
      if (member === undefined) return false
      member.draining = true
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
      wake()
      return true
    })

  const get = Effect.sync(() =>
    [...fleet.members.values()].map((member) => Member.view(member, Defaults.health.misses))
  )

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
        member.draining = false
        return [{ _tag: "ServerResumed" }]
      }),
    unblock: (id) =>
      Effect.sync(() => {
        notice(Breakers.step(fleet.breakers, { _tag: "Reset", server: id ?? null, key: null }, now()))
        for (const member of fleet.members.values()) {
          if (id === undefined || member.facts.id === id) member.restsUntil = Number.NEGATIVE_INFINITY
        }
        wake()
      }),
    update: (id, { tags, vramBytes, weight }) =>
      Effect.map(
        ofMember(id, (member) => {
          const { facts } = member
          const named = tags ?? [...facts.tags]
          member.facts = {
            id,
            tags: new Set(named),
            weight: weight ?? facts.weight,
            vramBytes: vramBytes ?? facts.vramBytes,
            underMs: underOf(options.lanes, id, named)
          }
          return [{ _tag: "ServerUpdated", tags: named, weight: member.facts.weight }]
        }),
        () => fleet.members.has(id)
      ),
    get,
    changes: latest(get, changed)
  }
})
