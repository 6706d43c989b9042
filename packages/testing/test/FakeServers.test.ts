import { ComfyClient } from "@effect-comfyui/client/ComfyClient"
import { ComfyTest, FakeServers, Fault, NodeClass, Plan, Workflows } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Socket from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

const origin = "http://gpu-1:8188"

const prompt = (color: number) => ({
  "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color } },
  "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
})

const post = (path: string, body: unknown) =>
  HttpClientRequest.post(`${origin}${path}`).pipe(HttpClientRequest.bodyJsonUnsafe(body), HttpClient.execute)

const get = (path: string) => HttpClient.execute(HttpClientRequest.get(`${origin}${path}`))

/** What a client sees of a socket: every event as a line. */
const watch = Effect.fnUntraced(function*(clientId: string, options?: Socket.WebSocketConstructorOptions) {
  const make = yield* Socket.WebSocketConstructor
  const socket = make(`ws://gpu-1:8188/ws?clientId=${clientId}`, options)
  const seen: Array<string> = []
  socket.addEventListener("open", () => seen.push("open"))
  socket.addEventListener("message", (event) => {
    if (typeof event.data === "string") seen.push(JSON.parse(event.data).type)
    else if (event.data instanceof ArrayBuffer) seen.push(`binary ${new DataView(event.data).getUint32(0)}`)
  })
  socket.addEventListener("error", () => seen.push("error"))
  socket.addEventListener("close", (event) => seen.push(`close ${event.code}`))
  yield* Effect.yieldNow
  return { socket, seen }
})

const sleeper = NodeClass.define({
  class: "TenMinutes",
  required: {},
  outputs: ["IMAGE"],
  outputNode: true,
  run: () => Plan.returns([null], { ui: { text: ["done"] }, steps: Plan.progress({ count: 600, ms: 1000 }) })
})

const servers = FakeServers.layer({ [origin]: { nodes: [sleeper] } })

describe("FakeServers", () => {
  it.effect("runs a prompt on the test clock", () =>
    Effect.gen(function*() {
      const { seen } = yield* watch("a")
      const answer = yield* Effect.flatMap(post("/prompt", { prompt: prompt(1), client_id: "a" }), (r) => r.json)
      assert.deepStrictEqual(seen, ["open", "status", "status"])
      yield* TestClock.adjust("1 milli")
      assert.deepStrictEqual(seen.slice(3), [
        "status",
        "execution_start",
        "execution_cached",
        "progress_state",
        "executing",
        "progress_state",
        "progress_state",
        "executing",
        "executed",
        "progress_state",
        "execution_success",
        "status",
        "executing"
      ])
      assert.propertyVal(answer, "number", 0)
      const view = yield* get("/view?filename=ComfyUI_temp_aaaaa_00001_.png&type=temp")
      assert.strictEqual(view.status, 404)
      const server = (yield* FakeServers.FakeServers).get(origin)
      const ledger = yield* server.ledger
      assert.deepStrictEqual(ledger.nodes.map((node) => [node.nodeId, node.outcome]), [["1", "success"], [
        "2",
        "success"
      ]])
      assert.deepStrictEqual(ledger.prompts.map((one) => one.outcome), ["success"])
    }).pipe(Effect.provide(servers)))

  it.effect("runs ten minutes in a moment", () =>
    Effect.gen(function*() {
      const { seen } = yield* watch("a")
      yield* post("/prompt", { prompt: { "1": { class_type: "TenMinutes", inputs: {} } }, client_id: "a" })
      yield* TestClock.adjust("11 minutes")
      // Frames closer than half a percent are left out.
      assert.strictEqual(seen.filter((type) => type === "progress").length, 201)
      assert.strictEqual(seen.at(-1), "executing")
    }).pipe(Effect.provide(servers)))

  it.effect("keeps time, also where a clock rounds (steps of fractions of a nanosecond)", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient
      for (const stepMs of [7_864.32, 15_728.64, 1_000 / 3, 120.3456789, 1_234.5678901]) {
        const run = client.run(Workflows.counting({ steps: 40, stepMs }), { events: { progress: "all" } })
        const events = yield* ComfyTest.advanceWhile(Stream.runCollect(run), { step: "1 minute" })
        const times = events.flatMap((event) => event._tag === "NodeProgress" ? [event.elapsed] : [])
        const [first = 0] = times
        assert.strictEqual(times.length, 40)
        for (const [index, time] of times.entries()) assert.closeTo(time - first, index * stepMs, 0.001)
      }
    }).pipe(Effect.provide(ComfyTest.layer())))

  it.effect("cuts, deafens, refuses and dies as told", () =>
    Effect.gen(function*() {
      const server = (yield* FakeServers.FakeServers).get(origin)
      const cut = yield* watch("cut")
      yield* server.cutSockets({ clientId: "cut" })
      assert.strictEqual(cut.seen.at(-1), "close 1006")
      const deaf = yield* watch("deaf")
      yield* server.deafenSockets({ clientId: "deaf" })
      yield* post("/prompt", { prompt: prompt(2), client_id: "deaf" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(deaf.seen, ["open", "status"])
      yield* server.inject(Fault.refuseUpgrades({ status: 503 }, { times: 1 }))
      assert.deepStrictEqual((yield* watch("no")).seen, ["error", "close 1006"])
      assert.deepStrictEqual((yield* watch("yes")).seen, ["open", "status"])
      yield* server.kill
      assert.strictEqual(deaf.seen.at(-1), "close 1006")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(get("/prompt"))))
      yield* server.restart
      assert.strictEqual((yield* get("/prompt")).status, 200)
      assert.deepStrictEqual(yield* Effect.flatMap(get("/history"), (r) => r.json), {})
    }).pipe(Effect.provide(servers)))

  it.effect("fails before, fails after, answers late, answers for others", () =>
    Effect.gen(function*() {
      const server = (yield* FakeServers.FakeServers).get(origin)
      const accepted = Effect.map(server.ledger, (ledger) => ledger.prompts.length)
      const submit = Fault.request("POST", "/prompt")
      yield* server.inject(Fault.on(submit, Fault.dropRequest, { times: 1 }))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(post("/prompt", { prompt: prompt(3) }))))
      assert.strictEqual(yield* accepted, 0)
      yield* server.inject(Fault.on(submit, Fault.dropAnswer, { times: 1 }))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(post("/prompt", { prompt: prompt(4) }))))
      assert.strictEqual(yield* accepted, 1)
      yield* server.inject(Fault.on(submit, Fault.replaceAnswer(Fault.gatewayTimeout), { times: 1 }))
      assert.strictEqual((yield* post("/api/prompt", { prompt: prompt(5) })).status, 504)
      assert.strictEqual(yield* accepted, 2)
      const held = yield* server.inject(Fault.on(submit, Fault.holdAnswer(5_000)))
      const { seen } = yield* watch("late")
      const fiber = yield* Effect.forkChild(post("/prompt", { prompt: prompt(6), client_id: "late" }))
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(seen.at(-1), "executing")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      yield* held.heal
      yield* server.inject(Fault.on(Fault.path("/view"), Fault.respond(Fault.loginRedirect("https://login.test/"))))
      const redirect = yield* get("/view?filename=x.png")
      assert.strictEqual(redirect.status, 302)
      assert.strictEqual(redirect.headers["location"], "https://login.test/")
      const log = yield* server.requests
      assert.deepStrictEqual(log.map((one) => one.outcome), ["aborted", "aborted", 504, 101, 200, 302])
    }).pipe(Effect.provide(servers)))

  it.effect("stalls everything, then lets it all out", () =>
    Effect.gen(function*() {
      const server = (yield* FakeServers.FakeServers).get(origin)
      const { seen, socket } = yield* watch("a")
      let pongs = 0
      if ("on" in socket && typeof socket.on === "function") socket.on("pong", () => pongs++)
      const ping = () => {
        if ("ping" in socket && typeof socket.ping === "function") socket.ping()
      }
      ping()
      assert.strictEqual(pongs, 1)
      yield* post("/prompt", { prompt: prompt(7), client_id: "a" })
      yield* server.stall("30 seconds")
      const fiber = yield* Effect.forkChild(get("/prompt"))
      ping()
      yield* TestClock.adjust("29 seconds")
      assert.deepStrictEqual([seen.length, pongs], [3, 1])
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual(seen.at(-1), "executing")
      assert.strictEqual(pongs, 2)
      yield* server.halfOpenSockets({ clientId: "a", serverNoticesMs: 10_000 })
      ping()
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(pongs, 2)
      const again = yield* watch("a")
      yield* TestClock.adjust("5 seconds")
      yield* post("/prompt", { prompt: prompt(8), client_id: "a" })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(again.seen, ["open", "status"])
    }).pipe(Effect.provide(servers)))

  it.effect("breaks a body off", () =>
    Effect.gen(function*() {
      const server = (yield* FakeServers.FakeServers).get(origin)
      yield* server.inject(Fault.on(Fault.path("/object_info"), Fault.cutBody(100), { times: 1 }))
      const response = yield* get("/object_info")
      let bytes = 0
      const exit = yield* Effect.exit(Stream.runForEach(response.stream, (chunk) =>
        Effect.sync(() => {
          bytes += chunk.length
        })))
      assert.isTrue(Exit.isFailure(exit))
      assert.strictEqual(bytes, 100)
      assert.strictEqual((yield* get("/object_info")).status, 200)
    }).pipe(Effect.provide(servers)))

  it.effect("looks like a browser's socket where asked", () =>
    Effect.gen(function*() {
      const make = yield* Socket.WebSocketConstructor
      assert.throws(() => make("ws://gpu-1:8188/ws", { headers: { a: "b" } }), TypeError)
      assert.notProperty((yield* watch("b")).socket, "ping")
    }).pipe(Effect.provide(FakeServers.layer({ [origin]: { sockets: "browser" } }))))

  it.effect("does not know other origins", () =>
    Effect.gen(function*() {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(HttpClient.get("http://gpu-2:8188/prompt"))))
    }).pipe(Effect.provide(servers)))
})
