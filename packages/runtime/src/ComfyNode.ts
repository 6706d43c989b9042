/** A fleet on Node with nothing left open: HTTP, sockets, a queue in a file, and a configuration from the working directory. */
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import type { JobQueue } from "@effect-comfyui/pool/JobQueue"
import * as JobQueueSqliteNode from "@effect-comfyui/pool/JobQueueSqliteNode"
import type * as Pool from "@effect-comfyui/pool/Pool"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { access, mkdir, readFile } from "node:fs/promises"
import { homedir } from "node:os"
import { dirname, join, resolve } from "node:path"
import process from "node:process"
import { pathToFileURL } from "node:url"
import * as Comfy from "./Comfy.ts"
import * as ComfyConfig from "./ComfyConfig.ts"
import * as ComfyPlatformNode from "./ComfyPlatformNode.ts"
import * as ComfyQueue from "./ComfyQueue.ts"
import { ConfigError } from "./ConfigError.ts"
import * as StatePath from "./StatePath.ts"

// ── Files ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const wrong = (problem: string): ConfigError =>
  new ConfigError({ reasons: [{ _tag: "WrongValue", path: "", problem, example: null }] })

/** `comfy.config.ts`: its default export. Run by Node once per process. */
const readModule = (path: string): Effect.Effect<unknown, ConfigError> =>
  Effect.tryPromise({
    try: (): Promise<{ readonly default?: unknown }> => import(/* @vite-ignore */ pathToFileURL(path).href),
    catch: (cause) => wrong(`${path} does not run: ${cause instanceof Error ? cause.message : String(cause)}`)
  }).pipe(
    Effect.flatMap((module) =>
      module.default === undefined
        ? Effect.fail(wrong(`${path} has no default export`))
        : Effect.succeed(module.default)
    )
  )

const readJson = (path: string): Effect.Effect<unknown, ConfigError> =>
  Effect.tryPromise({
    try: () => readFile(path, "utf8"),
    catch: () => wrong(`${path} cannot be read`)
  }).pipe(
    Effect.flatMap((text) => Effect.fromResult(Json.parse(text))),
    // Not the text: there may be a secret in it.
    Effect.mapError((problem) =>
      problem._tag === "ConfigError" ? problem : wrong(`${path} is no JSON: ${problem._tag}`)
    )
  )

const exists = (path: string): Effect.Effect<boolean> =>
  Effect.promise(() => access(path).then(() => true, () => false))

/**
 * The settings of `comfy.config.ts` (its default export, see `ComfyConfig.define`), or else of `comfy.config.json`, in this
 * folder, by default the working directory. Fails where there is neither, and with every problem of what is there.
 */
export const load = Effect.fnUntraced(function*(
  directory: string = process.cwd()
): Effect.fn.Return<ComfyConfig.Settings, ConfigError> {
  const script = resolve(directory, "comfy.config.ts")
  if (yield* exists(script)) return yield* ComfyConfig.decode(yield* readModule(script))
  const json = resolve(directory, "comfy.config.json")
  if (yield* exists(json)) return yield* ComfyConfig.decode(yield* readJson(json))
  return yield* wrong(`there is no comfy.config.ts and no comfy.config.json in ${resolve(directory)}`)
})

// ── Layers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const unavailable = (cause: unknown): PoolError =>
  new PoolError({ reason: { _tag: "QueueUnavailable", cause: cause instanceof Error ? cause.message : String(cause) } })

/** Where a durable queue is that names no path. */
export const defaultPath = (): string =>
  StatePath.queue({ platform: process.platform, home: homedir(), env: process.env })

const queuePath = ({ queue }: ComfyConfig.Settings): string => resolve(queue?.path ?? defaultPath())

const openFile = (settings: ComfyConfig.Settings): Layer.Layer<JobQueue, PoolError> =>
  Layer.unwrap(Effect.gen(function*() {
    const path = queuePath(settings)
    // Prompts and files of jobs are nobody else's business.
    yield* Effect.tryPromise({ try: () => mkdir(dirname(path), { recursive: true, mode: 0o700 }), catch: unavailable })
    return JobQueueSqliteNode.layerFile(path, ComfyQueue.optionsOf(settings))
  }))

/** The queue that these settings want: a file that several processes may share, or this process's memory. */
export const layerQueue = (settings: ComfyConfig.Settings): Layer.Layer<JobQueue, PoolError> =>
  settings.queue?.kind === "memory" ? ComfyQueue.layerMemory(ComfyQueue.optionsOf(settings)) : openFile(settings)

/** Where nothing is said of it, what is learnt outlives the process where its jobs do: beside the file of their queue. */
const remembering = (settings: ComfyConfig.Settings): ComfyConfig.Settings => {
  const { queue, routing } = settings
  if (queue?.kind === "memory" || routing?.estimates !== undefined) return settings
  return { ...settings, routing: { ...routing, estimates: join(dirname(queuePath(settings)), "estimates") } }
}

/**
 * A fleet that needs nothing more. Without a configuration it is {@link load}'s. `QueueUnavailable` where the file of the
 * queue cannot be opened. With a durable queue it is kept how long things take, in the folder `estimates` beside its file
 * unless `routing.estimates` names another; processes that share it overwrite each other's.
 */
export const layerNode = (
  source: ComfyConfig.Source = load()
): Layer.Layer<Pool.Pool | Comfy.Comfy, ConfigError | PoolError> =>
  Layer.unwrap(
    Effect.map(ComfyConfig.read(source), (settings) => {
      const connect = settings.timeouts?.connect
      return Comfy.layer(Effect.succeed(remembering(settings))).pipe(
        Layer.provide([
          Layer.provide(layerQueue(settings), Comfy.layerLogging(settings)),
          ComfyPlatformNode.layer,
          PlatformNode.layer(connect === undefined ? {} : { connectTimeout: connect })
        ])
      )
    })
  )
