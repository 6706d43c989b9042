/** A folder as a sink: every file in it is whole, and on the disk before its receipt is. */
import { isSafeName } from "@effect-comfyui/execution/Files"
import { makeUuid } from "@effect-comfyui/execution/Ids"
import * as Digest from "@effect-comfyui/workflow/Digest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Path from "effect/Path"
import type * as PlatformError from "effect/PlatformError"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import * as Defaults from "./Defaults.ts"
import { type Item, type Sink, SinkError, type SinkReason } from "./Sink.ts"

/** Files on their way, in the same file system as their places. */
const incoming = ".incoming"

/** A file on its way that nobody has written to for longer belongs to a process that is gone. */
const staleMs = 1.5 * Duration.toMillis(Defaults.collect.sinkIdle)

const codeOf = ({ reason: { cause } }: PlatformError.PlatformError): unknown =>
  Predicate.hasProperty(cause, "code") ? cause.code : undefined

const full: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG"])
const refused: ReadonlySet<unknown> = new Set(["EACCES", "EPERM", "EROFS", "ENOTDIR", "EISDIR", "ENAMETOOLONG"])

const tagOf = (code: unknown): SinkReason["_tag"] =>
  full.has(code) ? "Full" : refused.has(code) ? "Refused" : "Unavailable"

const failure = (error: PlatformError.PlatformError): SinkError => {
  const code = codeOf(error)
  return new SinkError({ reason: { _tag: tagOf(code), cause: `${String(code ?? "")} ${error.message}`.trim() } })
}

/** What Windows takes in no name. */
const notOnWindows = /[*?"<>|]/

const isReadable = (name: string): boolean => isSafeName(name) && !notOnWindows.test(name)

const digits = 16

/**
 * The digest alone tells files apart, whatever file system folds in names; all else is for people, and left out where it
 * is no name.
 */
const placeOf = ({ file: { filename, subfolder, type }, jobId, nodeId }: Item) => {
  const id = Digest.sha256(JSON.stringify([jobId, nodeId, type, subfolder, filename])).slice(0, digits)
  const name = `${nodeId.replaceAll(":", ".")}-${id}-${filename}`
  const extension = /\.[A-Za-z0-9]{1,8}$/.exec(filename)?.[0] ?? ""
  return {
    folder: isReadable(jobId) && !jobId.startsWith(".") ? jobId : Digest.sha256(jobId).slice(0, digits),
    name: isReadable(name) ? name : `${id}${extension}`
  }
}

/**
 * A sink that keeps files as `<directory>/<job>/<node>-<digest>-<name>`, and answers their absolute paths. The digest is
 * that of job, node, folder, type and name: two files have two places, and one that comes again replaces itself. A name
 * that is no file name (`../x`, 300 characters) is left out but for its extension; a job id likewise.
 *
 * Bytes go to `<directory>/.incoming` as they come, at most a chunk is in memory; the file is flushed to the disk, then
 * renamed to its place, then its folder is flushed. A failure or an interruption leaves nothing; what a killed process
 * left is removed when a sink is made 15 minutes later or more. Fails where the directory cannot be made. A full disk or
 * quota is `Full`, no permission `Refused`, all else `Unavailable`.
 */
export const make = Effect.fnUntraced(function*(
  directory: string
): Effect.fn.Return<Sink, SinkError, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const paths = yield* Path.Path
  const root = paths.resolve(directory)
  const partial = paths.join(root, incoming)

  const sweep = Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    for (const name of yield* fs.readDirectory(partial)) {
      const path = paths.join(partial, name)
      // Somebody else may be sweeping, too.
      const info = yield* Effect.option(fs.stat(path))
      const modified = Option.getOrUndefined(Option.flatMap(info, ({ mtime }) => mtime))
      if (modified === undefined || now - modified.getTime() <= staleMs) continue
      yield* Effect.ignore(fs.remove(path, { force: true }))
    }
  })
  yield* Effect.mapError(fs.makeDirectory(partial, { recursive: true }), failure)
  yield* Effect.ignore(sweep)

  /** Not on Windows, where a folder cannot be opened and a rename needs no flush. */
  const flushFolder = (path: string) =>
    Effect.ignore(Effect.scoped(Effect.flatMap(fs.open(path, { flag: "r" }), (folder) => folder.sync)))

  const write = Effect.fnUntraced(function*(path: string, bytes: Parameters<Sink["put"]>[1]) {
    const file = yield* Effect.mapError(fs.open(path, { flag: "wx" }), failure)
    let sizeBytes = 0
    yield* Stream.runForEach(bytes, (chunk) => {
      sizeBytes += chunk.byteLength
      return Effect.mapError(file.writeAll(chunk), failure)
    })
    yield* Effect.mapError(file.sync, failure)
    return sizeBytes
  }, Effect.scoped)

  return {
    name: root,
    put: Effect.fnUntraced(function*(item, bytes) {
      const { folder, name } = placeOf(item)
      const place = paths.join(root, folder, name)
      const part = paths.join(partial, `${yield* makeUuid}.part`)
      const store = Effect.gen(function*() {
        const sizeBytes = yield* write(part, bytes)
        yield* Effect.mapError(fs.makeDirectory(paths.dirname(place), { recursive: true }), failure)
        yield* Effect.mapError(fs.rename(part, place), failure)
        yield* flushFolder(paths.dirname(place))
        yield* flushFolder(root)
        return { location: place, sizeBytes }
      })
      return yield* Effect.onError(store, () => Effect.ignore(fs.remove(part, { force: true })))
    })
  }
})
