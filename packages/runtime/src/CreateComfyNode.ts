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
import type { Json } from "@effect-comfyui/workflow/Json"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import type { WorkflowError } from "@effect-comfyui/workflow/WorkflowError"
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Context from "effect/Context"
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

const parse = (given: Face.Given): Effect.Effect<Workflow.Workflow, WorkflowError> =>
  typeof given === "string" ? Effect.fromResult(Workflow.fromJson(given)) : Effect.succeed(given)

/** A workflow and an id that need no reading go straight to the pool. */
const submitted = (
  { submit }: Pool.Shape,
  given: Face.Given,
  { id, ...options }: Face.SubmitOptions = {}
): Effect.Effect<Pool.PoolJob, PoolError | WorkflowError> =>
  typeof given !== "string" && id === undefined
    ? submit<Json>(given, options)
    : Effect.gen(function*() {
      const workflow = yield* parse(given)
      return yield* submit<Json>(workflow, id === undefined ? options : { ...options, id: yield* idOf(id) })
    })

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
  context: Context.Context<Services>,
  dispose: () => Promise<void>,
  signals: SignalsNode.Options | undefined
): Face.PromiseFace => {
  const { close: closeAll, iterate, run } = Promises.make(context)
  const pool = Context.get(context, Pool.Pool)
  const comfy = Context.get(context, Comfy.Comfy)

  const found = (id: string) => Effect.flatMap(idOf(id), pool.get)

  /** The result of a job, with or without a declaration of it. */
  const resultOf = <A>(
    job: Pool.PoolJob,
    declared: Results.Declared<A> | undefined
  ): Effect.Effect<Results.Success<A> | Results.Success, ComfyError.Known> =>
    declared === undefined ? comfy.success(job) : comfy.result(job, declared)

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
    let job: Pool.PoolJob | undefined
    /** Made by the first who listens: most await the result alone. */
    let started: Deferred.Deferred<Pool.PoolJob, ComfyError.ComfyError> | undefined
    const submit: Effect.Effect<Pool.PoolJob, ComfyError.Known | ComfyError.ComfyError> = signal?.aborted === true
      ? Effect.fail(new ComfyError.ComfyError("aborted", "Cancelled", "caller", signal.reason))
      : submitted(pool, workflow, options)
    const promise = run(Effect.flatMap(submit, (submitted) => {
      job = submitted
      if (started !== undefined) Deferred.doneUnsafe(started, Effect.succeed(submitted))
      const result = resultOf(submitted, outputs)
      if (signal === undefined) return result
      // The job says itself that it was cancelled, and what had run by then.
      const cancel = Effect.andThen(Promises.aborted(signal), submitted.cancel)
      return Effect.raceFirst(result, Effect.andThen(cancel, Effect.never))
    }))
    const listened = () => {
      const known = job
      if (known !== undefined) return known.events()
      const first = started ??= Deferred.makeUnsafe()
      return Stream.unwrap(Effect.map(Deferred.await(first), (job) => job.events()))
    }
    return Object.assign(promise, {
      [Symbol.asyncIterator]: () => {
        const events = listened()
        // Who listens is told by the events, or that there will be none.
        promise.catch((error: unknown) => {
          if (started !== undefined) Deferred.doneUnsafe(started, Effect.fail(ComfyError.from(error)))
        })
        return iterate(events)[Symbol.asyncIterator]()
      }
    })
  }

  let closing: Promise<boolean> | undefined
  const atOnce = new AbortController()
  const shut = (drain: Duration.Input | undefined): Promise<boolean> => {
    const waited = drain === undefined
      ? run(Effect.map(pool.snapshot, ({ running }) => running === 0))
      : run(pool.drain(drain), atOnce.signal).catch(() => false)
    return waited.then((drained) =>
      dispose().then(() => Effect.runPromise(closeAll)).then(() => {
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
    submit: (workflow, options) => run(Effect.map(submitted(pool, workflow, options), jobOf)),
    get: (id) => run(Effect.map(found(id), jobOf)),
    cancel: (id) => run(Effect.flatMap(found(id), (job) => job.cancel)),
    upload: (source, { filename, ...options } = {}) =>
      run(Effect.map(bytesOf(source), (read) => ({ ...options, ...read, filename: filename ?? read.filename }))),
    download: (file, { signal } = {}) =>
      run(
        Effect.gen(function*() {
          const { bytes } = yield* comfy.download(file)
          return new Uint8Array(Buffer.concat(yield* Stream.runCollect(bytes)))
        }),
        signal
      ),
    save: (file, path, { signal } = {}) =>
      run(Effect.flatMap(comfy.filesOf(file.server), (files) => FilesNode.saveAs(files, file, path)), signal),
    events: ({ signal } = {}) => iterate(pool.events, signal),
    profile: (id, { signal } = {}) =>
      run(Effect.flatMap(found(id), (job) => Stream.run(job.events(), JobProfile.sink())), signal),
    profiles: {
      get: (id) => run(Effect.map(Effect.flatMap(idOf(id), pool.profiles.get), Option.getOrNull)),
      finished: ({ signal } = {}) => iterate(pool.profiles.finished, signal),
      eta: (id) => run(Effect.map(Effect.flatMap(idOf(id), pool.profiles.eta), Option.getOrNull)),
      progress: (id) => run(Effect.map(Effect.flatMap(idOf(id), pool.profiles.progress), Option.getOrNull)),
      slowNodes: ({ signal, ...options } = {}) => iterate(pool.profiles.slowNodes(options), signal),
      bottlenecks: () => run(pool.profiles.bottlenecks.get),
      statistics: () => run(pool.profiles.statistics.get)
    },
    servers: () => run(pool.servers.get),
    close,
    [Symbol.asyncDispose]: () => close().then(() => undefined)
  }
}

/** A fleet of any layer, such as `Comfy.layerPool` over a queue and a router of your own. Rejected with a `ComfyError`. */
export const fromLayer = (fleet: Fleet, { signals = false }: Options = {}): Promise<Face.PromiseFace> => {
  const runtime = ManagedRuntime.make(Layer.mergeAll(fleet, NodeFileSystem.layer, NodePath.layer))
  const wanted = signals === false ? undefined : signals === true ? {} : signals
  return runtime.context().then(
    (context) => faceOf(context, () => runtime.dispose(), wanted),
    (error: unknown) => runtime.dispose().then(() => Promise.reject(ComfyError.from(error)))
  )
}

/**
 * A fleet from a configuration, by default that of `comfy.config.ts` or `comfy.config.json` in the working directory. Close
 * it, or say `await using`: its sockets keep the process alive.
 */
export const createComfy = (config?: ComfyConfig.Source, options: Options = {}): Promise<Face.PromiseFace> =>
  fromLayer(layerNode(config), options)
