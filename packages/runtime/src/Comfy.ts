/**
 * A fleet from a configuration. The layer gives the pool itself, with everything it can do, and `Comfy`: what only those
 * can offer who know the pool's servers as ComfyUI's. What is still needed stands in its type.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { type Download, type Files, FilesError } from "@effect-comfyui/execution/Files"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { JobError } from "@effect-comfyui/execution/JobEvent"
import type { Found } from "@effect-comfyui/pool/Discovery"
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as Pool from "@effect-comfyui/pool/Pool"
import type * as Router from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as Assembly from "./Assembly.ts"
import * as ComfyConfig from "./ComfyConfig.ts"
import { ComfyPlatform } from "./ComfyPlatform.ts"
import type { ConfigError } from "./ConfigError.ts"
import * as ProfileLog from "./ProfileLog.ts"
import * as Results from "./Results.ts"

/** What the servers of a configuration offer beyond the pool. */
export interface Shape {
  /** What the job gave, once it has succeeded; whatever else it ends in is the failure. */
  readonly success: (job: Pool.PoolJob) => Effect.Effect<Results.Success, JobError>
  /** The same, with its outputs as they were declared; fails where one is not there. */
  readonly result: <A>(
    job: Pool.PoolJob,
    declared: Results.Declared<A>
  ) => Effect.Effect<Results.Success<A>, JobError | Results.ResultError>
  /** The files of a server, from wherever it came, while it is a member and reached: else `Unreachable`. */
  readonly filesOf: (server: BackendId) => Effect.Effect<Files, FilesError>
  /** Opens a file of a result on the server that made it, while that is a member. */
  readonly download: (file: Results.ResultFile) => Effect.Effect<Download, FilesError>
}

/** What the servers of a configuration offer beyond the pool. */
export class Comfy extends Context.Service<Comfy, Shape>()("@effect-comfyui/runtime/Comfy") {}

/** The seams to the world that the clients of servers need. */
export type Seams = HttpClient | WebSocketConstructor

/** The files of the members, by name, while they are. */
type FilesOf = Map<BackendId, Files>

/** The server, whose files are known for as long as it is a member. */
const reached = (filesOf: FilesOf) => <R>(spec: ServerSpec<R>): ServerSpec<R> => ({
  ...spec,
  make: Effect.tap(spec.make, ({ files }) =>
    Effect.acquireRelease(
      Effect.sync(() => filesOf.set(spec.id, files)),
      // One that came after it under its name stays.
      () => Effect.sync(() => filesOf.get(spec.id) === files && filesOf.delete(spec.id))
    ))
})

const backendOf = (server: ComfyConfig.Server, settings: ComfyConfig.Settings) =>
  Effect.map(ComfyClient.make(Assembly.clientOf(server, settings)), ComfyClient.backend)

const specOf = (settings: ComfyConfig.Settings) => (server: ComfyConfig.Server): ServerSpec<Seams> => ({
  ...Assembly.memberOf(server),
  make: backendOf(server, settings)
})

const foundOf = (settings: ComfyConfig.Settings) => (found: Found): ServerSpec<Seams> => {
  const member = Assembly.foundOf(found)
  return { ...member, make: backendOf({ url: found.url, id: member.id }, settings) }
}

const success = (job: Pool.PoolJob): Effect.Effect<Results.Success, JobError> => Effect.map(job.result, Results.plain)

const comfyOf = (members: FilesOf): Shape => {
  const filesOf: Shape["filesOf"] = (server) =>
    Effect.suspend(() => {
      const files = members.get(server)
      if (files !== undefined) return Effect.succeed(files)
      const cause = `${server} is no member`
      return Effect.fail(new FilesError({ reason: { _tag: "Unreachable", by: "network", status: null, cause } }))
    })
  return {
    success,
    result: (job, declared) =>
      Effect.flatMap(success(job), (plain) => Effect.fromResult(Results.read(plain, declared))),
    filesOf,
    download: (file) => Effect.flatMap(filesOf(file.server), (files) => files.download(file))
  }
}

const make = Effect.fnUntraced(function*(settings: ComfyConfig.Settings) {
  const { collect, discovery, profiling, routing, servers = [] } = settings
  const platform = yield* ComfyPlatform
  const members: FilesOf = new Map()
  const known = reached(members)
  const found = foundOf(settings)
  const pool = yield* Pool.make<Seams>({
    ...Assembly.poolOf(settings),
    servers: servers.map(specOf(settings)).map(known),
    ...collect === undefined ? {} : { collect: yield* platform.sink(collect) },
    ...routing?.estimates === undefined ? {} : { estimates: { store: yield* platform.store(routing.estimates) } },
    ...discovery === undefined
      ? {}
      : { discovery: Stream.map(yield* platform.sets(discovery), (set) => set.map((one) => known(found(one)))) }
  })
  if (profiling?.every !== undefined) yield* ProfileLog.start(pool, profiling.every)
  return Context.merge(
    Context.make(Pool.Pool, { ...pool, servers: { ...pool.servers, add: (spec) => pool.servers.add(known(spec)) } }),
    Context.make(Comfy, comfyOf(members))
  )
})

const formats = {
  pretty: Logger.consolePretty(),
  json: Logger.consoleJson,
  logfmt: Logger.consoleLogFmt
}

/** How a configuration wants its parts to log; where it says nothing, they do as whoever builds them does. */
export const layerLogging = ({ logging = {} }: ComfyConfig.Settings): Layer.Layer<never> => {
  const level = logging.level === undefined ? Layer.empty : Layer.succeed(References.MinimumLogLevel, logging.level)
  return logging.format === undefined ? level : Layer.merge(level, Logger.layer([formats[logging.format]]))
}

const policies = {
  "cost-aware": RouterPolicies.layerCostAware,
  "least-loaded": RouterPolicies.layerLeastLoaded,
  "round-robin": RouterPolicies.layerRoundRobin,
  hash: RouterPolicies.layerHash
}

/** The routing policy that a configuration names. */
export const layerRouter = (source: ComfyConfig.Source): Layer.Layer<Router.Router, ConfigError> =>
  Layer.unwrap(Effect.map(ComfyConfig.read(source), ({ routing }) => policies[routing?.policy ?? "cost-aware"]))

/** The pool of a configuration, whose queue and router are your own. */
export const layerPool = (
  source: ComfyConfig.Source
): Layer.Layer<Pool.Pool | Comfy, ConfigError, Seams | JobQueue | Router.Router> =>
  Layer.unwrap(
    Effect.map(ComfyConfig.read(source), (settings) =>
      Layer.provide(Layer.effectContext(make(settings)), layerLogging(settings)))
  )

/**
 * The pool of a configuration, with the router that it names. A queue is yours to give, `ComfyQueue.layerMemory` or
 * another, and so are HTTP and sockets: `PlatformNode.layer`, a browser's own, or fakes. `ComfyNode.layerNode` is this
 * with all of them closed; the `queue.kind` and `queue.path` of a configuration are its business alone. `collect`,
 * `discovery` and `routing.estimates` are a `ConfigError` without a `ComfyPlatform` that can do them.
 */
export const layer = (
  source: ComfyConfig.Source
): Layer.Layer<Pool.Pool | Comfy, ConfigError, Seams | JobQueue> =>
  Layer.provide(layerPool(source), layerRouter(source))

/** {@link layer} of what the `ConfigProvider` has under `comfy`: see `ComfyConfig.fromProvider`. */
export const layerConfig: Layer.Layer<Pool.Pool | Comfy, ConfigError, Seams | JobQueue> = layer(
  ComfyConfig.fromProvider
)
