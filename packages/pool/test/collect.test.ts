import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { type Download, type FileRef, type Files, FilesError } from "@effect-comfyui/execution/Files"
import { BackendId, JobId, makeRunId, RunId } from "@effect-comfyui/execution/Ids"
import * as Outputs from "@effect-comfyui/execution/Outputs"
import * as Collect from "@effect-comfyui/pool/Collect"
import { changedPrefix } from "@effect-comfyui/pool/FilePrefix"
import { type Sink, SinkError } from "@effect-comfyui/pool/Sink"
import { ComfyTest, Fault, Workflows } from "@effect-comfyui/testing"
import * as Workflow from "@effect-comfyui/workflow/Workflow"
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { bucket, drain, failing, notFound } from "./support/sinks.ts"

const jobId = JobId.make("order 7")

/** Two pictures that are saved, and two that are only shown. */
const four = Workflow.fromNodes({
  "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 2, color: 0x336699 } },
  "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "shop/picture" } },
  "3": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
})

/** A run that has succeeded, as a runner knows it. */
const finished = Effect.fnUntraced(function*(workflow: Workflow.Workflow = Workflows.picture()) {
  const client = yield* ComfyClient.ComfyClient
  const events = yield* ComfyTest.advanceWhile(Stream.runCollect(client.run(workflow)))
  const last = events.at(-1)
  const runId = yield* makeRunId
  return {
    backend: ComfyClient.backend(client),
    outputs: last?._tag === "Completed" ? last.outputs : Outputs.empty,
    cachedNodes: new Set(events.flatMap((event) => event._tag === "NodesCached" ? event.nodeIds : [])),
    jobId,
    runId: last?.runId ?? runId,
    permits: Collect.makePermits()
  }
})

const reasonOf = <A>(collected: Effect.Effect<A, Effect.Error<ReturnType<typeof Collect.collect>>>) =>
  Effect.map(ComfyTest.advanceWhile(Effect.flip(collected)), ({ reason }) => reason)

const views = Effect.map(
  Effect.flatMap(ComfyTest.server, ({ requests }) => requests),
  (all) => all.filter(({ target }) => target.includes("/view?"))
)

const now = Clock.currentTimeMillis

/** Outputs of one node with files of these names. */
const named = (...names: ReadonlyArray<string>): Outputs.Outputs =>
  Outputs.fromRecords({ "9": { images: names.map((filename) => ({ filename, subfolder: "", type: "output" })) } })

const chunk = (bytes: number) => new Uint8Array(bytes)

/** A server whose files are what the function says. */
const synthetic = (download: (file: FileRef) => Effect.Effect<Download, FilesError>) => {
  const unused = Effect.die("not asked for here")
  const files: Files = {
    upload: () => unused,
    uploadMask: () => unused,
    inputValue: ({ filename, type }) => `${filename} [${type}]`,
    download,
    stat: (file) => Effect.map(download(file), ({ sizeBytes }) => ({ sizeBytes }))
  }
  return { id: BackendId.make("synthetic"), files }
}

const file = (sizeBytes: number | null, ...chunks: ReadonlyArray<number>) =>
  Effect.succeed<Download>({ sizeBytes, contentType: null, bytes: Stream.fromIterable(chunks.map(chunk)) })

const options = (backend: Collect.Options["backend"], sink: Sink, outputs = named("a.bin")): Collect.Options => ({
  backend,
  outputs,
  cachedNodes: new Set(),
  sink,
  jobId,
  runId: RunId.make("00000000-0000-4000-8000-000000000000"),
  permits: Collect.makePermits()
})

describe("the files of a run that succeeded", () => {
  it.effect("are brought to the sink, once each, of all folders, with receipts in the order of the nodes", () =>
    Effect.gen(function*() {
      const run = yield* finished(four)
      const objects = new Map<string, Uint8Array>()
      const receipts = yield* ComfyTest.advanceWhile(Collect.collect({ ...run, sink: bucket(objects) }))
      assert.deepStrictEqual(receipts.map(({ file: { subfolder, type }, nodeId }) => [nodeId, type, subfolder]), [
        ["2", "output", "shop"],
        ["2", "output", "shop"],
        ["3", "temp", ""],
        ["3", "temp", ""]
      ])
      assert.strictEqual(objects.size, 4)
      for (const { location, sizeBytes } of receipts) {
        assert.strictEqual(objects.get(location.slice("s3://bucket/".length))?.byteLength, sizeBytes)
      }
      assert.strictEqual((yield* views).length, 4)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("that several nodes name are brought once, with a receipt for each node", () =>
    Effect.gen(function*() {
      let opened = 0
      const backend = synthetic(() =>
        Effect.suspend(() => {
          opened++
          return file(3, 3)
        })
      )
      const outputs: Outputs.Outputs = {
        ...named("a.bin", "a.bin"),
        ...Outputs.fromRecords({ "4.0.0.5": { gifs: [{ filename: "a.bin", subfolder: "", type: "output" }] } })
      }
      const receipts = yield* Collect.collect(options(backend, drain, outputs))
      assert.deepStrictEqual(receipts.map(({ nodeId }) => nodeId), ["9", "4.0.0.5"])
      assert.strictEqual(opened, 1)
      assert.deepStrictEqual(yield* Collect.collect(options(backend, drain, Outputs.empty)), [])
    }))

  it.effect("are gone when they are missing twice: all are named", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      const run = yield* finished(four)
      yield* server.wipe("output")
      const before = yield* now
      assert.deepStrictEqual(yield* reasonOf(Collect.collect({ ...run, sink: drain })), {
        _tag: "OutputsGone",
        files: ["shop/picture_00001_.png [output]", "shop/picture_00002_.png [output]"],
        cached: false
      })
      assert.isAtLeast((yield* now) - before, 2_000)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("that are missing once are there: a proxy has said it", () =>
    Effect.gen(function*() {
      const run = yield* finished()
      yield* (yield* ComfyTest.server).inject(
        Fault.on(Fault.path("/view"), Fault.respond({ status: 404 }), { times: 1 })
      )
      assert.strictEqual((yield* ComfyTest.advanceWhile(Collect.collect({ ...run, sink: drain }))).length, 1)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("that the server replayed from its cache are written again under another prefix, and nothing else is", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      yield* finished()
      yield* server.wipe("output")
      const replayed = yield* finished()
      const reason = yield* reasonOf(Collect.collect({ ...replayed, sink: drain }))
      assert.deepStrictEqual(reason, { _tag: "OutputsGone", files: ["picture_00001_.png [output]"], cached: true })
      const ran = (yield* server.ledger).nodes.length
      const again = yield* finished(changedPrefix(Workflows.picture(), "again") ?? Workflows.rejected)
      assert.strictEqual((yield* server.ledger).nodes.length, ran + 1)
      const [receipt] = yield* ComfyTest.advanceWhile(Collect.collect({ ...again, sink: drain }))
      assert.strictEqual(receipt?.file.filename, "picture-again_00001_.png")
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("are gone of the cache only if all of them are; at most 20 are named", () =>
    Effect.gen(function*() {
      const gone = synthetic(({ filename }) => Effect.fail(notFound(filename)))
      const names = Array.from({ length: 30 }, (_, index) => `${index}.png`)
      const many = yield* reasonOf(
        Collect.collect({ ...options(gone, drain, named(...names)), cachedNodes: new Set(["9"]) })
      )
      assert.isTrue(many._tag === "OutputsGone" && many.cached && many.files.length === 20)
      const both = { ...named("a.png"), "8": named("b.png")["9"] ?? { files: [], texts: [], raw: null } }
      const mixed = yield* reasonOf(
        Collect.collect({ ...options(gone, drain, both), cachedNodes: new Set(["9"]) })
      )
      assert.isTrue(mixed._tag === "OutputsGone" && !mixed.cached)
    }))
})

describe("a text that looks like a file", () => {
  const preview = Outputs.fromRecords({ "9": { result: ["3d/mesh.glb", null] } })

  it.effect("is one if there is such a file, and the same that another node saved", () =>
    Effect.gen(function*() {
      const saved = Outputs.fromRecords({ "8": { "3d": [{ filename: "mesh.glb", subfolder: "3d", type: "output" }] } })
      const backend = synthetic(() => file(4, 4))
      const receipts = yield* Collect.collect(options(backend, drain, { ...saved, ...preview }))
      assert.deepStrictEqual(
        receipts.map(({ file: { filename, subfolder }, nodeId }) => [nodeId, subfolder, filename]),
        [
          ["8", "3d", "mesh.glb"],
          ["9", "3d", "mesh.glb"]
        ]
      )
      const gone = synthetic(({ filename }) => Effect.fail(notFound(filename)))
      const reason = yield* reasonOf(Collect.collect(options(gone, drain, { ...preview, ...saved })))
      assert.strictEqual(reason._tag, "OutputsGone")
    }))

  it.effect("is none if there is not", () =>
    Effect.gen(function*() {
      const backend = synthetic(({ filename }) =>
        filename === "mesh.glb" ? Effect.fail(notFound(filename)) : file(4, 4)
      )
      const outputs = { ...preview, "8": named("a.png")["9"] ?? { files: [], texts: [], raw: null } }
      const receipts = yield* ComfyTest.advanceWhile(Collect.collect(options(backend, drain, outputs)))
      assert.deepStrictEqual(receipts.map(({ nodeId }) => nodeId), ["8"])
    }))
})

describe("a way that breaks", () => {
  it.effect("cut, or silent for 60 s: the rest is asked for by range, within one try", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      const run = yield* finished()
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.stallBody(50), { times: 1 }))
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.cutBody(30), { times: 1 }))
      const before = yield* now
      const objects = new Map<string, Uint8Array>()
      const sink = failing(0, { _tag: "Full", cause: "" }, bucket(objects))
      const [receipt] = yield* ComfyTest.advanceWhile(Collect.collect({ ...run, sink }))
      assert.isAtLeast((yield* now) - before, 60_000)
      assert.strictEqual(sink.tries(), 1)
      assert.deepStrictEqual((yield* views).map(({ headers }) => headers["range"]), [
        undefined,
        "bytes=50-",
        "bytes=80-"
      ])
      const [bytes] = objects.values()
      assert.strictEqual(bytes?.byteLength, receipt?.sizeBytes)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("a server that is killed after the run and comes back still has the files", () =>
    Effect.gen(function*() {
      const server = yield* ComfyTest.server
      const run = yield* finished()
      yield* server.kill
      const collecting = yield* Effect.forkChild(Collect.collect({ ...run, sink: drain }), { startImmediately: true })
      yield* TestClock.adjust("20 seconds")
      yield* server.restart
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(collecting)).length, 1)
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("a server that is gone for good: what the client says of it", () =>
    Effect.gen(function*() {
      const run = yield* finished()
      yield* (yield* ComfyTest.server).kill
      assert.strictEqual((yield* reasonOf(Collect.collect({ ...run, sink: drain })))._tag, "Unreachable")
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("a body that is too short or too long is three failed tries, and the sink hears of each", () =>
    Effect.gen(function*() {
      const objects = new Map<string, Uint8Array>()
      for (
        const [sizeBytes, chunks, tag] of [[10, [4, 4], "Truncated"], [10, [4, 4, 4], "TooLarge"]] as const
      ) {
        const sink = failing(0, { _tag: "Full", cause: "" }, bucket(objects))
        const reason = yield* reasonOf(Collect.collect(options(synthetic(() => file(sizeBytes, ...chunks)), sink)))
        assert.strictEqual(reason._tag, tag)
        assert.strictEqual(sink.tries(), 3)
      }
      assert.strictEqual(objects.size, 0)
    }))

  it.effect("a sink that hides the failure of the bytes, or takes the blame, changes nothing", () =>
    Effect.gen(function*() {
      const hiding: Sink = {
        name: "hiding",
        put: (_, bytes) => Effect.as(Effect.ignore(Stream.runDrain(bytes)), { location: "somewhere" })
      }
      const blaming: Sink = {
        name: "blaming",
        put: (_, bytes) =>
          Effect.mapError(
            Effect.as(Stream.runDrain(bytes), { location: "somewhere" }),
            ({ message }) => new SinkError({ reason: { _tag: "Refused", cause: message } })
          )
      }
      for (const sink of [hiding, blaming]) {
        const reason = yield* reasonOf(Collect.collect(options(synthetic(() => file(10, 4)), sink)))
        assert.strictEqual(reason._tag, "Truncated")
      }
    }))

  it.effect("a body of unannounced size is as long as the server says elsewhere, or as it is", () =>
    Effect.gen(function*() {
      const backend = synthetic(() => file(null, 4, 4))
      const known = { ...backend, files: { ...backend.files, stat: () => Effect.succeed({ sizeBytes: 9 }) } }
      assert.strictEqual((yield* Collect.collect(options(backend, drain)))[0]?.sizeBytes, 8)
      assert.strictEqual((yield* reasonOf(Collect.collect(options(known, drain))))._tag, "Truncated")
    }))

  it.effect("a server that asks for time gets it; one that says no is not asked again", () =>
    Effect.gen(function*() {
      let asked = 0
      const answering = (reason: FilesError["reason"]) =>
        synthetic(() => Effect.suspend(() => asked++ === 0 ? Effect.fail(new FilesError({ reason })) : file(4, 4)))
      const before = yield* now
      yield* ComfyTest.advanceWhile(
        Collect.collect(options(answering({ _tag: "RateLimited", retryAfterMs: 90_000 }), drain))
      )
      assert.isAtLeast((yield* now) - before, 90_000)
      asked = 0
      const refused = answering({ _tag: "Refused", name: "a.bin", status: 400 })
      assert.strictEqual((yield* reasonOf(Collect.collect(options(refused, drain))))._tag, "Refused")
      assert.strictEqual(asked, 1)
    }))
})

describe("a sink", () => {
  const backend = synthetic(() => file(8, 4, 4))

  it.effect("that fails twice and then works: one receipt", () =>
    Effect.gen(function*() {
      const sink = failing(2, { _tag: "Unavailable", cause: "503" }, drain)
      assert.strictEqual((yield* ComfyTest.advanceWhile(Collect.collect(options(backend, sink)))).length, 1)
      assert.strictEqual(sink.tries(), 3)
      const never = failing(3, { _tag: "Unavailable", cause: "503" }, drain)
      assert.deepStrictEqual(yield* reasonOf(Collect.collect(options(backend, never))), {
        _tag: "CollectFailed",
        sink: "drain",
        file: "a.bin [output]",
        cause: "unavailable: 503"
      })
    }))

  it.effect("that is full or refuses is not asked again", () =>
    Effect.gen(function*() {
      for (const _tag of ["Full", "Refused"] as const) {
        const sink = failing(1, { _tag, cause: "no" }, drain)
        assert.strictEqual((yield* reasonOf(Collect.collect(options(backend, sink))))._tag, "CollectFailed")
        assert.strictEqual(sink.tries(), 1)
      }
    }))

  it.effect("that stored another number of bytes, did not read all, does nothing or dies has failed", () =>
    Effect.gen(function*() {
      const causeOf = (put: Sink["put"]) =>
        Effect.map(
          reasonOf(Collect.collect(options(backend, { name: "bad", put }))),
          (reason) => reason._tag === "CollectFailed" ? reason.cause : reason._tag
        )
      const location = "somewhere"
      const short = yield* causeOf((_, bytes) => Effect.as(Stream.runDrain(bytes), { location, sizeBytes: 7 }))
      assert.strictEqual(short, "unavailable: stored 7 of 8 bytes")
      const lazy = yield* causeOf((_, bytes) => Effect.as(Stream.runDrain(Stream.take(bytes, 1)), { location }))
      assert.strictEqual(lazy, "unavailable: did not read the file to its end")
      assert.strictEqual(yield* causeOf(() => Effect.never), "unavailable: took nothing for 10m")
      assert.strictEqual(yield* causeOf(() => Effect.die("a bug")), "refused: a bug")
      const long = yield* causeOf(() => Effect.die("x".repeat(10_000)))
      assert.isBelow(long.length, 600)
    }))

  it.effect("that works slowly is waited for", () =>
    Effect.gen(function*() {
      const slow: Sink = {
        name: "slow",
        put: (_, bytes) =>
          Effect.as(Stream.runForEach(bytes, () => Effect.sleep("9 minutes")), { location: "somewhere" })
      }
      const receipts = yield* ComfyTest.advanceWhile(Collect.collect(options(backend, slow)), { step: "1 minute" })
      assert.strictEqual(receipts.length, 1)
    }))

  it.effect("is interrupted with the collection", () =>
    Effect.gen(function*() {
      const begun = yield* Deferred.make<void>()
      let interrupted = false
      const sink: Sink = {
        name: "interrupted",
        put: () =>
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
            Effect.onInterrupt(() =>
              Effect.sync(() => {
                interrupted = true
              })
            )
          )
      }
      const { permits, ...rest } = options(backend, sink)
      const collecting = yield* Effect.forkChild(Collect.collect({ ...rest, permits }))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(collecting)
      assert.isTrue(interrupted)
      assert.strictEqual((yield* Collect.collect({ ...rest, permits, sink: drain })).length, 1)
    }))
})

describe("many files", () => {
  /** Counts the files that are under way, each for a second. */
  const counting = () => {
    let open = 0
    const seen: Array<number> = []
    const sink: Sink = {
      name: "counting",
      put: (item, bytes) =>
        Effect.suspend(() => {
          seen.push(++open)
          return Effect.andThen(Effect.sleep("1 second"), drain.put(item, bytes))
        }).pipe(Effect.ensuring(Effect.sync(() => {
          open--
        })))
    }
    return { sink, most: () => Math.max(...seen) }
  }
  const names = Array.from({ length: 10 }, (_, index) => `${index}.png`)
  const backend = synthetic(() => file(4, 4))

  it.effect("never more than four at once of one server, whatever the job; each server has its own four", () =>
    Effect.gen(function*() {
      const { most, sink } = counting()
      const one = options(backend, sink, named(...names))
      const other = { ...one, jobId: JobId.make("order 8") }
      const receipts = yield* ComfyTest.advanceWhile(
        Effect.all([Collect.collect(one), Collect.collect(other)], { concurrency: "unbounded" })
      )
      assert.deepStrictEqual(receipts.map(({ length }) => length), [10, 10])
      assert.strictEqual(most(), 4)
      const both = counting()
      const all = [1, 2].map(() => Collect.collect(options(backend, both.sink, named(...names))))
      yield* ComfyTest.advanceWhile(Effect.all(all, { concurrency: "unbounded" }))
      assert.strictEqual(both.most(), 8)
    }))

  it.effect("one that waits for its next try is in nobody's way", () =>
    Effect.gen(function*() {
      const { permits, ...rest } = options(
        synthetic(({ filename }) =>
          filename === "fine.png"
            ? file(4, 4)
            : Effect.fail(
              new FilesError({ reason: { _tag: "Unreachable", by: "network", status: null, cause: "reset" } })
            )
        ),
        drain
      )
      const bad = named("1.png", "2.png", "3.png", "4.png")
      yield* Effect.forkChild(Effect.exit(Collect.collect({ ...rest, permits, outputs: bad })), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Collect.collect({ ...rest, permits, outputs: named("fine.png") })).length, 1)
    }))

  it.effect("2 GB go through with two chunks in memory", () =>
    Effect.gen(function*() {
      const chunkBytes = 64 * 1024
      const chunks = 32_768
      let made = 0
      let taken = 0
      let most = 0
      const one = chunk(chunkBytes)
      const large = Effect.succeed<Download>({
        sizeBytes: chunkBytes * chunks,
        contentType: "video/mp4",
        bytes: Stream.take(
          Stream.fromEffectRepeat(Effect.sync(() => {
            most = Math.max(most, ++made - taken)
            return one
          })),
          chunks
        )
      })
      const slow: Sink = {
        name: "slow",
        put: (_, bytes) =>
          Effect.map(
            Stream.runForEach(bytes, () =>
              Effect.andThen(
                taken % 1024 === 0 ? Effect.yieldNow : Effect.void,
                Effect.sync(() => {
                  taken++
                })
              )),
            () => ({ location: "film", sizeBytes: taken * chunkBytes })
          )
      }
      const [receipt] = yield* Collect.collect(options(synthetic(() => large), slow))
      assert.strictEqual(receipt?.sizeBytes, 2 * 1024 ** 3)
      assert.isAtMost(most, 2)
    }))
})
