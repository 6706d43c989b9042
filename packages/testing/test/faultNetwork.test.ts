import { BadFrames, Fault, FaultPresets, TestNodes } from "@effect-comfyui/testing"
import * as FakeServers from "@effect-comfyui/testing/FakeServers"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import { WebSocketConstructor } from "effect/socket/Socket"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { Server, textOf, upload } from "./support/server.ts"

const server = () => new Server({ nodes: TestNodes.nodes })
const graph = { "1": { class_type: "FakeSteps", inputs: { count: 10, milliseconds: 100, preview: false } } }

let faults = 0
const inject = (one: Server, ...given: ReadonlyArray<Fault.Fault>): number => {
  for (const fault of given) one.input({ _tag: "Inject", id: ++faults, fault })
  return faults
}

const outcome = (one: Server, id: number) => {
  const answer = one.answer(id)
  return answer === undefined ? "nothing" : answer === "aborted" ? answer : answer.status
}

const aborted = (one: Server, id: number) =>
  one.outputs.flatMap((output) => output._tag === "HttpAborted" && output.id === id ? [output.reason] : [])

const closed = (one: Server, conn: number) =>
  one.outputs.flatMap((output) => output._tag === "SocketClosed" && output.conn === conn ? [output.code] : [])

const submit = Fault.request("POST", "/prompt")
const post = (one: Server) => one.send("POST", "/prompt", { prompt: graph, client_id: "a" })

describe("faults on requests", () => {
  it("kill the process before it did anything, or after", () => {
    for (const [action, prompts] of [[Fault.killBefore, 0], [Fault.killAfter, 1]] as const) {
      const one = server()
      const conn = one.open("a")
      const other = (() => {
        inject(one, Fault.on(Fault.path("/queue"), Fault.hang({ done: true })))
        return one.send("GET", "/queue")
      })()
      inject(one, Fault.on(submit, action))
      const id = post(one)
      assert.deepStrictEqual([aborted(one, id), aborted(one, other)], [["reset"], ["reset"]])
      assert.deepStrictEqual([closed(one, conn), one.ledger().prompts.length], [[1006], prompts])
      assert.isFalse(one.snapshot().up)
      assert.deepStrictEqual(aborted(one, one.send("GET", "/prompt")), ["refused"])
    }
  })

  it("lose patience as a proxy does: one answer, and the server does it late", () => {
    const one = server()
    inject(one, Fault.on(submit, Fault.answerWithin(60_000)), Fault.on(submit, Fault.delayRequest(70_000)))
    const id = post(one)
    one.pass(59_999)
    assert.strictEqual(outcome(one, id), "nothing")
    one.pass(1)
    assert.deepStrictEqual([outcome(one, id), one.ledger().prompts.length], [504, 0])
    one.pass(20_000)
    assert.strictEqual(one.ledger().prompts[0]?.outcome, "success")
    assert.strictEqual(one.outputs.filter((output) => "id" in output && output.id === id).length, 1)
    assert.strictEqual(one.snapshot().underWay, 0)
  })

  it("lose patience with a server that stalls, too; who is quick is not touched", () => {
    const one = server()
    inject(one, ...FaultPresets.proxy({ timeoutMs: 10_000 }))
    assert.strictEqual(one.get("/prompt").status, 200)
    one.input({ _tag: "Stall", ms: 30_000 })
    const id = post(one)
    one.pass(10_000)
    assert.deepStrictEqual([outcome(one, id), one.ledger().prompts.length], [504, 0])
    one.pass(25_000)
    assert.deepStrictEqual(one.ledger().prompts.map((prompt) => prompt.outcome), ["success"])
  })

  it("answer for a server that stalls, for it is somebody else who answers", () => {
    const one = server()
    inject(one, Fault.on(Fault.path("/queue"), Fault.respond(Fault.badGateway)))
    one.input({ _tag: "Stall", ms: 5_000 })
    assert.strictEqual(outcome(one, one.send("GET", "/queue")), 502)
    assert.strictEqual(outcome(one, one.send("GET", "/prompt")), "nothing")
  })

  it("match by header, by what is in a body, by its size, and by any of several", () => {
    const one = server()
    const hits = (match: Fault.Match, headers: Readonly<Record<string, string>> = {}, body = "abc") => {
      const id = inject(one, Fault.on(match, Fault.respond({ status: 418 })))
      const { status } = one.http("POST", "/free", body, headers)
      one.input({ _tag: "Heal", id })
      return status === 418
    }
    assert.isTrue(hits(Fault.header("X-A"), { "x-a": "1" }))
    assert.isFalse(hits(Fault.header("X-A")))
    assert.isTrue(hits(Fault.header("x-a", "1"), { "x-a": "1" }))
    assert.isFalse(hits(Fault.header("x-a", "2"), { "x-a": "1" }))
    assert.isTrue(hits(Fault.bodyIncludes("bc")))
    assert.isFalse(hits(Fault.bodyIncludes("bd")))
    assert.isTrue(hits(Fault.bodyOver(2)))
    assert.isFalse(hits(Fault.bodyOver(3)))
    assert.isTrue(hits(Fault.either(Fault.method("GET"), Fault.path("/free"))))
    assert.isFalse(hits(Fault.either(Fault.method("GET"), Fault.path("/queue"))))
    assert.isFalse(hits(Fault.either<Fault.Match>()))
    assert.isTrue(hits((request) => request.target === "/free"))
  })

  it("sleep first, and let some pass", () => {
    const one = server()
    inject(one, Fault.on(Fault.any, Fault.dropRequest, { afterMs: 1_000, forMs: 2_000, skip: 1 }))
    const seen: Array<unknown> = []
    for (const ms of [0, 999, 1, 0, 999, 1]) {
      one.pass(ms)
      seen.push(outcome(one, one.send("GET", "/prompt")))
    }
    assert.deepStrictEqual(seen, [200, 200, 200, "aborted", "aborted", 200])
  })
})

describe("upgrades", () => {
  it("hang, or open deaf", () => {
    const one = server()
    inject(one, Fault.hangUpgrades({ times: 1 }), Fault.deafUpgrades({ times: 1 }))
    const [hanging, deaf, well] = [one.open("a"), one.open("b"), one.open("c")]
    one.input({ _tag: "SocketPing", conn: hanging })
    one.input({ _tag: "SocketPing", conn: deaf })
    one.prompt(graph, { client_id: "b" })
    one.pass(5_000)
    const of = (conn: number) => one.outputs.filter((output) => "conn" in output && output.conn === conn)
    assert.deepStrictEqual(of(hanging), [])
    assert.deepStrictEqual(of(deaf).map((output) => output._tag), ["SocketAccepted", "SocketPong"])
    assert.isAbove(of(well).length, 1)
    // A socket that never opened closes without a trace.
    one.input({ _tag: "SocketClose", conn: hanging, code: 1006 })
    assert.deepStrictEqual(one.snapshot().sockets.map((socket) => socket.registered), [false, true])
  })
})

describe("flapping", () => {
  it("of the network: refused and cut while it is down, and the server goes on", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.flapping({ upMs: 2_000, downMs: 2_000 }))
    one.pass(1_500)
    const held = inject(one, Fault.on(submit, Fault.holdAnswer(60_000)))
    const running = post(one)
    one.pass(600)
    assert.deepStrictEqual([closed(one, conn), aborted(one, running)], [[1006], ["reset"]])
    assert.deepStrictEqual(aborted(one, one.send("GET", "/prompt")), ["refused"])
    assert.deepStrictEqual(closed(one, one.open("a")), [1006])
    assert.deepInclude(one.snapshot(), { up: true, reachable: false })
    one.pass(2_000)
    one.input({ _tag: "Heal", id: held })
    assert.strictEqual(one.get("/prompt").status, 200)
    const again = one.open("a")
    assert.strictEqual(one.ledger().prompts[0]?.outcome, "success")
    one.pass(2_000)
    assert.deepStrictEqual(closed(one, again), [1006])
    one.input({ _tag: "Heal" })
    assert.isTrue(one.snapshot().reachable)
    one.pass(60_000)
    assert.strictEqual(one.snapshot().boots, 1)
    assert.strictEqual(one.get("/prompt").status, 200)
  })

  it("of the process: killed, and a new one each time, as often as it says", () => {
    const one = server()
    inject(one, Fault.flapping({ upMs: 1_000, downMs: 500, what: "process", schedule: { times: 2, afterMs: 100 } }))
    const ups: Array<boolean> = []
    for (let i = 0; i < 10; i++) {
      one.pass(500)
      ups.push(one.snapshot().up)
    }
    assert.deepStrictEqual(ups, [true, true, false, true, true, false, true, true, true, true])
    assert.deepInclude(one.snapshot(), { boots: 3, faults: 0 })
  })

  it("of the event loop: nothing comes out, then all of it", () => {
    const one = server()
    inject(one, Fault.flapping({ upMs: 1_000, downMs: 3_000, what: "stall", schedule: { forMs: 3_000 } }))
    one.pass(1_500)
    const id = one.send("GET", "/prompt")
    one.pass(1_400)
    assert.strictEqual(outcome(one, id), "nothing")
    // It is over in the middle of it.
    one.pass(200)
    assert.strictEqual(outcome(one, id), 200)
    one.pass(60_000)
    assert.isUndefined(one.snapshot().stalledUntil)
  })

  it("answers every request once, whatever else goes wrong", () => {
    const steps = fc.array(
      fc.record({
        after: fc.constantFrom(0, 10, 60, 200),
        what: fc.constantFrom("get", "post", "open", "stall", "kill", "restart", "cut", "wipe")
      }),
      { maxLength: 40 }
    )
    const flaps = fc.array(
      fc.record({
        what: fc.constantFrom<Fault.Flapping>("network", "process", "stall"),
        upMs: fc.integer({ min: 0, max: 100 }),
        downMs: fc.integer({ min: 0, max: 100 })
      }),
      { maxLength: 3 }
    )
    fc.assert(
      fc.property(steps, flaps, (all, given) => {
        const one = server()
        const ids: Array<number> = []
        inject(one, ...given.map(Fault.flapping), ...FaultPresets.proxy({ timeoutMs: 70, idleMs: 150 }))
        inject(one, Fault.on(Fault.any, Fault.killAfter, { probability: 0.1 }))
        inject(one, Fault.on(Fault.any, Fault.delayRequest(40), { probability: 0.3 }))
        inject(one, Fault.killServerAt(Fault.event("executing"), { probability: 0.05 }))
        inject(one, Fault.reorderFrames(Fault.anyFrame))
        for (const { after, what } of all) {
          one.pass(after)
          if (what === "get") ids.push(one.send("GET", "/queue"))
          else if (what === "post") ids.push(post(one))
          else if (what === "open") one.open("a")
          else if (what === "stall") one.input({ _tag: "Stall", ms: 50 })
          else if (what === "kill") one.input({ _tag: "Kill" })
          else if (what === "cut") one.input({ _tag: "CutSockets", which: {} })
          else if (what === "wipe") one.input({ _tag: "Wipe", folder: "output" })
          else one.input({ _tag: "Restart" })
        }
        one.pass(1_000)
        one.input({ _tag: "Heal" })
        one.settle()
        for (const id of ids) {
          assert.strictEqual(one.outputs.filter((output) => "id" in output && output.id === id).length, 1)
        }
        assert.deepInclude(one.snapshot(), { faults: 0, underWay: 0, reachable: true })
      }),
      { numRuns: 300 }
    )
  })
})

describe("a proxy", () => {
  it("cuts a socket over which nothing passes; pings and frames keep it", () => {
    const one = server()
    inject(one, ...FaultPresets.proxy({ idleMs: 10_000 }))
    const [quiet, pinging] = [one.open("quiet"), one.open("pinging")]
    for (let i = 0; i < 3; i++) {
      one.pass(4_000)
      one.input({ _tag: "SocketPing", conn: pinging })
    }
    assert.deepStrictEqual([closed(one, quiet), closed(one, pinging)], [[1006], []])
    one.pass(9_000)
    one.prompt({ "1": { class_type: "FakeValue", inputs: { seed: 1 } } }, { client_id: "pinging" })
    one.pass(9_999)
    assert.deepStrictEqual(closed(one, pinging), [])
    one.pass(10)
    assert.deepStrictEqual(closed(one, pinging), [1006])
  })

  it("refuses what is too large with a page of its own", () => {
    const one = server()
    inject(one, ...FaultPresets.proxy({ maxBodyBytes: 1_000 }))
    const { body, headers } = upload("a.png", new Uint8Array(1_000))
    const { body: page, headers: given, status } = one.http("POST", "/upload/image", body, headers)
    assert.deepStrictEqual([status, given["server"], one.snapshot().files], [413, "nginx", 0])
    assert.match(textOf(page), /^<html>/)
  })

  it("says 404 of a machine that is gone, or sends to a login page: sockets too", () => {
    for (const [preset, status] of [[FaultPresets.machineGone, 404], [FaultPresets.loggedOut(), 302]] as const) {
      const one = server()
      inject(one, ...preset)
      assert.strictEqual(one.get("/history/1").status, status)
      one.open("a")
      assert.deepInclude(one.outputs.at(-1), { _tag: "SocketRefused", status })
    }
  })

  it("leaves parts out that are 0", () => {
    assert.deepStrictEqual(
      FaultPresets.proxy({ idleMs: 0, keepAliveMs: 0, maxBodyBytes: 0, timeoutMs: 0 }),
      [Fault.idleCut({})]
    )
    const none = { loadMs: 0, objectInfoMs: 0, silentMs: 0, stallMs: 0 }
    assert.deepStrictEqual(FaultPresets.slow(none), [])
  })
})

describe("a slow server", () => {
  it("is silent where a real one is, and its run goes well", () => {
    const one = new Server()
    const conn = one.open("a")
    inject(one, ...FaultPresets.slow())
    one.prompt({
      "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly-fp16.safetensors" } },
      "2": { class_type: "CLIPTextEncode", inputs: { text: "a", clip: ["1", 1] } },
      "3": { class_type: "EmptyLatentImage", inputs: { width: 64, height: 64, batch_size: 1 } },
      "4": {
        class_type: "KSampler",
        inputs: {
          model: ["1", 0],
          positive: ["2", 0],
          negative: ["2", 0],
          latent_image: ["3", 0],
          seed: 1,
          steps: 2,
          cfg: 1,
          sampler_name: "euler",
          scheduler: "normal",
          denoise: 1
        }
      },
      "5": { class_type: "VAEDecode", inputs: { samples: ["4", 0], vae: ["1", 2] } },
      "6": { class_type: "PreviewImage", inputs: { images: ["5", 0] } }
    }, { client_id: "a" })
    one.pass(1_000)
    const asked = one.send("GET", "/prompt")
    assert.strictEqual(outcome(one, asked), "nothing")
    one.pass(5_000)
    assert.strictEqual(outcome(one, asked), 200)
    one.pass(50_000)
    assert.strictEqual(one.types(conn).at(-1), "executing 4")
    one.pass(12_000)
    assert.strictEqual(one.types(conn).at(-1), "executing 5")
    one.http("POST", "/interrupt")
    one.pass(160_000)
    assert.strictEqual(one.types(conn).at(-1), "executing 5")
    one.pass(30_000)
    assert.strictEqual(one.types(conn).at(-1), "executing null")
    assert.strictEqual(one.ledger().prompts[0]?.outcome, "interrupted")
  })
})

describe("a slow machine", () => {
  it("reads its models for a minute", () => {
    const one = new Server(FaultPresets.slowMachine)
    one.prompt({
      "1": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "sd_xl_base_1.0.safetensors" } },
      "2": { class_type: "CLIPTextEncode", inputs: { text: "a", clip: ["1", 1] } },
      "3": { class_type: "VAEDecode", inputs: { samples: ["4", 0], vae: ["1", 2] } },
      "4": { class_type: "EmptyLatentImage", inputs: { width: 64, height: 64, batch_size: 1 } },
      "5": { class_type: "PreviewImage", inputs: { images: ["3", 0] } }
    })
    one.pass(50_000)
    assert.strictEqual(one.ledger().nodes.at(-1)?.classType, "CheckpointLoaderSimple")
    one.pass(30_000)
    assert.strictEqual(one.ledger().prompts[0]?.outcome, "success")
  })
})

describe("slow answers, in memory", () => {
  const url = "http://gpu-1:8188"
  const body = Effect.gen(function*() {
    const response = yield* HttpClient.get(`${url}/object_info`)
    const text = yield* response.text
    return { length: text.length, text }
  })
  const chunks = Effect.gen(function*() {
    const response = yield* HttpClient.get(`${url}/object_info`)
    const sizes: Array<number> = []
    yield* Effect.ignore(Stream.runForEach(response.stream, (chunk) => Effect.sync(() => sizes.push(chunk.length))))
    return sizes
  })
  const asking = <A, E>(ask: Effect.Effect<A, E, HttpClient.HttpClient>, ...given: ReadonlyArray<Fault.Fault>) =>
    Effect.gen(function*() {
      yield* (yield* FakeServers.FakeServers).get(url).inject(given)
      const fiber = yield* Effect.forkChild(ask)
      yield* TestClock.adjust(0)
      return fiber
    })
  const Servers = FakeServers.layer({ [url]: {} })

  it.effect("of 20 MB in 19 s, still JSON", () =>
    Effect.gen(function*() {
      const fiber = yield* asking(body, ...Fault.slowObjectInfo())
      yield* TestClock.adjust(18_900)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(200)
      const { length, text } = yield* Fiber.join(fiber)
      assert.strictEqual(length, 20_000_000)
      assert.property(JSON.parse(text), "KSampler")
    }).pipe(Effect.provide(Servers)))

  it.effect("headers that come late, then the body at its pace", () =>
    Effect.gen(function*() {
      const path = Fault.path("/object_info")
      const fiber = yield* asking(
        body,
        Fault.on(path, Fault.slowHeaders(5_000)),
        Fault.on(path, Fault.slowBody({ bytesPerMs: 1_000 })),
        Fault.on(path, Fault.padBody(2_000_000))
      )
      yield* TestClock.adjust(6_900)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(200)
      assert.strictEqual((yield* Fiber.join(fiber)).length, 2_000_000)
    }).pipe(Effect.provide(Servers)))

  it.effect("a body that stops without an end", () =>
    Effect.gen(function*() {
      const fiber = yield* asking(chunks, Fault.on(Fault.path("/object_info"), Fault.stallBody(10)))
      yield* TestClock.adjust("1 day")
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
    }).pipe(Effect.provide(Servers)))

  it.effect("bytes that break WebSocket end the connection, as its reader would", () =>
    Effect.gen(function*() {
      const fake = (yield* FakeServers.FakeServers).get(url)
      const socket = (yield* WebSocketConstructor)("ws://gpu-1:8188/ws?clientId=a", [])
      const events: Array<string> = []
      for (const type of ["open", "message", "close"] as const) socket.addEventListener(type, () => events.push(type))
      yield* TestClock.adjust(1)
      yield* fake.sendFrames([BadFrames.notAnObject, BadFrames.masked, BadFrames.notAnObject])
      assert.deepStrictEqual(events, ["open", "message", "message", "close"])
      assert.deepStrictEqual((yield* fake.snapshot).sockets, [])
    }).pipe(Effect.provide(Servers)))

  it.effect("lists of faults are healed as one", () =>
    Effect.gen(function*() {
      const fake = (yield* FakeServers.FakeServers).get(url)
      yield* fake.inject(Fault.diskFull())
      const { heal } = yield* fake.inject(FaultPresets.proxy())
      assert.strictEqual((yield* fake.snapshot).faults, 4)
      yield* heal
      assert.strictEqual((yield* fake.snapshot).faults, 1)
    }).pipe(Effect.provide(Servers)))
})
