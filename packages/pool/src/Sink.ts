/** Where the files of a pool's jobs are kept: a folder, a bucket, whatever takes bytes and says where they are now. */
import type { FileRef, FilesError } from "@effect-comfyui/execution/Files"
import type { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"

/** It did not work this time: it is tried again. */
export const Unavailable = Schema.TaggedStruct("Unavailable", { cause: Schema.String })
/** There is no room. Final: nobody waits with a job for somebody to make some. */
export const Full = Schema.TaggedStruct("Full", { cause: Schema.String })
/** It will never work: no permission, no such bucket, a name that it does not take. Final. */
export const Refused = Schema.TaggedStruct("Refused", { cause: Schema.String })

export const SinkReason = Schema.Union([Unavailable, Full, Refused])
export type SinkReason = typeof SinkReason.Type

/** Why a sink did not take a file. Survives JSON; `cause` is a text for people. */
export class SinkError extends Schema.TaggedError<SinkError>()("SinkError", { reason: SinkReason }) {
  override get message(): string {
    const { _tag, cause } = this.reason
    return `${_tag === "Unavailable" ? "unavailable" : _tag === "Full" ? "full" : "refused"}: ${cause}`
  }
}

/**
 * A file on its way to a sink. `filename` and `subfolder` are a server's words and hostile: never join them to a path.
 * `sizeBytes` and `contentType` as the server announced them.
 */
export interface Item {
  readonly jobId: JobId
  readonly runId: RunId
  readonly server: BackendId
  readonly nodeId: string
  readonly file: FileRef
  readonly sizeBytes: number | null
  readonly contentType: string | null
}

/**
 * What a sink answers: where the file is now, in words that whoever fetches it understands. Where `sizeBytes` is said, it
 * must be what was sent; `sha256`, 64 lowercase hexadecimal digits, goes into the receipt as it is.
 */
export interface Stored {
  readonly location: string
  readonly sizeBytes?: number
  readonly sha256?: string
}

/**
 * Takes files, at least once each: after a failed try, after the end of the process or when a lease was lost, the same
 * item comes again, perhaps while the first is still under way, perhaps of another run with other bytes. So a sink is
 * idempotent by `(jobId, nodeId, file)`: the same place, and the last whole one stays.
 *
 * ```ts
 * const bucket = (s3: S3, name: string): Sink.Sink => ({
 *   name: `s3://${name}`,
 *   put: ({ contentType, file, jobId, nodeId, sizeBytes }, bytes) => {
 *     const parts = [jobId, nodeId, file.type, file.subfolder, file.filename]
 *     const key = parts.map(encodeURIComponent).join("/")
 *     return s3.putObject({ bucket: name, key, body: bytes, contentLength: sizeBytes, contentType }).pipe(
 *       Effect.as({ location: `s3://${name}/${key}` }),
 *       Effect.catchTag("S3Error", ({ message, status }) =>
 *         Effect.fail(
 *           new Sink.SinkError({
 *             reason: status === 403 || status === 404
 *               ? { _tag: "Refused", cause: message }
 *               : { _tag: "Unavailable", cause: message }
 *           })
 *         ))
 *     )
 *   }
 * })
 * ```
 */
export interface Sink {
  /** For people, in errors and logs; without secrets. */
  readonly name: string
  /**
   * Stores a file. `bytes` can be read once, to its end; it fails where the transfer broke or was too short or too long,
   * and then nothing may be left in the place of the file, nor after an interruption. To pass on its `FilesError` is
   * right, and so is an error of one's own: whose fault it was is known here. A sink that does nothing for ten minutes is
   * interrupted.
   */
  readonly put: (
    item: Item,
    bytes: Stream.Stream<Uint8Array, FilesError>
  ) => Effect.Effect<Stored, SinkError | FilesError>
}
