/** Files of one server: uploads by content, downloads that go on where they broke off. */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import {
  type Download,
  type FileRef,
  type Files,
  FilesError,
  type FilesReason,
  type MaskUpload,
  type Upload,
  type Uploaded
} from "@effect-comfyui/execution/Files"
import { makeUuid } from "@effect-comfyui/execution/Ids"
import * as Digest from "@effect-comfyui/workflow/Digest"
import * as Json from "@effect-comfyui/workflow/Json"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as Stream from "effect/Stream"
import type { ComfyHttpError } from "./ComfyHttpError.ts"
import type { HttpFiles } from "./HttpFiles.ts"
import type { Answer } from "./HttpTransport.ts"
import * as multipart from "./internal/multipart.ts"

/** Limits of transfers. */
export interface FilesOptions {
  /** Between two chunks of a download. */
  readonly idleTimeout: Duration.Input
  /** Uploads by content: known per server process, at most so many. */
  readonly maxKnown: number
  /** A stream is read whole for its name up to so many bytes; a longer one gets a random name. */
  readonly maxHashedBytes: number
  /** Tries of one download, the first included. */
  readonly tries: number
}

/** What the client adds to the port. */
export interface ClientFiles extends Files {
  /** Forgets what was uploaded: a new process may have an empty folder. */
  readonly forget: () => void
  /** What was uploaded is looked for before it is used again: the connection was lost, and who knows what happened there. */
  readonly doubt: () => void
}

const failure = (reason: FilesReason): FilesError => new FilesError({ reason })

/** What a failed request means for the file of that name. */
const fromHttp = (name: string) => (error: ComfyHttpError): FilesError => {
  const { reason } = error
  switch (reason._tag) {
    case "Answered":
      return error.status === 404
        ? failure({ _tag: "NotFound", name })
        : failure({ _tag: "Refused", name, status: error.status ?? 0 })
    case "ProtocolViolation":
      return failure({ _tag: "Unreachable", by: "proxy", status: error.status, cause: reason.kind })
    default:
      return failure(reason)
  }
}

const broken = (error: HttpClientError.HttpClientError): FilesError =>
  failure({ _tag: "Unreachable", by: "network", status: null, cause: error.reason._tag })

/** The value of a loader's input that names this file. */
export const inputValue = ({ filename, subfolder, type }: FileRef): string => {
  const path = subfolder === "" ? filename : `${subfolder}/${filename}`
  return type === "input" ? path : `${path} [${type}]`
}

const contentFolder = "ec"

/** A name of the content: the extension is kept, because loaders look at it. */
const contentName = (digest: string, filename: string) => {
  const extension = /\.[A-Za-z0-9]{1,8}$/.exec(filename)?.[0] ?? ""
  return { subfolder: `${contentFolder}/${digest.slice(0, 2)}`, filename: `${digest}${extension.toLowerCase()}` }
}

const concat = (chunks: ReadonlyArray<Uint8Array>, bytes: number): Uint8Array => {
  const whole = new Uint8Array(bytes)
  let offset = 0
  for (const chunk of chunks) {
    whole.set(chunk, offset)
    offset += chunk.byteLength
  }
  return whole
}

/** A stream as bytes if it is short enough to be read twice. */
const wholeIfShort = (content: Stream.Stream<Uint8Array, FilesError>, limit: number) =>
  Effect.map(
    Stream.runFold(
      Stream.takeUntil(
        Stream.scan(content, () => ({ chunks: new Array<Uint8Array>(), bytes: 0 }), (sum, chunk) => {
          sum.chunks.push(chunk)
          return { chunks: sum.chunks, bytes: sum.bytes + chunk.byteLength }
        }),
        (sum) => sum.bytes > limit
      ),
      () => ({ chunks: new Array<Uint8Array>(), bytes: 0 }),
      (_, sum) => sum
    ),
    (sum) => sum.bytes > limit ? undefined : concat(sum.chunks, sum.bytes)
  )

interface Place {
  readonly content: Upload["content"]
  readonly filename: string
  readonly subfolder: string
  readonly overwrite: boolean
  /** Under which the answer is remembered; undefined for what is sent each time. */
  readonly key: string | undefined
}

const place = Effect.fnUntraced(function*(
  { content, filename, naming = "content", subfolder = "", type = "input" }: Upload,
  limit: number
): Effect.fn.Return<Place, FilesError> {
  if (naming !== "content") return { content, filename, subfolder, overwrite: naming === "overwrite", key: undefined }
  const bytes = content instanceof Uint8Array ? content : yield* wholeIfShort(content, limit)
  const digest = bytes === undefined ? yield* makeUuid : Digest.sha256(bytes)
  return {
    ...contentName(digest, filename),
    content: bytes ?? content,
    overwrite: false,
    key: bytes === undefined ? undefined : `${type}/${digest}`
  }
})

const numberHeader = (answer: Answer, name: string): number | null => {
  const value = Number(answer.headers[name] ?? Number.NaN)
  return Number.isSafeInteger(value) && value >= 0 ? value : null
}

const refOf = ({ filename, subfolder, type }: FileRef): Json.Json => ({ filename, subfolder, type })

/** A file that was sent before, or is on its way by somebody else; undefined: that one was interrupted. */
interface Known {
  readonly answer: Deferred.Deferred<Uploaded | undefined, FilesError>
  /** To be looked for before it is used. */
  doubtful: boolean
}

/** Sends a file and answers the server's name for it. */
const send = Effect.fn("comfy.upload")(function*(http: HttpFiles, upload: Upload, at: Place, original?: FileRef) {
  const boundary = `effect-comfyui-${yield* makeUuid}`
  let sentBytes = 0
  const content = at.content instanceof Uint8Array ? at.content : Stream.tap(at.content, (chunk) =>
    Effect.sync(() => {
      sentBytes += chunk.byteLength
    }))
  if (content instanceof Uint8Array) sentBytes = content.byteLength
  const form = multipart.body({
    boundary,
    field: "image",
    filename: at.filename,
    content,
    fields: {
      type: upload.type ?? "input",
      subfolder: at.subfolder,
      ...(at.overwrite ? { overwrite: "true" } : {}),
      ...(original === undefined ? {} : { original_ref: Json.stringify(refOf(original)) })
    }
  })
  const request = original === undefined ? http.uploadImage(form) : http.uploadMask(form)
  const answer = yield* Effect.mapError(request, fromHttp(at.filename))
  const uploaded: Uploaded = {
    filename: answer.name,
    subfolder: answer.subfolder ?? "",
    type: answer.type ?? "input",
    sentBytes
  }
  return uploaded
})

/** Opens a file from an offset on. */
const open = Effect.fn("comfy.download")(function*(http: HttpFiles, file: FileRef, offset: number) {
  return yield* Effect.mapError(
    http.view(file, offset === 0 ? {} : { range: `bytes=${offset}-` }),
    fromHttp(file.filename)
  )
})

/** Files over the endpoints of one server. */
export const make = (http: HttpFiles, options: FilesOptions): ClientFiles => {
  /** Insertion order is age: the oldest go first. */
  const known = new Map<string, Known>()

  const doubt = () => {
    for (const one of known.values()) one.doubtful = true
  }

  const remember = (key: string, answer: Known["answer"]) => {
    known.set(key, { answer, doubtful: false })
    const oldest = known.size > options.maxKnown ? known.keys().next().value : undefined
    if (oldest !== undefined) known.delete(oldest)
  }

  const stat: ClientFiles["stat"] = (file) =>
    Effect.mapError(http.stat(file), fromHttp(file.filename)).pipe(
      Effect.map((answer) => ({ sizeBytes: numberHeader(answer, "content-length") })),
      // Whatever was sent under names of content may be gone with this one.
      Effect.tapError(({ reason }) =>
        Effect.sync(() => {
          if (reason._tag === "NotFound" && file.subfolder.startsWith(contentFolder)) doubt()
        })
      )
    )

  /** Where nobody can tell, it is taken for gone: to send it once more harms nobody. */
  const isThere = (file: FileRef) => Effect.map(Effect.exit(stat(file)), Exit.isSuccess)

  /**
   * The same content under way or sent already is not sent again; a failure is nobody's memory. Who waits for another's
   * upload does it itself if that one is interrupted.
   */
  const upload = Effect.fnUntraced(function*(wish: Upload): Effect.fn.Return<Uploaded, FilesError> {
    const at = yield* place(wish, options.maxHashedBytes)
    const { key } = at
    if (key === undefined) return yield* send(http, wish, at)
    for (let before = known.get(key); before !== undefined; before = known.get(key)) {
      const ref = yield* Deferred.await(before.answer)
      if (ref !== undefined && (!before.doubtful || (yield* isThere(ref)))) {
        before.doubtful = false
        return { ...ref, sentBytes: 0 }
      }
      if (ref !== undefined && known.get(key) === before) known.delete(key)
    }
    const answer = Deferred.makeUnsafe<Uploaded | undefined, FilesError>()
    remember(key, answer)
    return yield* send(http, wish, at).pipe(
      Effect.onExit((exit) => {
        if (exit._tag === "Failure") known.delete(key)
        return Deferred.done(
          answer,
          exit._tag === "Failure" && Cause.hasInterrupts(exit.cause) ? Exit.succeed(undefined) : exit
        )
      })
    )
  })

  const uploadMask = (wish: MaskUpload): Effect.Effect<Uploaded, FilesError> =>
    Effect.flatMap(place(wish, options.maxHashedBytes), (at) => send(http, wish, at, wish.original))

  /** Bytes from `offset` on; what breaks off is asked for again from where it broke. */
  const rest = (
    file: FileRef,
    answer: Answer,
    state: { readonly offset: number; readonly size: number | null; readonly tag: string | undefined },
    tries: number
  ): Stream.Stream<Uint8Array, FilesError> =>
    Stream.suspend(() => {
      let received = state.offset
      const name = file.filename
      const stalled = failure({ _tag: "Unreachable", by: "timeout", status: null, cause: "the body stopped" })
      const truncated = () => failure({ _tag: "Truncated", name, expectedBytes: state.size, receivedBytes: received })
      const again = Stream.unwrap(Effect.suspend(() =>
        Effect.map(
          open(http, file, received),
          (next) =>
            sameFile(next, state, received)
              ? rest(file, next, { ...state, offset: received }, tries - 1)
              : Stream.fail(truncated())
        )
      ))
      return answer.stream.pipe(
        Stream.mapError(broken),
        Stream.timeoutOrElse({ duration: options.idleTimeout, orElse: () => Stream.fail(stalled) }),
        Stream.tap((chunk) =>
          Effect.sync(() => {
            received += chunk.byteLength
          })
        ),
        Stream.concat(
          Stream.suspend(() => state.size !== null && received < state.size ? Stream.fail(truncated()) : Stream.empty)
        ),
        Stream.catch((error) => tries > 1 && state.size !== null ? again : Stream.fail(error))
      )
    })

  const download = (file: FileRef): Effect.Effect<Download, FilesError> =>
    Effect.map(open(http, file, 0), (answer) => {
      const sizeBytes = numberHeader(answer, "content-length")
      return {
        sizeBytes,
        contentType: answer.headers["content-type"] ?? null,
        bytes: rest(file, answer, { offset: 0, size: sizeBytes, tag: answer.headers["etag"] }, options.tries)
      }
    })

  return {
    upload,
    uploadMask,
    inputValue,
    download,
    stat,
    forget: () => known.clear(),
    doubt
  }
}

/** Whether an answer to a range is the rest of the same file: a changed file must not be glued together. */
const sameFile = (
  answer: Answer,
  state: { readonly size: number | null; readonly tag: string | undefined },
  offset: number
): boolean =>
  answer.status === 206 && answer.headers["etag"] === state.tag &&
  answer.headers["content-range"]?.startsWith(`bytes ${offset}-`) === true &&
  (state.size === null || answer.headers["content-range"].endsWith(`/${state.size}`))

/** A file that failed to arrive, as the reason of the run that needed it. */
export const toReason = (name: string, error: FilesError): Reason => ({
  _tag: "AttachmentFailed",
  name,
  cause: error.message
})
