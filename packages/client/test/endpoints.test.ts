// Every endpoint that a client of the server's own things needs, through its typed call: the names of docs/parity.md.
import type { BackendEvent } from "@effect-comfyui/execution/Backend"
import { ImageFile, Picture } from "@effect-comfyui/testing"
import * as Json from "@effect-comfyui/workflow/Json"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpBody from "effect/http/HttpBody"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { connect, ending, fake, watchRun } from "./support/client.ts"
import { picture, raise, sleep } from "./support/workflows.ts"

const idOf = (run: { readonly events: ReadonlyArray<{ readonly _tag: string; readonly runId: string }> }) =>
  run.events[0]?.runId ?? ""

describe("the endpoints of", () => {
  it.effect("the queue and the history: read, cleared, forgotten", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const { http } = client
      const done = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      const running = yield* watchRun(client, sleep(100))
      const waiting = yield* watchRun(client, sleep(1))
      yield* TestClock.adjust("1 second")
      const queue = yield* http.queue
      assert.deepStrictEqual([queue.queue_running.length, queue.queue_pending.length], [1, 1])
      assert.strictEqual(yield* http.queueRemaining, 2)
      yield* http.clearWaiting
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(ending(waiting.events), "Cancelled by elsewhere via http")
      assert.isTrue(Option.isSome(yield* http.history(idOf(done))))
      assert.deepStrictEqual(Object.keys(yield* http.historyPage({ max_items: 10 })), [idOf(done)])
      yield* http.forget([idOf(done)])
      assert.isTrue(Option.isNone(yield* http.history(idOf(done))))
      yield* http.interrupt(idOf(running))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(ending(running.events), "Cancelled by elsewhere via socket")
      yield* http.free({ unload_models: true, free_memory: true })
    }).pipe(Effect.provide(fake())))

  it.effect("the jobs: by state, one by one, cancelled by id", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const { http } = client
      const done = yield* watchRun(client, picture())
      const failed = yield* watchRun(client, raise())
      yield* TestClock.adjust("1 second")
      const running = yield* watchRun(client, sleep(100))
      const waiting = yield* watchRun(client, sleep(1))
      yield* TestClock.adjust("1 second")
      const ids = (status: string) => Effect.map(http.jobs({ status }), ({ jobs }) => jobs.map(({ id }) => id))
      assert.deepStrictEqual(yield* ids("completed"), [idOf(done)])
      assert.deepStrictEqual(yield* ids("failed"), [idOf(failed)])
      assert.deepStrictEqual(yield* ids("in_progress"), [idOf(running)])
      assert.deepStrictEqual(yield* ids("pending"), [idOf(waiting)])
      assert.strictEqual(Option.getOrThrow(yield* http.job(idOf(done))).status, "completed")
      assert.isTrue(Option.isNone(yield* http.job("00000000-0000-4000-8000-000000000000")))
      assert.isTrue(yield* http.cancelJob(idOf(waiting)))
      assert.isTrue(yield* http.cancelJobs([idOf(running)]))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(ending(running.events), "Cancelled by elsewhere via socket")
    }).pipe(Effect.provide(fake())))

  it.effect("what the server is and knows: figures, features, classes, files, embeddings, folders", () =>
    Effect.gen(function*() {
      const { http: { server } } = yield* connect()
      assert.match((yield* server.systemStats).system.comfyui_version ?? "", /^\d+\.\d+\.\d+$/)
      assert.isTrue((yield* server.features)["supports_preview_metadata"])
      assert.isTrue(Object.hasOwn(yield* server.objectInfo, "KSampler"))
      assert.isTrue(Option.isSome(yield* server.objectInfoOf("KSampler")))
      assert.isTrue(Option.isNone(yield* server.objectInfoOf("NoSuchClass")))
      assert.include(yield* server.modelFolders, "checkpoints")
      assert.isNotEmpty(Option.getOrThrow(yield* server.modelFiles("checkpoints")))
      assert.isTrue(Option.isNone(yield* server.modelFiles("nowhere")))
      assert.isNotEmpty(yield* server.modelPlaces)
      assert.isNotEmpty(Option.getOrThrow(yield* server.modelDetails("checkpoints")))
      assert.isArray(yield* server.embeddings)
      assert.isArray(yield* server.extensions)
      assert.isArray(yield* server.fileNames("output"))
      assert.isObject(yield* server.folderPaths)
    }).pipe(Effect.provide(fake())))

  it.effect("the log: as text, as entries, and as messages for whoever subscribes", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const { server } = client.http
      const events: Array<BackendEvent> = []
      yield* Effect.forkChild(
        Stream.runForEach(client.events, (event) => Effect.sync(() => void events.push(event))),
        { startImmediately: true }
      )
      const state = yield* client.link.get
      if (state._tag !== "Up") return assert.fail(state._tag)
      yield* server.subscribeLogs(state.clientId, true)
      yield* watchRun(client, raise())
      yield* TestClock.adjust("5 seconds")
      assert.isString(yield* server.logText)
      assert.isNotEmpty((yield* server.logEntries).entries)
      assert.isTrue(events.some((event) => event._tag === "Message" && event.type === "logs"))
    }).pipe(Effect.provide(fake())))

  it.effect("users, their settings and their files", () =>
    Effect.gen(function*() {
      const { http: { user } } = yield* connect()
      assert.strictEqual((yield* user.users).storage, "server")
      yield* user.storeSettings({ "Comfy.ColorPalette": "dark", other: 1 })
      yield* user.storeSetting("Comfy.ColorPalette", "light")
      assert.strictEqual(yield* user.setting("Comfy.ColorPalette"), "light")
      assert.deepInclude(yield* user.settings, { other: 1 })
      const content = new TextEncoder().encode("{}")
      yield* user.writeFile("workflows/a b.json", content)
      yield* user.moveFile("workflows/a b.json", "workflows/c.json")
      const listed = Json.stringify(yield* user.listFiles({ dir: "workflows" }))
      assert.include(listed, "c.json")
      assert.notInclude(listed, "a b.json")
      yield* user.readFile("workflows/c.json")
      yield* user.deleteFile("workflows/c.json")
      assert.strictEqual((yield* Effect.result(user.readFile("workflows/c.json")))._tag, "Failure")
    }).pipe(Effect.provide(fake())))

  it.effect("assets: listed, tagged, renamed, made from a hash, deleted", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const { assets } = client.http
      const png = ImageFile.encodePng(Picture.solid(8, 8, 1, 1), 0)
      yield* client.files.upload({ content: png, filename: "a.png" })
      yield* watchRun(client, picture())
      yield* TestClock.adjust("5 seconds")
      yield* assets.seed(true)
      const form = new TextEncoder().encode([
        "--x",
        "content-disposition: form-data; name=\"file\"; filename=\"b.png\"",
        "content-type: image/png",
        "",
        "not a picture, but bytes",
        "--x",
        "content-disposition: form-data; name=\"tags\"",
        "",
        "[\"input\"]",
        "--x--",
        ""
      ].join("\r\n"))
      const made = yield* assets.upload(HttpBody.uint8Array(form, "multipart/form-data; boundary=x"))
      assert.isTrue(Option.isSome(yield* assets.get(made.id)))
      const hash = made.asset_hash ?? ""
      assert.isTrue(yield* assets.hasHash(hash))
      yield* assets.addTags(made.id, ["blue"])
      assert.deepStrictEqual((yield* assets.list({ include_tags: "blue" })).assets.map(({ id }) => id), [made.id])
      yield* assets.removeTags(made.id, ["blue"])
      assert.deepStrictEqual((yield* assets.list({ include_tags: "blue" })).assets, [])
      assert.strictEqual((yield* assets.update(made.id, { name: "c.png" })).name, "c.png")
      assert.isNotEmpty((yield* assets.tags).tags)
      const again = Option.getOrThrow(yield* assets.fromHash({ hash, name: "d.png", tags: ["input"] }))
      assert.notStrictEqual(again.id, made.id)
      yield* assets.delete(again.id)
      assert.isTrue(Option.isNone(yield* assets.get(again.id)))
    }).pipe(Effect.provide(fake({ assets: true }))))
})
