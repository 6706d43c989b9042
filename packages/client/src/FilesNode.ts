/** Files by path: uploads from disk, downloads to disk that are there whole or not at all. */
import {
  type FileRef,
  type Files,
  FilesError,
  type FilesReason,
  isSafeName,
  type Upload
} from "@effect-comfyui/execution/Files"
import { makeUuid } from "@effect-comfyui/execution/Ids"
import * as Digest from "@effect-comfyui/workflow/Digest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Stream from "effect/Stream"

const failure = (reason: FilesReason): FilesError => new FilesError({ reason })

const local = (path: string) => (error: PlatformError.PlatformError): FilesError =>
  failure({ _tag: "LocalFile", path, cause: error.reason._tag })

/** An upload of a file on disk, named by its content: read once for the name and once to be sent. */
export const fromPath = Effect.fnUntraced(function*(
  path: string,
  options: Pick<Upload, "subfolder" | "type" | "naming"> = {}
): Effect.fn.Return<Upload, FilesError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const content = Stream.mapError(fs.stream(path), local(path))
  const filename = paths.basename(path)
  if (options.naming !== undefined && options.naming !== "content") return { ...options, content, filename }
  const digest = yield* Effect.map(
    Stream.runFold(content, Digest.hasher, (hasher, chunk) => {
      hasher.update(chunk)
      return hasher
    }),
    (hasher) => hasher.digest()
  )
  return {
    ...options,
    content,
    filename: `${digest}${paths.extname(path).toLowerCase()}`,
    subfolder: `ec/${digest.slice(0, 2)}`,
    naming: "keep"
  }
})

/** Uploads of all files of a folder and the folders in it, under their own names below `subfolder`. */
export const fromFolder = Effect.fnUntraced(function*(
  folder: string,
  subfolder: string
): Effect.fn.Return<ReadonlyArray<Upload>, FilesError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const names = yield* Effect.mapError(fs.readDirectory(folder, { recursive: true }), local(folder))
  const uploads = yield* Effect.forEach(names.toSorted(), (name) =>
    Effect.gen(function*() {
      const path = paths.join(folder, name)
      const info = yield* Effect.mapError(fs.stat(path), local(path))
      if (info.type !== "File") return []
      const below = paths.dirname(name).split(paths.sep).filter((part) => part !== "." && part !== "")
      const upload: Upload = {
        content: Stream.mapError(fs.stream(path), local(path)),
        filename: paths.basename(name),
        subfolder: [subfolder, ...below].filter((part) => part !== "").join("/"),
        naming: "overwrite"
      }
      return [upload]
    }))
  return uploads.flat()
})

/**
 * Downloads a file into a folder under the server's name for it, and answers the path. The name is refused unless it is
 * one path segment. The bytes go to a temporary file beside it that is renamed when all have come: an interruption or a
 * broken transfer leaves nothing.
 */
export const saveInto = Effect.fnUntraced(function*(
  files: Files,
  file: FileRef,
  folder: string
): Effect.fn.Return<string, FilesError, FileSystem.FileSystem | Path.Path> {
  const paths = yield* Path.Path
  if (!isSafeName(file.filename)) return yield* failure({ _tag: "UnsafeName", name: file.filename })
  const path = paths.join(folder, file.filename)
  yield* saveAs(files, file, path)
  return path
})

/** Downloads a file to a path of the caller's choice, with the same all-or-nothing rename. */
export const saveAs = Effect.fnUntraced(function*(
  files: Files,
  file: FileRef,
  path: string
): Effect.fn.Return<void, FilesError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const folder = paths.dirname(path)
  yield* Effect.mapError(fs.makeDirectory(folder, { recursive: true }), local(folder))
  const partial = paths.join(folder, `.${yield* makeUuid}.part`)
  const write = Effect.gen(function*() {
    const { bytes } = yield* files.download(file)
    yield* Stream.run(bytes, fs.sink(partial)).pipe(
      Effect.mapError((error) => error._tag === "FilesError" ? error : local(path)(error))
    )
    yield* Effect.mapError(fs.rename(partial, path), local(path))
  })
  yield* Effect.onExit(
    write,
    (exit) => exit._tag === "Failure" ? Effect.ignore(fs.remove(partial, { force: true })) : Effect.void
  )
})
