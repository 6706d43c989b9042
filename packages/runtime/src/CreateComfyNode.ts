/**
 * A fleet for those who know promises and not Effect:
 *
 * ```ts
 * await using comfy = await createComfy({ servers: [{ url: "http://gpu-1:8188" }] })
 * const { files } = await comfy.run(await readFile("workflow.json", "utf8"))
 * ```
 */
import * as FilesNode from "@effect-comfyui/client/FilesNode"
import { FilesError } from "@effect-comfyui/execution/Files"
import { JobId } from "@effect-comfyui/execution/Ids"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import * as Pool from "@effect-comfyui/pool/Pool"
import * as JobProfile from "@effect-comfyui/profiling/JobProfile"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { readFile } from "node:fs/promises"
import { basename } from "node:path"
import { fileURLToPath } from "node:url"
import * as Comfy from "./Comfy.ts"
import type * as ComfyConfig from "./ComfyConfig.ts"
import * as ComfyError from "./ComfyError.ts"
import { layerNode } from "./ComfyNode.ts"
import type * as Face from "./PromiseFace.ts"
import * as Promises from "./PromisesNode.ts"
import type * as Results from "./Results.ts"
import * as SignalsNode from "./SignalsNode.ts"

/** How a fleet ends by itself. */
export interface Options {
  /** Signals end it, and the process, see `SignalsNode`; listened to until it is closed. Default: they do not. */
  readonly signals?: SignalsNode.Options | boolean
}

/** A fleet as a layer, such as `Comfy.layer` over parts of one's own. */
export type Fleet = Layer.Layer<Pool.Pool | Comfy.Comfy, { readonly message: string }>

const decodeId = Schema.decodeUnknownOption(JobId)

const idOf = (id: string): Effect.Effect<JobId, PoolError> =>
  Effect.fromOption(decodeId(id)).pipe(
    Effect.mapError(() =>
      new PoolError({ reason: { _tag: "InvalidOptions", option: "id", problem: "not 1 to 200 characters" } })
    )
  )

const workflowOf = (given: Face.Given) =>
  typeof given === "string" ? Effect.fromResult(Workflow.fromJson(given)) : Effect.succeed(given)

const submitted = Effect.fnUntraced(function*(given: Face.Given, { id, ...options }: Face.SubmitOptions = {}) {
  const workflow = yield* workflowOf(given)
  const pool = yield* Pool.Pool
  return yield* pool.submit(workflow, id === undefined ? options : { ...options, id: yield* idOf(id) })
})

const found = Effect.fnUntraced(function*(id: string) {
  const pool = yield* Pool.Pool
  return yield* pool.get(yield* idOf(id))
})

/** The result of a job, with or without a declaration of it. */
const resultOf = <A>(job: Pool.PoolJob, declared: Results.Declared<A> | undefined) =>
  Effect.flatMap(
    Comfy.Comfy,
    (comfy): Effect.Effect<Results.Success<A> | Results.Success, ComfyError.Known> =>
      declared === undefined ? comfy.success(job) : comfy.result(job, declared)
  )

const bytesOf = (source: string | URL | Uint8Array) => {
  if (source instanceof Uint8Array) return Effect.succeed({ content: source, filename: "file" })
  const path = source instanceof URL ? fileURLToPath(source) : source
  return Effect.tryPromise({
    try: () => readFile(path).then((bytes) => ({ content: new Uint8Array(bytes), filename: basename(path) })),
    catch: (cause) => {
      const text = cause instanceof Error ? cause.message : String(cause)
      return new FilesError({ reason: { _tag: "LocalFile", path, cause: text } })
    }
  })
}

type Services = Layer.Success<Fleet> | Layer.Success<typeof NodeFileSystem.layer> | Layer.Success<typeof NodePath.layer>

const faceOf = (
  { iterate, run, ...promises }: Promises.Promises<Services>,
  dispose: () => Promise<void>,
  signals: SignalsNode.Options | undefined
): Face.PromiseFace => {
  const jobOf = (job: Pool.PoolJob): Face.ComfyJob => {
    function result<A>(options: Face.Waiting & { readonly outputs: Results.Declared<A> }): Promise<Results.Success<A>>
    function result(options?: Face.Waiting): Promise<Results.Success>
    function result<A>(options: Face.Waiting & { readonly outputs?: Results.Declared<A> } = {}) {
      return run(resultOf(job, options.outputs), options.signal)
    }
    return {
      id: job.id,
      status: () => run(job.status),
      result,
      events: ({ signal } = {}) => iterate(job.events(), signal),
      cancel: () => run(job.cancel)
    }
  }

  function runs<A>(
    workflow: Face.Given,
    options: Face.RunOptions & { readonly outputs: Results.Declared<A> }
  ): Face.Run<A>
  function runs(workflow: Face.Given, options?: Face.RunOptions): Face.Run<Results.Success["outputs"]>
  function runs<A>(
    workflow: Face.Given,
    { outputs, signal, ...options }: Face.RunOptions & { readonly outputs?: Results.Declared<A> } = {}
  ) {
    const started = Deferred.makeUnsafe<Pool.PoolJob, ComfyError.ComfyError>()
    const submit = signal?.aborted === true
      ? Effect.fail(new ComfyError.ComfyError("aborted", "Cancelled", "caller", signal.reason))
      : submitted(workflow, options)
    const whole = Effect.gen(function*() {
      const job = yield* Effect.onExit(
        Effect.mapError(submit, ComfyError.from),
        (exit) => Effect.sync(() => Deferred.doneUnsafe(started, exit))
      )
      if (signal === undefined) return yield* resultOf(job, outputs)
      // The job says itself that it was cancelled, and what had run by then.
      const cancel = Effect.andThen(Promises.aborted(signal), job.cancel)
      return yield* Effect.raceFirst(resultOf(job, outputs), Effect.andThen(cancel, Effect.never))
    })
    const promise = run(whole)
    return Object.assign(promise, {
      [Symbol.asyncIterator]: () => {
        // Who listens is told by the events.
        promise.catch(() => undefined)
        const events = iterate(Stream.unwrap(Effect.map(Deferred.await(started), (job) => job.events())))
        return events[Symbol.asyncIterator]()
      }
    })
  }

  let closing: Promise<boolean> | undefined
  const atOnce = new AbortController()
  const shut = (drain: Duration.Input | undefined): Promise<boolean> => {
    const waited = drain === undefined
      ? run(Effect.map(Effect.flatMap(Pool.Pool, ({ snapshot }) => snapshot), ({ running }) => running === 0))
      : run(Effect.flatMap(Pool.Pool, (pool) => pool.drain(drain)), atOnce.signal).catch(() => false)
    return waited.then((drained) =>
      dispose().then(() => Effect.runPromise(promises.close)).then(() => {
        unlisten()
        return drained
      })
    )
  }
  const close: Face.PromiseFace["close"] = ({ drain } = {}) => {
    if (closing === undefined) closing = shut(drain)
    else atOnce.abort()
    return closing
  }
  const unlisten = signals === undefined ? () => undefined : SignalsNode.listen(close, signals)

  return {
    run: runs,
    submit: (workflow, options) => run(Effect.map(submitted(workflow, options), jobOf)),
    get: (id) => run(Effect.map(found(id), jobOf)),
    cancel: (id) => run(Effect.flatMap(found(id), (job) => job.cancel)),
    upload: (source, { filename, ...options } = {}) =>
      run(Effect.map(bytesOf(source), (read) => ({ ...options, ...read, filename: filename ?? read.filename }))),
    download: (file, { signal } = {}) =>
      run(
        Effect.gen(function*() {
          const { bytes } = yield* (yield* Comfy.Comfy).download(file)
          return new Uint8Array(Buffer.concat(yield* Stream.runCollect(bytes)))
        }),
        signal
      ),
    save: (file, path, { signal } = {}) =>
      run(
        Effect.gen(function*() {
          const files = yield* (yield* Comfy.Comfy).filesOf(file.server)
          yield* FilesNode.saveAs(files, file, path)
        }),
        signal
      ),
    events: ({ signal } = {}) => iterate(Stream.unwrap(Effect.map(Pool.Pool, ({ events }) => events)), signal),
    profile: (id, { signal } = {}) =>
      run(Effect.flatMap(found(id), (job) => Stream.run(job.events(), JobProfile.sink())), signal),
    profiles: {
      get: (id) =>
        run(Effect.gen(function*() {
          const { profiles } = yield* Pool.Pool
          return Option.getOrNull(yield* profiles.get(yield* idOf(id)))
        })),
      finished: ({ signal } = {}) =>
        iterate(Stream.unwrap(Effect.map(Pool.Pool, ({ profiles }) => profiles.finished)), signal),
      statistics: () => run(Effect.flatMap(Pool.Pool, ({ profiles }) => profiles.statistics.get))
    },
    servers: () => run(Effect.flatMap(Pool.Pool, ({ servers }) => servers.get)),
    close,
    [Symbol.asyncDispose]: () => close().then(() => undefined)
  }
}

/** A fleet of any layer, such as `Comfy.layerPool` over a queue and a router of your own. Rejected with a `ComfyError`. */
export const fromLayer = (fleet: Fleet, { signals = false }: Options = {}): Promise<Face.PromiseFace> => {
  const runtime = ManagedRuntime.make(Layer.mergeAll(fleet, NodeFileSystem.layer, NodePath.layer))
  const wanted = signals === false ? undefined : signals === true ? {} : signals
  return runtime.context().then(
    (context) => faceOf(Promises.make(context), () => runtime.dispose(), wanted),
    (error: unknown) => runtime.dispose().then(() => Promise.reject(ComfyError.from(error)))
  )
}

/**
 * A fleet from a configuration, by default that of `comfy.config.ts` or `comfy.config.json` in the working directory. Close
 * it, or say `await using`: its sockets keep the process alive.
 */
export const createComfy = (config?: ComfyConfig.Source, options: Options = {}): Promise<Face.PromiseFace> =>
  fromLayer(layerNode(config), options)
