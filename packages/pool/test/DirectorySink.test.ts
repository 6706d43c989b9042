import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Execution from "@effect-comfyui/execution/Execution"
import { type FileRef, FilesError, isSafeName } from "@effect-comfyui/execution/Files"
import { BackendId, JobId, RunId } from "@effect-comfyui/execution/Ids"
import * as Collect from "@effect-comfyui/pool/Collect"
import * as DirectorySinkNode from "@effect-comfyui/pool/DirectorySinkNode"
import type { Item } from "@effect-comfyui/pool/Sink"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FileSystem from "effect/FileSystem"
import * as PlatformError from "effect/PlatformError"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { basename, dirname, isAbsolute, relative } from "node:path"

const item = (file: Partial<FileRef> = {}, more: Partial<Item> = {}): Item => ({
  jobId: JobId.make("order 7"),
  runId: RunId.make("00000000-0000-4000-8000-000000000000"),
  server: BackendId.make("gpu-1"),
  nodeId: "9",
  file: { filename: "picture_00001_.png", subfolder: "", type: "output", ...file },
  sizeBytes: null,
  contentType: "image/png",
  ...more
})

const bytes = (...values: ReadonlyArray<number>) => new Uint8Array(values)

/** A folder for one test, and all files in it, relative to it. */
const temporary = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const root = yield* fs.makeTempDirectoryScoped()
  const files = Effect.gen(function*() {
    const found: Array<string> = []
    for (const name of yield* fs.readDirectory(root, { recursive: true })) {
      if ((yield* fs.stat(`${root}/${name}`)).type === "File") found.push(name)
    }
    return found.toSorted()
  })
  return { fs, root, files }
})

const live = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, NodeServices.NodeServices | Scope>
) => it.live(name, () => Effect.provide(Effect.scoped(test()), NodeServices.layer))

const staleName = "3f2a91c0-4d5e-4f60-8123-456789abcdef.part"

describe("a folder as a sink", () => {
  live("keeps a file under its job and node, and answers where and how large", () =>
    Effect.gen(function*() {
      const { files, fs, root } = yield* temporary
      const sink = yield* DirectorySinkNode.make(`${root}/deep/out`)
      const { location, sizeBytes } = yield* sink.put(item(), Stream.make(bytes(1, 2), bytes(), bytes(3)))
      assert.isTrue(isAbsolute(location))
      assert.strictEqual(sizeBytes, 3)
      assert.deepStrictEqual(yield* fs.readFile(location), bytes(1, 2, 3))
      assert.match(relative(root, location), /^deep\/out\/order 7\/9-[0-9a-f]{16}-picture_00001_\.png$/)
      assert.deepStrictEqual(yield* files, [relative(root, location)])
      const empty = yield* sink.put(item({}, { nodeId: "57:8" }), Stream.empty)
      assert.strictEqual(empty.sizeBytes, 0)
      assert.match(basename(empty.location), /^57\.8-/)
    }))

  live("keeps files of one name apart, and replaces one that comes again", () =>
    Effect.gen(function*() {
      const { files, fs, root } = yield* temporary
      const sink = yield* DirectorySinkNode.make(root)
      const items = [
        item(),
        item({ subfolder: "a" }),
        item({ subfolder: "a/b" }),
        item({ subfolder: "a", filename: "b" }),
        item({ type: "temp" }),
        item({ filename: "PICTURE_00001_.png" }),
        item({}, { nodeId: "1" }),
        item({}, { nodeId: "1-9" }),
        item({ filename: "9-x.png" }, { nodeId: "1" }),
        item({ filename: "x.png" }, { nodeId: "1-9" }),
        item({}, { nodeId: "1:9" }),
        item({}, { nodeId: "1.9" }),
        item({}, { jobId: JobId.make("ORDER 7") }),
        item({}, { jobId: JobId.make("order/7") })
      ]
      const locations = yield* Effect.forEach(items, (one, index) =>
        Effect.map(
          sink.put(one, Stream.make(bytes(index))),
          ({ location }) => location
        ))
      // Also where the file system knows no case.
      assert.strictEqual(new Set(locations.map((location) => location.toLowerCase())).size, items.length)
      const other = item({}, { runId: RunId.make("11111111-1111-4111-8111-111111111111") })
      const again = yield* (yield* DirectorySinkNode.make(root)).put(other, Stream.make(bytes(99)))
      assert.strictEqual(again.location, locations[0])
      assert.deepStrictEqual(yield* fs.readFile(again.location), bytes(99))
      assert.strictEqual((yield* files).length, items.length)
    }))

  live(
    "leaves its folder for no name: what is no file name is a digest with its extension",
    () =>
      Effect.gen(function*() {
        const { files, root } = yield* temporary
        const sink = yield* DirectorySinkNode.make(root)
        const names = [
          "../x",
          "../../etc/passwd",
          "/etc/passwd",
          "..",
          ".",
          "",
          "a\u0000b.png",
          "CON",
          "nul.png",
          "C:\\x.png",
          "a\\..\\b.png",
          "a?.png",
          "x. ",
          `${"n".repeat(300)}.png`,
          `${"é".repeat(120)}.png`,
          "\ud800.png"
        ]
        const jobs = ["../up", "/", "..", ".", ".incoming", "CON", "a\u0000b", "é".repeat(200), "a:b", "x."]
        const items = [
          ...names.map((filename) => item({ filename })),
          ...names.map((subfolder) => item({ subfolder })),
          ...jobs.map((jobId) => item({}, { jobId: JobId.make(jobId) })),
          ...names.filter((name) => name !== "").map((nodeId) => item({}, { nodeId }))
        ]
        const locations = yield* Effect.forEach(items, (one, index) =>
          Effect.map(
            sink.put(one, Stream.make(bytes(index))),
            ({ location }) => location
          ))
        for (const location of locations) {
          assert.strictEqual(dirname(dirname(location)), root)
          assert.isTrue(isSafeName(basename(location)), location)
          assert.notStrictEqual(basename(dirname(location)), ".incoming")
        }
        assert.strictEqual((yield* files).length, items.length)
        assert.match(basename(locations[names.length - 3] ?? ""), /^[0-9a-f]{16}\.png$/)
      })
  )

  live("has all of a file or nothing: a transfer that breaks, and an interruption", () =>
    Effect.gen(function*() {
      const { files, root } = yield* temporary
      const sink = yield* DirectorySinkNode.make(root)
      const broken = new FilesError({
        reason: { _tag: "Truncated", name: "x", expectedBytes: 10, receivedBytes: 1 }
      })
      const error = yield* Effect.flip(
        sink.put(item(), Stream.concat(Stream.make(bytes(1)), Stream.fail(broken)))
      )
      assert.strictEqual(error.reason._tag, "Truncated")
      assert.deepStrictEqual(yield* files, [])
      const written = yield* Deferred.make<void>()
      const endless = Stream.concat(
        Stream.make(bytes(1)),
        Stream.fromEffect(Effect.andThen(Deferred.succeed(written, undefined), Effect.never))
      )
      const putting = yield* Effect.forkChild(sink.put(item(), endless))
      yield* Deferred.await(written)
      assert.match((yield* files).join(), /^\.incoming\/[^,]*\.part$/)
      yield* Fiber.interrupt(putting)
      assert.deepStrictEqual(yield* files, [])
    }))

  live("keeps the file of before while the one of after is under way", () =>
    Effect.gen(function*() {
      const { fs, root } = yield* temporary
      const sink = yield* DirectorySinkNode.make(root)
      const { location } = yield* sink.put(item(), Stream.make(bytes(1)))
      const meanwhile = Stream.fromEffect(Effect.orDie(fs.readFile(location)))
      yield* sink.put(item(), Stream.concat(Stream.make(bytes(2, 3)), meanwhile))
      assert.deepStrictEqual(yield* fs.readFile(location), bytes(2, 3, 1))
    }))

  live("two that bring one file at once leave one whole file", () =>
    Effect.gen(function*() {
      const { files, fs, root } = yield* temporary
      const sinks = yield* Effect.all([DirectorySinkNode.make(root), DirectorySinkNode.make(root)])
      const put = (value: number) =>
        Stream.fromIterable(Array.from({ length: 50 }, () => bytes(value, value))).pipe(
          Stream.tap(() => Effect.yieldNow)
        )
      const stored = yield* Effect.all(sinks.map((sink, index) => sink.put(item(), put(index))), {
        concurrency: "unbounded"
      })
      const [first] = stored
      assert.strictEqual((yield* files).length, 1)
      const content = yield* fs.readFile(first?.location ?? "")
      assert.strictEqual(content.length, 100)
      assert.strictEqual(new Set(content).size, 1)
    }))

  live(
    "removes what a process left that was killed before the rename, and nothing that is under way",
    () =>
      Effect.gen(function*() {
        const { files, fs, root } = yield* temporary
        yield* fs.makeDirectory(`${root}/.incoming`)
        const old = `${root}/.incoming/${staleName}`
        const young = `${root}/.incoming/${staleName.replace("3", "4")}`
        for (const path of [old, young]) yield* fs.writeFile(path, bytes(1))
        const hourAgo = new Date(Date.now() - 3_600_000)
        yield* fs.utimes(old, hourAgo, hourAgo)
        const sink = yield* DirectorySinkNode.make(root)
        assert.deepStrictEqual(yield* files, [relative(root, young)])
        const { location } = yield* sink.put(item(), Stream.make(bytes(1, 2)))
        assert.deepStrictEqual(yield* fs.readFile(location), bytes(1, 2))
      })
  )

  live(
    "says of a full disk that it is full, of a forbidden folder that it refuses, of all else to try again",
    () =>
      Effect.gen(function*() {
        const { files, fs, root } = yield* temporary
        const failsWith = (code: string, _tag: PlatformError.SystemErrorTag) => {
          const cause = Object.assign(new Error(`${code}: as the system says it`), { code })
          const error = PlatformError.systemError({ _tag, module: "FileSystem", method: "write", cause })
          const broken = FileSystem.FileSystem.of({
            ...fs,
            open: (path, options) =>
              Effect.map(fs.open(path, options), (file) => ({
                ...file,
                sync: file.sync,
                writeAll: () => Effect.fail(error)
              }))
          })
          return Effect.gen(function*() {
            const sink = yield* DirectorySinkNode.make(root)
            return yield* Effect.flip(sink.put(item(), Stream.make(bytes(1))))
          }).pipe(Effect.provideService(FileSystem.FileSystem, broken))
        }
        const full = yield* failsWith("ENOSPC", "Unknown")
        assert.strictEqual(full.reason._tag, "Full")
        assert.include(full.message, "ENOSPC")
        assert.strictEqual((yield* failsWith("EDQUOT", "Unknown")).reason._tag, "Full")
        assert.strictEqual((yield* failsWith("EACCES", "PermissionDenied")).reason._tag, "Refused")
        assert.strictEqual((yield* failsWith("EIO", "Unknown")).reason._tag, "Unavailable")
        assert.deepStrictEqual(yield* files, [])
        yield* fs.writeFile(`${root}/file`, bytes(1))
        assert.strictEqual((yield* Effect.flip(DirectorySinkNode.make(`${root}/file`))).reason._tag, "Refused")
      })
  )

  it.effect("gets the files of a run, byte by byte", () =>
    Effect.gen(function*() {
      const { fs, root } = yield* temporary
      const client = yield* ComfyClient.ComfyClient
      const done = yield* ComfyTest.advanceWhile(Execution.result(client.run(Workflows.picture())))
      const receipts = yield* Collect.collect({
        backend: ComfyClient.backend(client),
        outputs: done.outputs,
        cachedNodes: new Set(),
        sink: yield* DirectorySinkNode.make(root),
        jobId: JobId.make("order 7"),
        runId: done.runId,
        permits: Collect.makePermits()
      })
      assert.strictEqual(receipts.length, 1)
      for (const { file, location, sizeBytes } of receipts) {
        const { bytes } = yield* client.files.download(file)
        const expected = Buffer.concat(yield* Stream.runCollect(bytes))
        assert.isTrue(expected.equals(yield* fs.readFile(location)))
        assert.strictEqual(sizeBytes, expected.byteLength)
      }
    }).pipe(Effect.scoped, Effect.provide([ComfyTest.layer(), NodeServices.layer])))
})
