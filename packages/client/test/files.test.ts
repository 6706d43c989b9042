import * as FilesNode from "@effect-comfyui/client/FilesNode"
import { type FilesError, isSafeName, type Upload } from "@effect-comfyui/execution/Files"
import { Fault, ImageFile, Picture } from "@effect-comfyui/testing"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { connect, ending, fake, theServer, watchRun } from "./support/client.ts"
import { graph, picture } from "./support/workflows.ts"

const png = (color: number): Uint8Array => ImageFile.encodePng(Picture.solid(16, 16, 1, color), 0)

const upload = (content: Upload["content"], more: Partial<Upload> = {}): Upload => ({
  content,
  filename: "in.png",
  ...more
})

const uploads = Effect.gen(function*() {
  const log = yield* (yield* theServer).requests
  return log.filter((request) => request.target.includes("/upload/")).length
})

const bytesOf = (stream: Stream.Stream<Uint8Array, FilesError>) =>
  Effect.map(Stream.runCollect(stream), (chunks) => Buffer.concat(chunks))

const shows = (name: string) =>
  graph({
    "1": { class_type: "LoadImage", inputs: { image: name } },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "out" } }
  })

describe("uploads", () => {
  it.effect("the same bytes are sent once per server process, by any name, even at once", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const bytes = png(1)
      const refs = yield* Effect.all([
        client.files.upload(upload(bytes)),
        client.files.upload(upload(bytes, { filename: "other.png" })),
        client.files.upload(upload(Stream.make(bytes.slice(0, 10), bytes.slice(10))))
      ], { concurrency: "unbounded" })
      assert.strictEqual(new Set(refs.map(({ filename, subfolder }) => `${subfolder}/${filename}`)).size, 1)
      assert.deepStrictEqual(refs.map(({ sentBytes }) => sentBytes).toSorted(), [0, 0, bytes.byteLength])
      assert.strictEqual(yield* uploads, 1)
      yield* client.files.upload(upload(png(2)))
      assert.strictEqual(yield* uploads, 2)
      // After a restart nothing is believed to be there.
      yield* watchRun(client, picture(1))
      yield* TestClock.adjust("1 second")
      yield* server.restart
      yield* TestClock.adjust("5 seconds")
      yield* client.files.upload(upload(bytes))
      assert.strictEqual(yield* uploads, 3)
    }).pipe(Effect.provide(fake())))

  it.effect("one that is interrupted leaves the next in charge", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(Fault.path("/upload/image"), Fault.holdAnswer(5_000)))
      const first = yield* Effect.forkChild(client.files.upload(upload(png(1))), { startImmediately: true })
      const second = yield* Effect.forkChild(client.files.upload(upload(png(1))), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      first.interruptUnsafe()
      yield* TestClock.adjust("20 seconds")
      const exit = second.pollUnsafe()
      assert.strictEqual(exit?._tag, "Success")
      assert.strictEqual(yield* uploads, 2)
    }).pipe(Effect.provide(fake())))

  it.effect("attached to a run: the name that the server answered goes into the graph (C14)", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      // Somebody else's file of that name is there already: the server renames ours.
      yield* client.files.upload(upload(png(1), { naming: "keep" }))
      const run = yield* watchRun(client, shows("placeholder.png"), {
        attachments: [{ ...upload(png(2), { naming: "keep" }), input: { nodeId: "1", inputName: "image" } }]
      })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
      const post = (yield* server.requests).find((request) => request.method === "POST" && request.target === "/prompt")
      assert.include(new TextDecoder().decode(post?.body), "\"image\":\"in (1).png\"")
    }).pipe(Effect.provide(fake())))

  it.effect("into a folder: the value names it", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const ref = yield* client.files.upload(upload(png(3), { naming: "keep", subfolder: "a/b" }))
      assert.strictEqual(client.files.inputValue(ref), "a/b/in.png")
      const temporary = yield* client.files.upload(upload(png(3), { naming: "keep", type: "temp" }))
      assert.strictEqual(client.files.inputValue(temporary), "in.png [temp]")
    }).pipe(Effect.provide(fake())))

  it.effect("that fails: the run fails with it and nothing is posted", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(Fault.path("/upload/image"), Fault.respond({ status: 500, body: "no" })))
      const run = yield* watchRun(client, shows("x"), {
        attachments: [{ ...upload(png(2)), input: { nodeId: "1", inputName: "image" } }]
      })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Failed(AttachmentFailed) via client")
      assert.isFalse((yield* server.requests).some((request) => request.target === "/prompt"))
    }).pipe(Effect.provide(fake())))

  it.effect("a mask for a picture that is there", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const original = yield* client.files.upload(upload(png(1)))
      const masked = yield* client.files.uploadMask({
        content: ImageFile.encodePng(Picture.solid(16, 16, 1, 0), 0),
        filename: "mask.png",
        naming: "keep",
        original
      })
      assert.strictEqual(masked.filename, "mask.png")
    }).pipe(Effect.provide(fake())))
})

const made = Effect.fnUntraced(function*(client: Effect.Success<ReturnType<typeof connect>>) {
  const run = yield* watchRun(
    client,
    graph({
      "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: 12345 } },
      "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "big" } }
    })
  )
  yield* TestClock.adjust("1 second")
  const last = run.events.at(-1)
  const file = last?._tag === "Completed" ? last.outputs["2"]?.files[0] : undefined
  assert.isDefined(file)
  return file ?? { filename: "", subfolder: "", type: "output" }
})

describe("downloads", () => {
  it.effect("come as a stream with size and type, and go on where they broke off", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const file = yield* made(client)
      const whole = yield* client.files.download(file)
      assert.strictEqual(whole.contentType, "image/png")
      const bytes = yield* bytesOf(whole.bytes)
      assert.strictEqual(whole.sizeBytes, bytes.length)
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.cutBody(50), { times: 2 }))
      const resumed = yield* bytesOf((yield* client.files.download(file)).bytes)
      assert.deepStrictEqual(resumed, bytes)
      const ranges = (yield* server.requests).map((request) => request.headers["range"]).filter((range) => range)
      assert.deepStrictEqual(ranges, ["bytes=50-", "bytes=100-"])
    }).pipe(Effect.provide(fake())))

  it.effect("broken for good: Truncated, with the bytes that came", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const file = yield* made(client)
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.cutBody(10)))
      const { bytes } = yield* client.files.download(file)
      const error = yield* Effect.flip(bytesOf(bytes))
      assert.match(String(error), /Unreachable|bytes|answer/)
    }).pipe(Effect.provide(fake())))

  it.effect("of what is not there, and from a page that is no file", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const missing = { filename: "no.png", subfolder: "", type: "output" }
      assert.strictEqual((yield* Effect.flip(client.files.download(missing))).reason._tag, "NotFound")
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.respond(Fault.notFoundPage)))
      assert.deepInclude((yield* Effect.flip(client.files.download(missing))).reason, {
        _tag: "Unreachable",
        by: "proxy"
      })
    }).pipe(Effect.provide(fake())))

  it("names from a server are hostile until checked", () => {
    const hostile = [
      "",
      ".",
      "..",
      "../x",
      "a/b",
      "a\\b",
      "C:x",
      "a\u0000b",
      "a\nb",
      "x.",
      "x ",
      "CON",
      "nul.png",
      "a".repeat(256),
      "é".repeat(130)
    ]
    for (const name of hostile) assert.isFalse(isSafeName(name), JSON.stringify(name))
    for (const name of ["a.png", "ä 1 (2).png", ".hidden", "console.png"]) {
      assert.isTrue(isSafeName(name), name)
    }
  })
})

describe("FilesNode", () => {
  it.effect("uploads by path, writes whole files or nothing, and never outside the folder", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const server = yield* theServer
      const client = yield* connect()
      const folder = yield* fs.makeTempDirectoryScoped()
      yield* fs.makeDirectory(`${folder}/in/deep`, { recursive: true })
      yield* fs.writeFile(`${folder}/in/a.png`, png(1))
      yield* fs.writeFile(`${folder}/in/deep/b.png`, png(2))
      const one = yield* FilesNode.fromPath(`${folder}/in/a.png`)
      assert.match((yield* client.files.upload(one)).filename, /^[0-9a-f]{64}\.png$/)
      const many = yield* FilesNode.fromFolder(`${folder}/in`, "job")
      const refs = yield* Effect.forEach(many, (wish) => client.files.upload(wish))
      assert.deepStrictEqual(refs.map((ref) => client.files.inputValue(ref)), ["job/a.png", "job/deep/b.png"])
      const file = yield* made(client)
      const path = yield* FilesNode.saveInto(client.files, file, `${folder}/out`)
      assert.strictEqual((yield* fs.readFile(path)).length, (yield* client.files.stat(file)).sizeBytes)
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.cutBody(10)))
      yield* Effect.flip(FilesNode.saveAs(client.files, file, `${folder}/out/broken.png`))
      assert.deepStrictEqual(yield* fs.readDirectory(`${folder}/out`), [file.filename])
      const error = yield* Effect.flip(FilesNode.saveInto(client.files, { ...file, filename: "../../x" }, folder))
      assert.strictEqual(error.reason._tag, "UnsafeName")
      const absent = yield* Effect.flip(FilesNode.fromPath(`${folder}/none.png`))
      assert.strictEqual(absent.reason._tag, "LocalFile")
    }).pipe(Effect.provide([fake(), NodeServices.layer])))
})
