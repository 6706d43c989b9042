/** Files to and from one server, as a backend offers them: typed, streamed, bounded. */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { describe, RateLimited, Unauthorized, Unreachable } from "./ExecutionError.ts"

/** The server has no such file (any more). */
export const NotFound = Schema.TaggedStruct("NotFound", { name: Schema.String })
/** The server refused the name, the folder or the size. `status` is HTTP's. */
export const Refused = Schema.TaggedStruct("Refused", { name: Schema.String, status: Schema.Int })
/** The body ended early or changed between two ranges; bytes received so far are counted. */
export const Truncated = Schema.TaggedStruct("Truncated", {
  name: Schema.String,
  expectedBytes: Schema.NullOr(Schema.Finite),
  receivedBytes: Schema.Finite
})
/** A name that would leave the target folder, or is no file name at all; nothing was written. */
export const UnsafeName = Schema.TaggedStruct("UnsafeName", { name: Schema.String })
/** More bytes than the stated limit. */
export const TooLarge = Schema.TaggedStruct("TooLarge", { name: Schema.String, limitBytes: Schema.Finite })
/** The local file or folder could not be read or written. */
export const LocalFile = Schema.TaggedStruct("LocalFile", { path: Schema.String, cause: Schema.String })

export const FilesReason = Schema.Union([
  NotFound,
  Refused,
  Truncated,
  UnsafeName,
  TooLarge,
  LocalFile,
  Unreachable,
  RateLimited,
  Unauthorized
])
export type FilesReason = typeof FilesReason.Type

/** Why a file did not arrive. Survives JSON. */
export class FilesError extends Schema.TaggedError<FilesError>()("FilesError", { reason: FilesReason }) {
  override get message(): string {
    const { reason } = this
    switch (reason._tag) {
      case "NotFound":
        return `no file ${reason.name} on the server`
      case "Refused":
        return `the server refused ${reason.name} (${reason.status})`
      case "Truncated":
        return `${reason.name} ended after ${reason.receivedBytes} of ${reason.expectedBytes ?? "unknown"} bytes`
      case "UnsafeName":
        return `unsafe file name ${JSON.stringify(reason.name)}`
      case "TooLarge":
        return `${reason.name} is larger than ${reason.limitBytes} bytes`
      case "LocalFile":
        return `${reason.path}: ${reason.cause}`
      default:
        return describe(reason)
    }
  }
}

/** A file on a server, as outputs name it and uploads answer it. */
export interface FileRef {
  readonly filename: string
  readonly subfolder: string
  /** `input`, `output`, `temp`, or a word of a newer server. */
  readonly type: string
}

const windowsDevices = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i

/**
 * Whether a name that a server sent may become a file: one path segment, no dots alone, no control characters, nothing
 * that a file system reads as more than a name.
 */
export const isSafeName = (name: string): boolean =>
  name.length > 0 && new TextEncoder().encode(name).byteLength <= 255 && name !== "." && name !== ".." &&
  !/[/\\:\u0000-\u001f]/.test(name) && !/[. ]$/.test(name) && !windowsDevices.test(name)

/** An upload's answer. `sentBytes`: what went over the wire for it; 0: the server had this content already. */
export interface Uploaded extends FileRef {
  readonly sentBytes: number
}

/** Bytes to upload: whole, or as a stream that is read once per attempt. */
export type FileContent = Uint8Array | Stream.Stream<Uint8Array, FilesError>

/** What to upload and where: `filename` is a wish, the server may answer another. */
export interface Upload {
  readonly content: FileContent
  readonly filename: string
  readonly subfolder?: string
  readonly type?: "input" | "temp"
  /** `content`: a name by SHA-256, sent once per server process; `keep`: as given, the server renames a clash. */
  readonly naming?: "content" | "keep" | "overwrite"
}

/** A file's bytes on their way: `sizeBytes` and `contentType` as the server announced them. */
export interface Download {
  readonly sizeBytes: number | null
  readonly contentType: string | null
  readonly bytes: Stream.Stream<Uint8Array, FilesError>
}

/** Belongs to a run: uploaded before it is submitted; the server's name for it goes into `input`, if there is one. */
export interface Attachment extends Upload {
  readonly input?: { readonly nodeId: string; readonly inputName: string }
}

/** A picture whose transparency becomes the mask of a file that is on the server. */
export interface MaskUpload extends Upload {
  readonly original: FileRef
}

/** The files of one server. */
export interface Files {
  /** Uploads and answers the name the server gave; the same content is sent once per server process. */
  readonly upload: (upload: Upload) => Effect.Effect<Uploaded, FilesError>
  /** Uploads a mask for a file that is there; the answer names the picture with the mask in it. */
  readonly uploadMask: (upload: MaskUpload) => Effect.Effect<Uploaded, FilesError>
  /** The value of a loader's input that names this file: folder, name and, outside `input`, the annotation. */
  readonly inputValue: (file: FileRef) => string
  /** Opens a file; a broken transfer goes on by range where the server allows it. */
  readonly download: (file: FileRef) => Effect.Effect<Download, FilesError>
  /** Whether the file exists now, and how large it is. */
  readonly stat: (file: FileRef) => Effect.Effect<{ readonly sizeBytes: number | null }, FilesError>
}
