/**
 * Servers found by something outside: a list that changes. Sources are streams of server sets, the latest of which is the
 * truth; a source that fails for a while, or says nonsense, changes nothing.
 */
import { BackendId } from "@effect-comfyui/execution/Ids"
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as FileSystem from "effect/FileSystem"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type * as Membership from "./Membership.ts"
import type { ServerSpec } from "./Servers.ts"

/** A server as sources name it: data. The default `id` is the host and port of its address. */
export const Found = Schema.Struct({
  url: Schema.String,
  id: Schema.optionalKey(Schema.String.check(Schema.isNonEmpty())),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  weight: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThan(0))),
  vramBytes: Schema.optionalKey(Schema.Finite.check(Schema.isGreaterThan(0))),
  host: Schema.optionalKey(Schema.String.check(Schema.isNonEmpty())),
  /** Epoch milliseconds. */
  availableUntil: Schema.optionalKey(Schema.Finite),
  costPerHour: Schema.optionalKey(Schema.Finite)
})
export type Found = typeof Found.Type

/** What a source failed with. */
export class DiscoveryError extends Schema.TaggedError<DiscoveryError>()("DiscoveryError", {
  source: Schema.String,
  cause: Schema.String
}) {
  override get message(): string {
    return `${this.source}: ${this.cause}`
  }
}

/** A set of servers, each time the whole of it. */
export type Sets<A = Found, R = never> = Stream.Stream<ReadonlyArray<A>, never, R>

/** Whatever a source threw, as its failure. */
export const failure = (source: string) => (error: unknown): DiscoveryError =>
  new DiscoveryError({ source, cause: error instanceof Error ? error.message : String(error) })

/** Host and port, or the text itself where it is no address. */
export const nameOf = ({ id, url }: Found): BackendId => {
  if (id !== undefined) return BackendId.make(id)
  return BackendId.make(URL.canParse(url) ? new URL(url).host : url)
}

// ── Sources ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Asks again and again; an answer that fails is told in the log, and what was found before stays. */
export const polled = <R>(
  read: Effect.Effect<ReadonlyArray<Found>, DiscoveryError, R>,
  every: Duration.Input = "30 seconds"
): Sets<Found, R> => news(asked(read, every))

const asked = <R>(read: Effect.Effect<ReadonlyArray<Found>, DiscoveryError, R>, every: Duration.Input) =>
  Stream.fromEffectSchedule(kept(read), Schedule.spaced(every))

/** Without answers that failed; the same set again says nothing. */
const news = <R>(answers: Stream.Stream<ReadonlyArray<Found> | undefined, never, R>): Sets<Found, R> =>
  answers.pipe(
    Stream.filter((set) => set !== undefined),
    Stream.changesWith((a, b) => JSON.stringify(a) === JSON.stringify(b))
  )

const kept = <R>(read: Effect.Effect<ReadonlyArray<Found>, DiscoveryError, R>) =>
  Effect.catch(
    read,
    ({ cause, source }) =>
      Effect.as(Effect.annotateLogs(Effect.logWarning("servers were not found"), { source, cause }), undefined)
  )

const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Array(Found)))

/**
 * A JSON file, a list of {@link Found}, read again when it changes and every 30 s in any case: not every file system tells.
 * Written in two steps it may be broken for a moment, which changes nothing.
 */
export const file = (path: string, every: Duration.Input = "30 seconds"): Sets<Found, FileSystem.FileSystem> => {
  const read = Effect.flatMap(FileSystem.FileSystem, (files) => files.readFileString(path)).pipe(
    Effect.flatMap(decode),
    Effect.mapError(failure(path))
  )
  const touched = Stream.unwrap(Effect.map(FileSystem.FileSystem, (files) => files.watch(path))).pipe(
    Stream.catch(() => Stream.never),
    Stream.debounce("200 millis"),
    Stream.mapEffect(() => kept(read))
  )
  return news(Stream.merge(asked(read, every), touched))
}

/** Addresses in a configuration value, divided by commas: one set, once. */
export const config = (name = "COMFY_HOSTS"): Effect.Effect<Sets, Config.ConfigError> =>
  Effect.map(
    Config.String(name),
    (text) =>
      Stream.succeed(
        text.split(",").map((url) => url.trim()).filter((url) => url !== "").map((url): Found => ({
          url: url.includes("://") ? url : `http://${url}`
        }))
      )
  )

/** One record of a service in the DNS. */
export interface SrvRecord {
  readonly name: string
  readonly port: number
  readonly priority: number
  readonly weight: number
}

/**
 * The hosts of a service in the DNS, those of the best priority, asked for every 30 s. `resolve` is the platform's:
 * `DiscoveryNode.resolveSrv`.
 */
export const srv = <R>(
  service: string,
  resolve: (service: string) => Effect.Effect<ReadonlyArray<SrvRecord>, DiscoveryError, R>,
  { every = "30 seconds", scheme = "http" }: { readonly every?: Duration.Input; readonly scheme?: "http" | "https" } =
    {}
): Sets<Found, R> => polled(Effect.map(resolve(service), (records) => fromSrv(records, scheme)), every)

/** The best priority is the lowest number; a weight of 0 is the least there is. */
export const fromSrv = (records: ReadonlyArray<SrvRecord>, scheme: "http" | "https" = "http"): ReadonlyArray<Found> => {
  const best = Math.min(...records.map(({ priority }) => priority))
  return records.filter(({ priority }) => priority === best)
    .map(({ name, port, weight }): Found => ({ url: `${scheme}://${name}:${port}`, weight: Math.max(weight, 1) }))
    .toSorted((a, b) => a.url < b.url ? -1 : 1)
}

// ── Following ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** What becomes of a server that is not in the set any more. */
export interface FollowOptions {
  /** It gets nothing new, and goes when it is idle or after this; 0: at once, its run is tried elsewhere. Default 30 min. */
  readonly drain?: Duration.Input
}

/**
 * Keeps a pool's servers as the latest set says: new ones are added, changed tags, weights and leases taken over, those with
 * another address replaced, missing ones drained and removed; one that comes back in time stays. A rented one that the pool
 * has let go is added again with another lease, or when it left the set and came back. Servers that somebody added by hand
 * are not touched. Ends with the source.
 */
export const follow = Effect.fnUntraced(function*<R>(
  servers: Membership.Shape,
  sets: Sets<ServerSpec, R>,
  { drain = "30 minutes" }: FollowOptions = {}
): Effect.fn.Return<void, never, R | Scope.Scope> {
  /** Those of this source, as they were added. */
  const own = new Map<BackendId, ServerSpec>()
  const leaving = yield* FiberMap.make<BackendId>()

  const leave = (id: BackendId) =>
    FiberMap.run(
      leaving,
      id,
      Effect.gen(function*() {
        yield* Effect.timeoutOption(servers.drain(id), drain)
        own.delete(id)
        yield* Effect.uninterruptible(servers.remove(id))
      }),
      { onlyIfMissing: true }
    )

  const take = Effect.fnUntraced(function*(spec: ServerSpec) {
    const { address, availableUntil, id } = spec
    const known = own.get(id)
    if (known !== undefined && known.address !== address) {
      yield* FiberMap.remove(leaving, id)
      yield* servers.remove(id)
      own.delete(id)
    }
    if (own.has(id)) {
      if (yield* FiberMap.has(leaving, id)) {
        yield* FiberMap.remove(leaving, id)
        yield* servers.resume(id)
      }
      const isThere = yield* servers.update(id, spec)
      if (!isThere && known?.availableUntil !== availableUntil) yield* servers.add(spec)
      own.set(id, spec)
    } else if (yield* servers.add(spec)) own.set(id, spec)
  })

  yield* Stream.runForEach(sets, (set) =>
    Effect.gen(function*() {
      const wanted = new Map<BackendId, ServerSpec>()
      for (const spec of set) if (!wanted.has(spec.id)) wanted.set(spec.id, spec)
      for (const spec of wanted.values()) yield* take(spec)
      for (const id of own.keys()) if (!wanted.has(id)) yield* leave(id)
    }))
})
