/**
 * The life of one server in a pool: reached, watched, probed and read, all in the background of a scope. A dead server
 * delays nobody: it is a member that is not ready.
 */
import type { Backend, BackendError, BackendEvent } from "@effect-comfyui/execution/Backend"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import { readTime } from "@effect-comfyui/execution/Time"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Breakers from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"
import type { Fleet } from "./Fleet.ts"
import * as Member from "./Member.ts"
import * as Residency from "./Residency.ts"
import type { ServerControl } from "./ServerControl.ts"
import * as Storage from "./Storage.ts"

/** A server as somebody adds it to a pool. `R`: what the way to it needs, such as `HttpClient`. */
export interface ServerSpec<R = never> {
  readonly id: BackendId
  /**
   * The way to it, for as long as it is a member: the scope is the membership's. What fails is tried again, each time
   * later, up to 30 s apart.
   */
  readonly make: Effect.Effect<Backend, { readonly message: string }, R | Scope.Scope>
  /** Where it is, for people; found again under another address it is another server, and takes its place. */
  readonly address?: string
  readonly tags?: ReadonlyArray<string>
  /** How much it is given beside others: costs and shares on it are divided by this. Default 1. */
  readonly weight?: number
  /** Of its card, bytes. Default: what the server says. */
  readonly vramBytes?: number
  /**
   * The machine or site that it stands and falls with: a job that came to grief on one of its servers goes elsewhere while
   * another is idle. Default: the host of its address, else its id.
   */
  readonly host?: string
  /**
   * Until when it is rented, epoch milliseconds: it gets no job that would probably not be done and collected by then, and
   * nothing at all when no job would. What still runs then goes on for as long as it answers. Default: for good.
   */
  readonly availableUntil?: number
  /** In whatever currency; of two servers that nobody needs, the dearer one is worth releasing first. */
  readonly costPerHour?: number
  readonly control?: ServerControl<R>
}

/** A server stands and falls with this: what is said of it, the host of its address, or itself alone. */
export const hostOf = ({ address, host, id }: Pick<ServerSpec, "address" | "host" | "id">): string => {
  if (host !== undefined) return host
  return address !== undefined && URL.canParse(address) ? new URL(address).hostname : id
}

const provideControl = <R>({ release, restart }: ServerControl<R>, context: Context.Context<R>): ServerControl => ({
  ...release === undefined ? {} : { release: Effect.provideContext(release, context) },
  ...restart === undefined ? {} : { restart: Effect.provideContext(restart, context) }
})

/**
 * A server whose needs are met. Not with the scope of whoever meets them: a client that lived in that one would outlive
 * its membership.
 */
export const provide = <R>(
  { control, ...spec }: ServerSpec<R>,
  context: Context.Context<R>
): ServerSpec => ({
  ...spec,
  ...control === undefined ? {} : { control: provideControl(control, context) },
  make: Effect.updateContext(
    spec.make,
    (own: Context.Context<Scope.Scope>) => Context.add(context, Scope.Scope, Context.get(own, Scope.Scope))
  )
})

/** How servers are looked after. */
export interface Options {
  /** Between two probes of a server that says nothing. 0 or infinity: none. Default 15 s. */
  readonly probe?: Duration.Input
}

/** The parts of a pool that watching a server changes or wakes. */
export interface Watcher {
  readonly fleet: Fleet
  /** Of servers that are asked at once what they can run: the answer may have 20 MB. */
  readonly reading: Semaphore.Semaphore
  /** Tells of a server, whoever listens. */
  readonly tell: (server: BackendId, told: ReadonlyArray<Member.Told>) => void
  /** What the breakers said. */
  readonly notice: (notices: ReadonlyArray<Breakers.Notice>) => void
  /** Something changed that may let a job be placed. */
  readonly wake: () => void
  /** What a server can run became known or changed. */
  readonly learnt: (member: Member.Member) => void
}

const dialAgain = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")]).pipe(
  Schedule.jittered
)

/** What the server's process can do, read until it answers. */
const readCapabilities = Effect.fnUntraced(function*(backend: Backend, member: Member.Member, watcher: Watcher) {
  const found = yield* Effect.retry(watcher.reading.withPermits(1)(backend.capabilities), dialAgain)
  member.capabilities = found
  Residency.step(watcher.fleet.residency, { _tag: "Described", server: member.facts.id, facts: found })
  watcher.learnt(member)
  watcher.wake()
})

const causeOf = (error: BackendError): string => error.message

const probe = Effect.fnUntraced(function*(backend: Backend, member: Member.Member, watcher: Watcher) {
  const clock = yield* Clock.Clock
  const answer = yield* Effect.timeoutOption(Effect.result(backend.probe), Defaults.health.probeTimeout)
  const told = Member.probed(
    member,
    answer._tag === "None"
      ? { cause: "no answer in time" }
      : answer.value._tag === "Success"
      ? answer.value.success
      : { cause: causeOf(answer.value.failure) },
    Defaults.health.misses,
    readTime(clock).now
  )
  watcher.tell(member.facts.id, told)
  watcher.wake()
})

/** A frame is a better sign of life than an answer: only those that say nothing are asked. */
const probing = Effect.fnUntraced(function*(
  backend: Backend,
  member: Member.Member,
  watcher: Watcher,
  everyMs: number
) {
  const clock = yield* Clock.Clock
  yield* probe(backend, member, watcher)
  if (!(everyMs > 0) || !Number.isFinite(everyMs)) return
  for (;;) {
    const jitter = 0.8 + 0.4 * (yield* Random.next)
    yield* Effect.sleep(Math.ceil(everyMs * jitter))
    const isQuiet = readTime(clock).now - member.aliveAt >= everyMs / 2
    if (isQuiet || !member.connected) yield* probe(backend, member, watcher)
  }
})

const onEvent = (
  member: Member.Member,
  event: BackendEvent,
  watcher: Watcher,
  refresh: Latch.Latch,
  now: number
): void => {
  const { fleet } = watcher
  const server = member.facts.id
  const foreignBefore = member.load.foreign
  const [told, isNew] = Member.reported(member, event, now)
  if (event._tag === "Restarted") {
    Residency.step(fleet.residency, { _tag: "Started", server })
    watcher.notice(Breakers.step(fleet.breakers, { _tag: "Restarted", server }, now))
    watcher.notice(Storage.step(fleet.storage, { _tag: "Forget", server, by: "restart" }, now))
  }
  if (event._tag === "MemoryFreed") Residency.step(fleet.residency, { _tag: "Freed", server, what: "all" })
  // Somebody else's run takes the place of what we had there.
  if (event._tag === "Load" && event.foreign > foreignBefore) {
    Residency.step(fleet.residency, { _tag: "Foreign", server, at: now })
  }
  if (isNew) refresh.openUnsafe()
  watcher.tell(server, told)
  if (event._tag !== "Message") watcher.wake()
}

/** Looks after a member until the scope closes; returns at once. */
export const watch = Effect.fnUntraced(function*(
  spec: ServerSpec,
  member: Member.Member,
  watcher: Watcher,
  options: Options
): Effect.fn.Return<void, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const everyMs = Duration.toMillis(Duration.fromInputUnsafe(options.probe ?? Defaults.health.probe))
  yield* Effect.forkScoped(
    Effect.gen(function*() {
      const backend = yield* Effect.retry(spec.make, dialAgain)
      const refresh = Latch.makeUnsafe(true)
      yield* Effect.forkScoped(
        Stream.runForEach(backend.events, (event) => {
          onEvent(member, event, watcher, refresh, readTime(clock).now)
          return event._tag === "Disconnected" ? Effect.forkScoped(probe(backend, member, watcher)) : Effect.void
        }),
        { startImmediately: true }
      )
      member.backend = backend
      member.refresh = () => void refresh.openUnsafe()
      Residency.step(watcher.fleet.residency, { _tag: "Started", server: spec.id })
      yield* Effect.forkScoped(probing(backend, member, watcher, everyMs))
      watcher.wake()
      for (;;) {
        yield* refresh.await
        refresh.closeUnsafe()
        yield* readCapabilities(backend, member, watcher)
      }
    }).pipe(Effect.ignore)
  )
})
