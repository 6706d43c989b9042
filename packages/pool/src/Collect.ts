/** The files of a run that has succeeded, brought from its server to a sink; each is proved by a receipt. */
import type { Backend } from "@effect-comfyui/execution/Backend"
import { bounded } from "@effect-comfyui/execution/ExecutionError"
import { type FileRef, FilesError, type FilesReason } from "@effect-comfyui/execution/Files"
import type { JobId, RunId } from "@effect-comfyui/execution/Ids"
import type { Outputs } from "@effect-comfyui/execution/Outputs"
import { PoolError } from "@effect-comfyui/execution/PoolError"
import type { Receipt } from "@effect-comfyui/execution/Receipt"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import { type Item, type Sink, SinkError } from "./Sink.ts"

const { collect: figures } = Defaults

/** How many files of one server may be under way. */
export type Permits = Semaphore.Semaphore

/** One of these per server, for as long as its files are collected: also after it has left the pool. */
export const makePermits = (): Permits => Semaphore.makeUnsafe(figures.atOnce)

/** What is collected, from where, and for whom. */
export interface Options {
  readonly backend: Pick<Backend, "id" | "files">
  readonly outputs: Outputs
  /** Nodes that the server had cached: of `NodesCached`, and of each `NodeOutput` that was replayed. */
  readonly cachedNodes: ReadonlySet<string>
  readonly sink: Sink
  readonly jobId: JobId
  readonly runId: RunId
  /** Those of the server. */
  readonly permits: Permits
}

/** A file, and all nodes that name it. */
interface Wanted {
  readonly file: FileRef
  readonly nodeIds: Set<string>
  /** Some node says that it is a file of that folder; a bare text only looks like one. */
  isDeclared: boolean
}

const wantedOf = (outputs: Outputs): ReadonlyArray<Wanted> => {
  const wanted = new Map<string, Wanted>()
  for (const [nodeId, output] of Object.entries(outputs)) {
    for (const { filename, raw, subfolder, type } of output.files) {
      const key = JSON.stringify([type, subfolder, filename])
      const one = wanted.get(key) ?? { file: { filename, subfolder, type }, nodeIds: new Set(), isDeclared: false }
      wanted.set(key, one)
      one.nodeIds.add(nodeId)
      one.isDeclared ||= typeof raw !== "string"
    }
  }
  return [...wanted.values()]
}

const failure = (reason: FilesReason): FilesError => new FilesError({ reason })

const unavailable = (cause: string): SinkError => new SinkError({ reason: { _tag: "Unavailable", cause } })

/** What has come of a file so far. */
interface Meter {
  receivedBytes: number
  isOver: boolean
  failure: FilesError | undefined
}

/** The same bytes, counted; fails before its end where they are not as many as announced, so that nothing is committed. */
const metered = (
  bytes: Stream.Stream<Uint8Array, FilesError>,
  { filename: name }: FileRef,
  expectedBytes: number | null,
  meter: Meter
): Stream.Stream<Uint8Array, FilesError> =>
  bytes.pipe(
    Stream.mapEffect((chunk) => {
      meter.receivedBytes += chunk.byteLength
      return expectedBytes !== null && meter.receivedBytes > expectedBytes
        ? Effect.fail(failure({ _tag: "TooLarge", name, limitBytes: expectedBytes }))
        : Effect.succeed(chunk)
    }),
    Stream.concat(Stream.suspend(() => {
      const { receivedBytes } = meter
      if (expectedBytes !== null && receivedBytes < expectedBytes) {
        return Stream.fail(failure({ _tag: "Truncated", name, expectedBytes, receivedBytes }))
      }
      meter.isOver = true
      return Stream.empty
    })),
    Stream.tapError((error) =>
      Effect.sync(() => {
        meter.failure = error
      })
    )
  )

/** Fails once the sink has taken nothing for too long. */
const watch = Effect.fnUntraced(function*(meter: Meter): Effect.fn.Return<never, SinkError> {
  for (;;) {
    const before = meter.receivedBytes
    yield* Effect.sleep(figures.sinkIdle)
    if (meter.receivedBytes === before) {
      return yield* unavailable(`took nothing for ${Duration.format(Duration.fromInputUnsafe(figures.sinkIdle))}`)
    }
  }
})

/** One try: the file is opened and given to the sink, and what both say of its size is compared. */
const put = Effect.fnUntraced(function*(
  { backend: { files, id: server }, jobId, runId, sink }: Options,
  { file, nodeIds }: Wanted
): Effect.fn.Return<ReadonlyArray<Receipt>, FilesError | SinkError> {
  const { bytes, contentType, sizeBytes: announced } = yield* files.download(file)
  const sizeBytes = announced ?? (yield* files.stat(file)).sizeBytes
  const meter: Meter = { receivedBytes: 0, isOver: false, failure: undefined }
  const [nodeId = ""] = nodeIds
  const item: Item = { jobId, runId, server, nodeId, file, sizeBytes, contentType }
  const stored = yield* Effect.raceFirst(
    Effect.suspend(() => sink.put(item, metered(bytes, file, sizeBytes, meter))),
    watch(meter)
  ).pipe(
    // A sink is somebody else's code: its bug ends one job, not the pool's work on it.
    Effect.catchDefect((defect) => Effect.fail(new SinkError({ reason: { _tag: "Refused", cause: String(defect) } }))),
    Effect.mapError((error) => meter.failure ?? error)
  )
  const { receivedBytes } = meter
  if (meter.failure !== undefined) return yield* meter.failure
  if (!meter.isOver && receivedBytes !== sizeBytes) return yield* unavailable("did not read the file to its end")
  if (stored.sizeBytes !== undefined && stored.sizeBytes !== receivedBytes) {
    return yield* unavailable(`stored ${stored.sizeBytes} of ${receivedBytes} bytes`)
  }
  return [...nodeIds].map((nodeId) => ({
    nodeId,
    file,
    location: stored.location,
    sizeBytes: receivedBytes,
    ...(stored.sha256 === undefined ? {} : { sha256: stored.sha256 })
  }))
})

const isMissing = (error: FilesError | SinkError): boolean =>
  error._tag === "FilesError" && error.reason._tag === "NotFound"

/** Whether another try may do better. A file that is missing was looked for twice already. */
const isWorthATry = ({ reason }: FilesError | SinkError): boolean => {
  switch (reason._tag) {
    case "Unavailable":
    case "Truncated":
    case "TooLarge":
    case "Unreachable":
    case "RateLimited":
      return true
    default:
      return false
  }
}

const restOf = ({ reason }: FilesError | SinkError): Duration.Duration =>
  reason._tag === "RateLimited"
    ? Duration.min(Duration.millis(reason.retryAfterMs ?? 0), Defaults.failover.restCap)
    : Duration.zero

const again = Schedule.exponential(figures.delay, 3).pipe(
  Schedule.jittered,
  Schedule.setInputType<FilesError | SinkError>(),
  Schedule.modifyDelay(({ duration, input }) => Effect.succeed(Duration.max(duration, restOf(input)))),
  Schedule.upTo({ times: figures.tries - 1 })
)

const maxGone = 20

const maxCause = 500

/**
 * Brings every file that the outputs name, of whatever kind, to the sink, once each, and answers their receipts in the
 * order of the nodes; a file that several nodes name has one for each. Of one server at most four are under way, for all
 * jobs together; each has three tries, over about 40 s. A text that only looks like the path of a file, as previews of 3D
 * models give it, has no receipt where there is no such file.
 *
 * Fails with `PoolError`: `OutputsGone` where files are missing twice, at least 2 s apart, when all others were tried;
 * `CollectFailed` where the sink does not take one. With `FilesError` where the server does not deliver: it is
 * unreachable, refuses, or sends another number of bytes than it announces. What the sink took before stays there.
 * Interruption interrupts the sink.
 */
export const collect = Effect.fnUntraced(function*(
  options: Options
): Effect.fn.Return<ReadonlyArray<Receipt>, PoolError | FilesError> {
  const { backend: { files }, cachedNodes, outputs, permits, sink } = options
  const gone: Array<Wanted> = []
  const nameOf = ({ file }: Wanted) => bounded(files.inputValue(file), 200)

  const givenUp = (wanted: Wanted, error: FilesError | SinkError): Effect.Effect<[], PoolError | FilesError> => {
    const missing = isMissing(error)
    if (missing && wanted.isDeclared) gone.push(wanted)
    if (missing || gone.length > 0) return Effect.succeed([])
    if (error._tag === "FilesError") return Effect.fail(error)
    const cause = bounded(error.message, maxCause)
    return Effect.fail(
      new PoolError({ reason: { _tag: "CollectFailed", sink: sink.name, file: nameOf(wanted), cause } })
    )
  }

  const bring = (wanted: Wanted): Effect.Effect<ReadonlyArray<Receipt>, PoolError | FilesError> => {
    const once = permits.withPermits(1)(put(options, wanted))
    const twice = Effect.catchIf(once, isMissing, () => Effect.andThen(Effect.sleep(figures.goneAfter), once))
    return Effect.catch(Effect.retry(twice, { schedule: again, while: isWorthATry }), (error) => givenUp(wanted, error))
  }

  const receipts = yield* Effect.forEach(wantedOf(outputs), bring, { concurrency: figures.atOnce })
  if (gone.length === 0) return receipts.flat()
  return yield* new PoolError({
    reason: {
      _tag: "OutputsGone",
      files: gone.slice(0, maxGone).map(nameOf),
      cached: gone.every(({ nodeIds }) => [...nodeIds].every((nodeId) => cachedNodes.has(nodeId)))
    }
  })
})
