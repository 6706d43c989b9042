/**
 * A fleet from a configuration. The layer gives the pool itself, with everything it can do, and `Comfy`: what only those
 * can offer who know the pool's servers as ComfyUI's. What is still needed stands in its type.
 */
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { type Download, type Files, FilesError } from "@effect-comfyui/execution/Files"
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { JobError } from "@effect-comfyui/execution/JobEvent"
import type { JobOptions } from "@effect-comfyui/pool/JobOptions"
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as Pool from "@effect-comfyui/pool/Pool"
import type * as Router from "@effect-comfyui/pool/Router"
import * as RouterPolicies from "@effect-comfyui/pool/RouterPolicies"
import type { ServerSpec } from "@effect-comfyui/pool/Servers"
import type { Json } from "@effect-comfyui/workflow/Json"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { HttpClient } from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import type { WebSocketConstructor } from "effect/socket/Socket"
import * as Assembly from "./Assembly.ts"
import * as ComfyConfig from "./ComfyConfig.ts"
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
  /** The files of a server, while it is a member: else `Unreachable`. */
  readonly filesOf: (server: BackendId | null) => Effect.Effect<Files, FilesError>
  /** Opens a file of a result on the server that made it, while that is a member. */
  readonly download: (file: Results.ResultFile) => Effect.Effect<Download, FilesError>
}

/** What the servers of a configuration offer beyond the pool. */
export class Comfy extends Context.Service<Comfy, Shape>()("@effect-comfyui/runtime/Comfy") {}

/** The seams to the world that the clients of servers need. */
export type Seams = HttpClient | WebSocketConstructor

/** The clients of the members, by name, while they are. */
type Clients = Map<BackendId, ComfyClient.Shape>

const specOf = (server: ComfyConfig.Server, settings: ComfyConfig.Settings, clients: Clients): ServerSpec<Seams> => {
  const member = Assembly.memberOf(server)
  return {
    ...member,
    make: Effect.map(
      Effect.tap(ComfyClient.make(Assembly.clientOf(server, settings)), (client) =>
        Effect.acquireRelease(
          Effect.sync(() => clients.set(member.id, client)),
          () => Effect.sync(() => clients.delete(member.id))
        )),
      ComfyClient.backend
    )
  }
}

/** The pool, whose jobs have these limits where they say nothing themselves. */
const limited = (pool: Pool.Shape, settings: ComfyConfig.Settings): Pool.Shape => {
  const { deadline, timeouts } = Assembly.limitsOf(settings)
  const within = <M extends Json>(options: JobOptions<M> = {}): JobOptions<M> => ({
    ...deadline === undefined ? {} : { deadline },
    ...options,
    timeouts: { ...timeouts, ...options.timeouts }
  })
  if (settings.timeouts === undefined) return pool
  return {
    ...pool,
    submit: (workflow, options) => pool.submit(workflow, within(options)),
    submitAll: (workflows, options) => pool.submitAll(workflows, within(options)),
    run: (workflow, options) => pool.run(workflow, within(options))
  }
}

const success = Effect.fnUntraced(function*(job: Pool.PoolJob): Effect.fn.Return<Results.Success, JobError> {
  const ended = yield* job.result
  const attempts = yield* job.why
  const last = attempts.findLast(({ endedAs }) => endedAs === "Completed") ?? attempts.at(-1)
  return Results.plain(ended, last?.server ?? null)
})

const comfyOf = (clients: Clients): Shape => {
  const filesOf: Shape["filesOf"] = (server) =>
    Effect.suspend(() => {
      const client = server === null ? undefined : clients.get(server)
      if (client !== undefined) return Effect.succeed(client.files)
      const cause = server === null ? "nobody knows which server it was" : `${server} is no member`
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
  const clients: Clients = new Map()
  const servers = settings.servers.map((server) => specOf(server, settings, clients))
  const pool = yield* Pool.make({ ...Assembly.poolOf(settings), servers })
  if (settings.profiling !== undefined) yield* ProfileLog.start(pool, settings.profiling.every)
  return Context.merge(
    Context.make(Pool.Pool, limited(pool, settings)),
    Context.make(Comfy, comfyOf(clients))
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
 * with all of them closed; the `queue.kind` and `queue.path` of a configuration are its business alone.
 */
export const layer = (
  source: ComfyConfig.Source
): Layer.Layer<Pool.Pool | Comfy, ConfigError, Seams | JobQueue> =>
  Layer.provide(layerPool(source), layerRouter(source))

/** {@link layer} of what the `ConfigProvider` has under `comfy`: see `ComfyConfig.fromProvider`. */
export const layerConfig: Layer.Layer<Pool.Pool | Comfy, ConfigError, Seams | JobQueue> = layer(
  ComfyConfig.fromProvider
)
