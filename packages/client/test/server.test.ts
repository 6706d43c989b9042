import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as ComfyClients from "@effect-comfyui/client/ComfyClients"
import type { BackendEvent } from "@effect-comfyui/execution/Backend"
import { makeRunId } from "@effect-comfyui/execution/Ids"
import { FakeServers, Fault, NodeClass, Plan } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { connect, connected, ending, fake, listen, origin, theServer, watchRun } from "./support/client.ts"
import { graph, picture, sleep, steps } from "./support/workflows.ts"

const observe = Effect.fnUntraced(function*(client: ComfyClient.Shape) {
  const events: Array<BackendEvent> = []
  yield* Effect.forkChild(
    Stream.runForEach(client.events, (event) => Effect.sync(() => void events.push(event))),
    { startImmediately: true }
  )
  return events
})

const requests = (path: string) =>
  Effect.map(
    Effect.flatMap(theServer, (server) => server.requests),
    (log) => log.filter((request) => request.target.startsWith(path)).length
  )

const paid = NodeClass.define({
  class: "PaidNode",
  required: { prompt: NodeClass.string({ default: "" }) },
  outputs: ["IMAGE"],
  info: { paid: true },
  run: () => Plan.returns([null])
})

describe("capabilities", () => {
  it.effect("are read once per process: classes, files, paid ones", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const first = yield* client.capabilities
      assert.match(first.classes.get("EmptyImage") ?? "", /^[0-9a-f]{64}$/)
      assert.deepStrictEqual(first.files.get("CheckpointLoaderSimple/ckpt_name"), ["sd15.safetensors"])
      assert.deepStrictEqual([...first.paid], ["PaidNode"])
      assert.strictEqual(first.version, "0.33.0")
      assert.strictEqual(yield* client.capabilities, first)
      assert.strictEqual(yield* requests("/object_info"), 1)
    }).pipe(Effect.provide(fake({ nodes: [paid], models: { checkpoints: ["sd15.safetensors"] } }))))

  it.effect("are never read by a run, and anew after a refusal that names a class", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.capabilities
      const run = yield* watchRun(client, graph({ "1": { class_type: "Nowhere", inputs: {} } }))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(ending(run.events), "Failed(MissingCapability) via http")
      assert.strictEqual(yield* requests("/object_info"), 1)
      yield* client.capabilities
      assert.strictEqual(yield* requests("/object_info"), 2)
    }).pipe(Effect.provide(fake())))

  it.effect("that have aged are read again, but not while a run is open", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      yield* client.capabilities
      yield* watchRun(client, sleep(1200))
      yield* TestClock.adjust("15 minutes")
      yield* client.capabilities
      assert.strictEqual(yield* requests("/object_info"), 1)
      yield* TestClock.adjust("6 minutes")
      yield* client.capabilities
      yield* client.capabilities
      assert.strictEqual(yield* requests("/object_info"), 2)
    }).pipe(Effect.provide(fake())))

  it.effect("are those of the new process after a restart, which is told", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const events = yield* observe(client)
      const before = yield* client.capabilities
      yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      yield* server.restart
      yield* TestClock.adjust("10 seconds")
      assert.includeDeepMembers(events, [
        { _tag: "Restarted", epoch: 1 },
        { _tag: "CapabilitiesChanged" }
      ])
      assert.strictEqual((yield* client.capabilities).epoch, before.epoch + 1)
    }).pipe(Effect.provide(fake())))

  it.effect("a proxy's error page after a reconnect is no restart", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const events = yield* observe(client)
      yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      yield* server.inject(Fault.on(Fault.path("/history/*"), Fault.respond(Fault.notFoundPage)))
      yield* server.cutSockets()
      yield* TestClock.adjust("10 seconds")
      assert.isFalse(events.some((event) => event._tag === "Restarted"))
    }).pipe(Effect.provide(fake())))
})

describe("events of a server", () => {
  it.effect("load with what is foreign, connections, and messages of third parties", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      const other = yield* connect({ id: "other" })
      const events = yield* observe(client)
      yield* watchRun(other, sleep(1))
      yield* watchRun(
        client,
        graph({ "1": { class_type: "FakeEvent", inputs: { type: "crystools.monitor", broadcast: true } } })
      )
      yield* TestClock.adjust("5 seconds")
      const loads = events.filter((event) => event._tag === "Load")
      assert.deepInclude(loads, { _tag: "Load", running: 1, waiting: 0, foreign: 1 })
      assert.deepInclude(loads, { _tag: "Load", running: 1, waiting: 1, foreign: 1 })
      assert.includeDeepMembers(events, [{ _tag: "Message", type: "crystools.monitor", data: { value: 1 } }])
      yield* server.cutSockets()
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(events.some((event) => event._tag === "Disconnected"))
      assert.isTrue(events.some((event) => event._tag === "Connected"))
    }).pipe(Effect.provide(fake())))

  it.effect("a progress frame of somebody else's prompt is nobody's here (W25)", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const other = yield* connect({ id: "other" })
      const foreign = yield* watchRun(
        other,
        steps(5, 10, true)
      )
      const ours = yield* watchRun(client, sleep(1))
      yield* TestClock.adjust("10 seconds")
      assert.isAbove(foreign.events.filter((event) => event._tag === "NodeProgress").length, 0)
      assert.isFalse(ours.events.some((event) => event._tag === "NodeProgress" || event._tag === "Preview"))
    }).pipe(Effect.provide(fake({ previewMethod: "auto" }))))
})

describe("the other faces of a client", () => {
  it.effect("probe says how long the queue is, and fails typed", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      assert.deepStrictEqual(yield* client.probe, { roundTripMs: 0, queueRemaining: 0 })
      yield* server.inject(Fault.on(Fault.any, Fault.respond(Fault.unauthorized)))
      assert.strictEqual((yield* Effect.flip(client.probe)).reason._tag, "Unauthorized")
    }).pipe(Effect.provide(fake())))

  it.effect("as a Backend it runs what a pool asks for", () =>
    Effect.gen(function*() {
      const client = yield* connect()
      const runId = yield* makeRunId
      const run = yield* listen(
        ComfyClient.backend(client).run({
          runId,
          job: Option.none(),
          workflow: picture(),
          attachments: [],
          acceptPartial: false,
          onInterrupt: "cancel"
        })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
      assert.strictEqual(run.events[0]?.runId, runId)
    }).pipe(Effect.provide(fake())))

  it.effect("clients by name are shared, and an unknown name is typed", () =>
    Effect.gen(function*() {
      const clients = yield* ComfyClients.ComfyClients
      const one = Effect.scoped(Effect.provide(
        Effect.gen(function*() {
          const client = yield* ComfyClient.ComfyClient
          yield* connected(client)
          return client
        }),
        clients.get("gpu-1")
      ))
      const [a, b] = yield* Effect.all([one, one], { concurrency: 2 })
      assert.strictEqual(a, b)
      assert.strictEqual(a.id, "gpu-1")
      const error = yield* Effect.flip(Effect.scoped(Layer.build(clients.get("gpu-2"))))
      assert.strictEqual(error._tag, "UnknownServer")
    }).pipe(Effect.provide(
      ComfyClients.layer({ "gpu-1": { url: origin } }).pipe(Layer.provideMerge(FakeServers.layer({ [origin]: {} })))
    )))

  it.effect("the client of a name runs on the server of that name (C17)", () =>
    Effect.gen(function*() {
      const clients = yield* ComfyClients.ComfyClients
      yield* Effect.forkChild(
        Effect.provide(
          Effect.flatMap(ComfyClient.ComfyClient, (client) => client.result(picture())),
          clients.get("gpu-2")
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 minute")
      const servers = yield* FakeServers.FakeServers
      const ran = (url: string) => Effect.map(servers.get(url).ledger, ({ prompts }) => prompts.length)
      assert.deepStrictEqual([yield* ran(origin), yield* ran("http://gpu-2:8188")], [0, 1])
    }).pipe(Effect.provide(
      ComfyClients.layer({ "gpu-1": { url: origin }, "gpu-2": { url: "http://gpu-2:8188" } }).pipe(
        Layer.provideMerge(FakeServers.layer({ [origin]: {}, "http://gpu-2:8188": {} }))
      )
    )))

  it.effect("behind a path prefix", () =>
    Effect.gen(function*() {
      const client = yield* connect({ url: `${origin}/comfy/` })
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(ending(run.events), "Completed via socket")
    }).pipe(Effect.provide(fake({ basePath: "/comfy" }))))

  it.effect("ids and names stay one segment of a path, whatever they hold", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect()
      yield* client.http.history("../queue?x=1#y")
      yield* Effect.ignore(client.http.stat({ filename: "a&type=temp", subfolder: "x y", type: "output" }))
      const [first, second] = (yield* server.requests).filter((request) => !request.target.startsWith("/ws"))
      assert.strictEqual(first?.target, "/history/..%2Fqueue%3Fx%3D1%23y")
      assert.include(second?.target, "filename=a%26type%3Dtemp")
    }).pipe(Effect.provide(fake())))
})
