import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import type { ExecutionEvent } from "@effect-comfyui/execution/ExecutionEvent"
import { RunId } from "@effect-comfyui/execution/Ids"
import { Fault, VersionProfile } from "@effect-comfyui/testing"
import * as Bypass from "@effect-comfyui/workflow/Bypass"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { asked, connect, ending, fake, origin, outcomes, theServer, watchRun } from "./support/client.ts"
import { graph, picture, raise, sleep } from "./support/workflows.ts"

const submits = Fault.request("POST", "/prompt")
const once = { times: 1 }

const posts = (lines: ReadonlyArray<string>) => lines.filter((line) => line.startsWith("POST /prompt")).length

/** What the last POST said, as text. */
const lastPosted = Effect.gen(function*() {
  const log = yield* (yield* theServer).requests
  return new TextDecoder().decode(log.findLast((request) => request.target.endsWith("/prompt"))?.body)
})

/** The last release that does not look at the id in the body, and what that means for a prompt. */
const v0340 = { ...VersionProfile.profiles["0.3.64"], version: "0.3.40" }

const ignoringIds = Layer.effect(
  HttpClient.HttpClient,
  Effect.map(
    HttpClient.HttpClient,
    HttpClient.mapRequest((request) => {
      if (request.method !== "POST" || !request.url.endsWith("/prompt")) return request
      const { prompt_id: _, ...body } = JSON.parse(bodyText(request.body))
      return HttpClientRequest.bodyText(request, JSON.stringify(body), "application/json")
    })
  )
)

const bodyText = (body: HttpBody.HttpBody): string =>
  body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : body._tag === "Raw" ? String(body.body) : "{}"

const failure = (events: ReadonlyArray<ExecutionEvent>) => {
  const last = events.at(-1)
  return last?._tag === "Failed" ? last.error.reason : undefined
}

describe("a POST without an answer", () => {
  it.effect("that never arrived: proven absent, never resent, Unreachable", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.dropRequest, once))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual(run.tags(), [])
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(ending(run.events), "Failed(Unreachable) via http")
      assert.strictEqual(posts(yield* asked(server)), 1)
      assert.deepStrictEqual(yield* outcomes(server), [])
    }).pipe(Effect.provide(fake())))

  it.effect("that arrived: its frames tell, and one run is one execution", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.dropAnswer, once))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
      assert.strictEqual(posts(yield* asked(server)), 1)
    }).pipe(Effect.provide(fake())))

  for (const [where, seconds] of [["queue", 60], ["history", 0]] as const) {
    for (const version of ["0.3.64", "0.33.0"] as const) {
      it.effect(`that arrived while nobody listened: found in the ${where} of ${version}`, () =>
        Effect.gen(function*() {
          const server = yield* theServer
          const client = yield* ComfyClient.make({ url: origin, socket: "none" })
          yield* server.inject(Fault.on(submits, Fault.dropAnswer, once))
          const run = yield* watchRun(client, sleep(seconds))
          yield* TestClock.adjust("10 seconds")
          assert.strictEqual(run.events[0]?._tag, "Submitted")
          yield* TestClock.adjust("100 seconds")
          assert.strictEqual(ending(run.events), "Completed via http")
          assert.strictEqual(posts(yield* asked(server)), 1)
          assert.deepStrictEqual(yield* outcomes(server), ["success"])
        }).pipe(Effect.provide(fake({ version }))))
    }
  }

  it.effect("answered by a proxy's 504, and delivered late: one execution", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.delayRequest(70_000), once))
      yield* server.inject(Fault.on(submits, Fault.replaceAnswer(Fault.gatewayTimeout), once))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("200 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.deepStrictEqual(yield* outcomes(server), ["success"])
      assert.strictEqual(posts(yield* asked(server)), 1)
    }).pipe(Effect.provide(fake())))

  it.effect("answered by a proxy's 504 while the request is still on its way: seen when it comes up", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      // The page comes after a minute, the server sees the request after a minute and a half.
      yield* server.inject(Fault.on(submits, Fault.delayRequest(95_000), once))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("91 seconds")
      assert.deepStrictEqual(run.tags(), [])
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.strictEqual(posts(yield* asked(server)), 1)
    }).pipe(Effect.provide(fake())))

  it.effect("to a server that stays away: nobody knows, and it says so", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.dropAnswer, once))
      yield* server.inject(Fault.on(Fault.any, Fault.respond(Fault.badGateway)))
      yield* server.deafenSockets()
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("11 minutes")
      assert.strictEqual(ending(run.events), "Failed(SubmitAmbiguous) via http")
    }).pipe(Effect.provide(fake())))

  it.effect("cancelled meanwhile: it is cancelled on the server as soon as it is found", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.holdAnswer(10_000), once))
      const run = yield* watchRun(client, sleep(3600))
      yield* TestClock.adjust("2 seconds")
      yield* Effect.forkChild(run.stop, { startImmediately: true })
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual(yield* outcomes(server), ["interrupted"])
    }).pipe(Effect.provide(fake())))
})

describe("a prompt that is refused", () => {
  it.effect("here, before the POST, because it would break the server", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const dangling = graph({
        "1": {
          class_type: "EmptyImage",
          inputs: { width: 8, height: 8, batch_size: 1, color: 1, undeclared: ["9", 0] }
        },
        "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
      })
      const run = yield* watchRun(client, dangling)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(run.tags(), ["Failed"])
      assert.strictEqual(ending(run.events), "Failed(Rejected) via client")
      assert.deepNestedInclude(failure(run.events), { by: "client", "complaints[0].nodeId": "1" })
      assert.deepStrictEqual(yield* asked(server), yield* server.requests.pipe(Effect.map(() => [])))
    }).pipe(Effect.provide(fake())))

  it.effect("there, with every complaint about every node", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const bad = graph({
        "1": { class_type: "EmptyImage", inputs: { width: -1, height: 8, batch_size: 1, color: 1 } },
        "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
      })
      const run = yield* watchRun(client, bad)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Failed(Rejected) via http")
      assert.deepNestedInclude(failure(run.events), {
        by: "server",
        "complaints[0].nodeId": "1",
        "complaints[0].inputName": "width",
        "complaints[0].type": "value_smaller_than_min"
      })
    }).pipe(Effect.provide(fake())))

  for (const version of ["0.3.64", "0.33.0"] as const) {
    it.effect(`for a class or a model that the server (${version}) lacks`, () =>
      Effect.gen(function*() {
        const client = yield* connect()
        const classes = yield* watchRun(client, graph({ "1": { class_type: "Nowhere", inputs: {} } }))
        const models = yield* watchRun(
          client,
          graph({
            "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "gone.safetensors" } },
            "2": { class_type: "CLIPTextEncode", inputs: { clip: ["1", 1], text: "a" } },
            "3": { class_type: "PreviewAny", inputs: { source: ["2", 0] } }
          })
        )
        yield* TestClock.adjust("1 second")
        assert.deepInclude(failure(classes.events), { _tag: "MissingCapability", classes: ["Nowhere"] })
        assert.deepInclude(failure(models.events), { _tag: "MissingCapability", models: ["gone.safetensors"] })
      }).pipe(Effect.provide(fake({ version }))))
  }

  const halfBad = graph({
    "1": { class_type: "FakeSleep", inputs: { seconds: 5, watches: true } },
    "2": { class_type: "PreviewImage", inputs: { images: ["3", 0] } },
    "3": { class_type: "EmptyImage", inputs: { width: -1, height: 8, batch_size: 1, color: 1 } }
  })

  it.effect("in part: Rejected, and the accepted part does not run on", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, halfBad)
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(run.events), "Failed(Rejected) via http")
      assert.include(["removed", "interrupted"], (yield* outcomes(server))[0])
    }).pipe(Effect.provide(fake())))

  it.effect("in part and wanted so: the rest runs, and a warning names what is missing", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, halfBad, { acceptPartial: true })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.deepInclude(run.events.find((event) => event._tag === "Warning"), {
        code: "partially-rejected",
        nodeIds: ["2"]
      })
    }).pipe(Effect.provide(fake())))
})

describe("ids and bodies", () => {
  it.effect("an id is used once", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const runId = RunId.make("0b5c5f1e-6f0a-4d0e-9c39-0d4f5d9c1f11")
      const first = yield* watchRun(client, picture(), { runId })
      const second = yield* watchRun(client, picture(), { runId })
      yield* TestClock.adjust("1 second")
      const third = yield* watchRun(client, picture(), { runId })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(first.events), "Completed via socket")
      assert.strictEqual(ending(second.events), "Failed(DuplicateRun) via client")
      assert.strictEqual(ending(third.events), "Failed(DuplicateRun) via client")
      assert.strictEqual((yield* server.ledger).prompts[0]?.promptId, runId)
      assert.strictEqual(posts(yield* asked(server)), 1)
    }).pipe(Effect.provide(fake())))

  it.effect("each subscription of one stream is one submission with an id of its own", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const runs = client.run(picture())
      yield* Effect.forkChild(Stream.runDrain(runs), { startImmediately: true })
      yield* Effect.forkChild(Stream.runDrain(runs), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      const { prompts } = yield* server.ledger
      assert.strictEqual(new Set(prompts.map((prompt) => prompt.promptId)).size, 2)
    }).pipe(Effect.provide(fake())))

  it.effect("a server that chooses its own ids is followed under its own", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
      const submitted = run.events[0]
      const { prompts } = yield* server.ledger
      assert.isTrue(submitted?._tag === "Submitted" && submitted.promptId === prompts[0]?.promptId)
      assert.notStrictEqual(submitted?.runId, prompts[0]?.promptId)
    }).pipe(Effect.provide(ignoringIds.pipe(Layer.provideMerge(fake({ version: v0340, dequeueMs: 0 }))))))

  it.effect("there, an id that is not known proves nothing: a lost POST stays in doubt", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* server.inject(Fault.on(submits, Fault.dropRequest, once))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Failed(SubmitAmbiguous) via http")
    }).pipe(Effect.provide(ignoringIds.pipe(Layer.provideMerge(fake({ version: v0340 }))))))

  it.effect("a seed of -1 becomes a number, is told, and is what the server got", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const seeded = graph({ "1": { class_type: "FakeValue", inputs: { seed: -1 } } })
      const run = yield* watchRun(client, seeded)
      yield* TestClock.adjust("1 second")
      const submitted = run.events[0]
      assert.isTrue(submitted?._tag === "Submitted" && submitted.seeds.length === 1)
      if (submitted?._tag !== "Submitted") return
      assert.include(yield* lastPosted, `"seed":${submitted.seeds[0]?.value}`)
      assert.strictEqual(ending(run.events), "Completed via socket")
    }).pipe(Effect.provide(fake())))

  it.effect("JSON goes out as JSON (C04), with the key where servers hide it, and a warning for what they show", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({ comfyOrgApiKey: Redacted.make("comfyui-secret") })
      const run = yield* watchRun(client, picture(), { extraData: { my_api_key: "seen by all", note: 1 }, front: true })
      yield* TestClock.adjust("1 second")
      const post = (yield* server.requests).find((request) =>
        request.target.endsWith("/prompt") && request.method === "POST"
      )
      assert.strictEqual(post?.headers["content-type"], "application/json")
      const body = JSON.parse(yield* lastPosted)
      assert.deepInclude(body.extra_data, { api_key_comfy_org: "comfyui-secret", note: 1 })
      assert.strictEqual(body.front, true)
      assert.deepInclude(run.events.find((event) => event._tag === "Warning"), { code: "secret-in-extra-data" })
    }).pipe(Effect.provide(fake())))

  it.effect("a key that is asked for is the one of the moment when each prompt is sent", () =>
    Effect.gen(function*() {
      let version = 0
      const client = yield* connect({ comfyOrgApiKey: Effect.sync(() => Redacted.make(`key-${++version}`)) })
      assert.isTrue(client.paid)
      for (const key of ["key-1", "key-2"]) {
        yield* watchRun(client, picture())
        yield* TestClock.adjust("1 second")
        assert.strictEqual(JSON.parse(yield* lastPosted).extra_data.api_key_comfy_org, key)
      }
    }).pipe(Effect.provide(fake())))

  it.effect("a place in the queue that is no number is refused here", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      for (const number of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const run = yield* watchRun(client, picture(), { number })
        yield* TestClock.adjust("1 second")
        assert.strictEqual(ending(run.events), "Failed(Rejected) via client")
      }
      const run = yield* watchRun(client, picture(), { number: -3 })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.deepStrictEqual((yield* server.ledger).prompts.map((prompt) => prompt.number), [-3])
    }).pipe(Effect.provide(fake())))

  it.effect("a bypassed node is not sent (W13)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const through = { inputs: [{ name: "image", type: "IMAGE", widget: false, options: [] }], outputs: ["IMAGE"] }
      const inverted = graph({
        "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color: 1 } },
        "57:8": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
        "2": { class_type: "PreviewImage", inputs: { images: ["57:8", 0] } }
      })
      const run = yield* watchRun(client, Result.getOrThrow(Bypass.bypass(inverted, ["57:8"], () => through)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.notInclude(yield* lastPosted, "57:8")
    }).pipe(Effect.provide(fake())))

  it.effect("an error of a node is told whole, not by its type alone (C30)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const run = yield* watchRun(client, raise("RuntimeError", "CUDA error: an illegal memory access was encountered"))
      const other = yield* watchRun(client, raise("OSError", "[Errno 28] No space left on device"))
      const share = yield* watchRun(client, raise("OSError", "[Errno 116] Stale file handle: '/mnt/share/a.png'"))
      const mount = yield* watchRun(
        client,
        raise("TimeoutError", "[Errno 110] Connection timed out: '/mnt/share/a.png'")
      )
      const socket = yield* watchRun(client, raise("TimeoutError", "[Errno 110] Connection timed out"))
      const memory = yield* watchRun(client, graph({ "1": { class_type: "FakeOutOfMemory", inputs: { seconds: 1 } } }))
      yield* TestClock.adjust("10 seconds")
      assert.deepInclude(failure(run.events), {
        _tag: "GpuPoisoned",
        nodeId: "1",
        classType: "FakeRaise",
        exceptionType: "RuntimeError"
      })
      assert.include(JSON.stringify(failure(run.events)), "illegal memory access")
      assert.deepInclude(failure(other.events), { _tag: "DiskFull" })
      assert.deepInclude(failure(memory.events), { _tag: "OutOfMemory" })
      assert.deepInclude(failure(share.events), { _tag: "StorageFailed" })
      assert.deepInclude(failure(mount.events), { _tag: "StorageFailed" })
      // A node that downloads something: no fault of the server's.
      assert.deepInclude(failure(socket.events), { _tag: "NodeFailed" })
    }).pipe(Effect.provide(fake())))
})
