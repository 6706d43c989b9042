import { Fault, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { Server, textOf } from "./support/server.ts"

const server = () => new Server({ nodes: TestNodes.nodes })

const graph = { "1": { class_type: "FakeValue", inputs: { seed: 1 } } }

let faults = 0
const inject = (one: Server, fault: Fault.Fault): number => {
  one.input({ _tag: "Inject", id: ++faults, fault })
  return faults
}

/** The status that comes back at once, "aborted", or "nothing" so far. */
const outcome = (one: Server, id: number) => {
  const answer = one.answer(id)
  return answer === undefined ? "nothing" : answer === "aborted" ? answer : answer.status
}

const ask = (one: Server, method = "GET", path = "/prompt", body: string | object = "") =>
  outcome(one, one.send(method, path, body))

const submit = Fault.request("POST", "/prompt")
const accepted = (one: Server) => one.ledger().prompts.length

describe("matchers", () => {
  const request = (method: string, target: string): Fault.RequestInfo => ({
    method,
    path: target.split("?")[0] ?? "",
    target,
    headers: {},
    body: new Uint8Array(0)
  })
  const matches = (pattern: string, target: string) => Fault.matches(Fault.path(pattern), request("GET", target))

  it("know a path with and without /api, one segment, and any rest", () => {
    assert.isTrue(matches("/history", "/history?max_items=1"))
    assert.isTrue(matches("/history", "/api/history"))
    assert.isFalse(matches("/history", "/history/1"))
    assert.isTrue(matches("/history/*", "/history/1"))
    assert.isTrue(matches("/history/*", "/api/history/1/2"))
    assert.isFalse(matches("/history/*", "/history"))
    assert.isTrue(matches("/api/jobs/*/cancel", "/api/jobs/1/cancel"))
    assert.isFalse(matches("/api/jobs/*/cancel", "/api/jobs/1"))
    assert.isFalse(matches("/api/jobs", "/jobs"))
  })

  it("are joined by and", () => {
    assert.isTrue(Fault.matches(submit, request("POST", "/prompt")))
    assert.isFalse(Fault.matches(submit, request("GET", "/prompt")))
    assert.isTrue(Fault.matches(Fault.all<Fault.Match>(), request("GET", "/")))
    assert.isFalse(Fault.matches(Fault.all(Fault.any, Fault.method("PUT")), request("GET", "/")))
  })
})

describe("actions", () => {
  const post = (one: Server) => one.send("POST", "/prompt", { prompt: graph })

  it("fail before the server sees a request, or after", () => {
    const one = server()
    inject(one, Fault.on(submit, Fault.dropRequest, { times: 1 }))
    assert.deepStrictEqual([outcome(one, post(one)), accepted(one)], ["aborted", 0])
    inject(one, Fault.on(submit, Fault.dropAnswer, { times: 1 }))
    assert.deepStrictEqual([outcome(one, post(one)), accepted(one)], ["aborted", 1])
    assert.deepStrictEqual([outcome(one, post(one)), accepted(one)], [200, 2])
  })

  it("answer for the server, before or after it saw the request", () => {
    const one = server()
    inject(one, Fault.on(submit, Fault.respond(Fault.tooManyRequests(7)), { times: 1 }))
    const limited = one.answer(post(one))
    assert.deepInclude(limited, { status: 429 })
    assert.deepStrictEqual([limited === "aborted" ? "" : limited?.headers["retry-after"], accepted(one)], ["7", 0])
    inject(one, Fault.on(submit, Fault.replaceAnswer(Fault.gatewayTimeout), { times: 1 }))
    assert.deepStrictEqual([outcome(one, post(one)), accepted(one)], [504, 1])
  })

  it("never answer, whether the server saw the request or not", () => {
    const one = server()
    for (const done of [false, true]) {
      inject(one, Fault.on(submit, Fault.hang({ done }), { times: 1 }))
      const id = post(one)
      one.pass(1e9)
      assert.deepStrictEqual([outcome(one, id), accepted(one)], ["nothing", done ? 1 : 0])
    }
  })

  it("come late: the request, the answer, or both", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.on(submit, Fault.delayRequest(300), { times: 1 }))
    inject(one, Fault.on(submit, Fault.holdAnswer(500), { times: 1 }))
    const id = one.send("POST", "/prompt", { prompt: graph, client_id: "a" })
    one.pass(299)
    assert.strictEqual(accepted(one), 0)
    one.pass(2)
    assert.deepStrictEqual([accepted(one), outcome(one, id)], [1, "nothing"])
    assert.strictEqual(one.types(conn).at(-1), "executing null")
    one.pass(498)
    assert.strictEqual(outcome(one, id), "nothing")
    one.pass(1)
    assert.strictEqual(outcome(one, id), 200)
  })

  it("hold an answer back behind the frames of the same moment", () => {
    const one = new Server({ nodes: TestNodes.nodes, dequeueMs: 0, speed: 0 })
    one.open("a")
    const tags = () => {
      const from = one.outputs.length
      one.send("POST", "/prompt", { prompt: graph, client_id: "a" })
      one.settle()
      return one.outputs.slice(from).map((output) => output._tag).filter((tag, index, all) => tag !== all[index - 1])
    }
    assert.deepStrictEqual(tags(), ["SocketSend", "HttpResponse", "SocketSend"])
    inject(one, Fault.on(submit, Fault.holdAnswer(0)))
    assert.deepStrictEqual(tags(), ["SocketSend", "HttpResponse"])
  })

  it("cut a body off, and change an answer", () => {
    const one = server()
    inject(one, Fault.on(Fault.path("/features"), Fault.cutBody(5), { times: 1 }))
    assert.deepInclude(one.answer(one.send("GET", "/features")), { status: 200, cutAfter: 5 })
    inject(
      one,
      Fault.on(
        Fault.path("/features"),
        Fault.editAnswer(({ body }) => ({ status: 203, body: `${typeof body === "string" ? body : textOf(body)}!` }))
      )
    )
    const { body, headers, status } = one.get("/features")
    assert.deepStrictEqual([status, textOf(body).at(-1), headers["content-length"]], [203, "!", `${body.length}`])
  })

  it("add up their delays; of the others the first counts", () => {
    const one = server()
    inject(one, Fault.on(Fault.any, Fault.holdAnswer(100)))
    inject(one, Fault.on(Fault.any, Fault.respond(Fault.badGateway)))
    inject(one, Fault.on(Fault.any, Fault.respond(Fault.serviceUnavailable)))
    inject(one, Fault.on(Fault.any, Fault.holdAnswer(200)))
    const id = one.send("GET", "/prompt")
    one.pass(299)
    assert.strictEqual(outcome(one, id), "nothing")
    one.pass(1)
    assert.strictEqual(outcome(one, id), 502)
  })
})

describe("schedules", () => {
  const respond = Fault.respond(Fault.serviceUnavailable)

  it("skip, count and end; healing takes back what is meant", () => {
    fc.assert(fc.property(fc.nat(5), fc.nat(5), (skip, times) => {
      const one = server()
      inject(one, Fault.on(Fault.any, respond, { skip, times }))
      const seen = Array.from({ length: 12 }, () => ask(one) === 503)
      assert.deepStrictEqual(seen, Array.from({ length: 12 }, (_, i) => i >= skip && i < skip + times))
    }))
    const one = server()
    const first = inject(one, Fault.on(Fault.method("GET"), respond, { forMs: 1_000 }))
    const second = inject(one, Fault.on(Fault.method("POST"), respond))
    assert.deepStrictEqual([ask(one), ask(one, "POST", "/interrupt"), one.snapshot().faults], [503, 503, 2])
    one.pass(1_000)
    assert.deepStrictEqual([ask(one), ask(one, "POST", "/interrupt"), one.snapshot().faults], [200, 503, 1])
    one.input({ _tag: "Heal", id: first })
    assert.strictEqual(ask(one, "POST", "/interrupt"), 503)
    one.input({ _tag: "Heal", id: second })
    assert.deepStrictEqual([ask(one, "POST", "/interrupt"), one.snapshot().faults], [200, 0])
  })

  it("strike as often as they say, the same at every run of a seed", () => {
    const strikes = (seed: number) => {
      const one = new Server({ seed })
      inject(one, Fault.on(Fault.any, respond, { probability: 0.3 }))
      return Array.from({ length: 1_000 }, () => ask(one) === 503)
    }
    assert.deepStrictEqual(strikes(1), strikes(1))
    assert.notDeepEqual(strikes(1), strikes(3))
    assert.approximately(strikes(1).filter(Boolean).length, 300, 60)
  })
})

describe("sockets", () => {
  it("are refused or reset at their upgrade, which the log of requests shows", () => {
    const one = server()
    inject(one, Fault.refuseUpgrades({ status: 401 }, { times: 1 }))
    inject(one, Fault.refuseUpgrades("reset", { times: 1 }))
    const last = () => one.outputs.at(-1)
    one.open("a")
    assert.deepInclude(last(), { _tag: "SocketRefused", status: 401 })
    one.open("a")
    assert.deepInclude(last(), { _tag: "SocketClosed", code: 1006 })
    one.open("a")
    assert.strictEqual(one.snapshot().sockets.length, 1)
    one.input({ _tag: "SocketOpen", conn: 99, path: "/nope", headers: {} })
    assert.deepInclude(last(), { _tag: "SocketRefused", status: 404 })
  })

  it("get frames late and in order, or not at all", () => {
    const one = server()
    const conn = one.open("a")
    inject(one, Fault.delayFrames(1_000, { forMs: 5 }))
    inject(one, Fault.dropFrames((frame) => typeof frame === "string" && frame.includes("progress_state")))
    one.prompt(graph, { client_id: "a" })
    one.pass(10)
    assert.deepStrictEqual(one.types(conn), ["status"])
    // Sent when frames were quick again, but none overtakes another.
    one.prompt({ "1": { class_type: "FakeValue", inputs: { seed: 2 } } }, { client_id: "a" })
    one.settle()
    const run = [
      "status",
      "status",
      "execution_start",
      "execution_cached",
      "executing 1",
      "executed",
      "execution_success",
      "status",
      "executing null"
    ]
    assert.deepStrictEqual(one.types(conn), ["status", ...run, ...run])
    assert.strictEqual(one.snapshot().underWay, 0)
  })

  it("go deaf, break, or are half open until somebody notices", () => {
    const one = server()
    const [deaf, cut, half] = [one.open("deaf"), one.open("cut"), one.open("half")]
    one.input({ _tag: "DeafenSockets", which: { clientId: "deaf" } })
    assert.deepStrictEqual(
      one.snapshot().sockets.map((socket) => [socket.clientId, socket.registered]),
      [["deaf", false], ["cut", true], ["half", true]]
    )
    assert.deepStrictEqual(one.input({ _tag: "CutSockets", which: { clientId: "cut" } }), [
      { _tag: "SocketClosed", conn: cut, code: 1006, reason: "" }
    ])
    one.input({ _tag: "HalfOpenSockets", which: { clientId: "half" }, serverNoticesMs: 1_000 })
    assert.deepStrictEqual(one.input({ _tag: "SocketPing", conn: deaf }), [{ _tag: "SocketPong", conn: deaf }])
    assert.deepStrictEqual(one.input({ _tag: "SocketPing", conn: half }), [])
    const before = one.frames(half).length
    one.prompt(graph)
    one.pass(999)
    assert.deepStrictEqual(one.snapshot().sockets.map((socket) => socket.conn), [deaf, half])
    one.pass(1)
    assert.deepStrictEqual(one.snapshot().sockets.map((socket) => socket.conn), [deaf])
    assert.strictEqual(one.frames(half).length, before)
  })

  it("make the second of an id deaf when the first one closes", () => {
    const one = server()
    const [first, second] = [one.open("a"), one.open("a")]
    one.prompt(graph, { client_id: "a" })
    one.settle()
    assert.deepStrictEqual(one.types(first), ["status"])
    const heard = one.types(second).length
    assert.isAbove(heard, 5)
    one.input({ _tag: "SocketClose", conn: first, code: 1000 })
    one.prompt({ "1": { class_type: "FakeValue", inputs: { seed: 2 } } }, { client_id: "a" })
    one.settle()
    assert.strictEqual(one.types(second).length, heard)
  })
})

describe("the whole server", () => {
  it("stalls: nothing comes out, then all of it, in order", () => {
    const one = server()
    const conn = one.open("a")
    one.input({ _tag: "Stall", ms: 5_000 })
    const id = one.send("POST", "/prompt", { prompt: graph, client_id: "a" })
    one.input({ _tag: "SocketPing", conn })
    one.pass(4_999)
    assert.deepStrictEqual([outcome(one, id), one.types(conn), accepted(one)], ["nothing", ["status"], 0])
    one.pass(2)
    assert.strictEqual(outcome(one, id), 200)
    assert.isTrue(one.outputs.some((output) => output._tag === "SocketPong"))
    assert.strictEqual(one.types(conn).at(-1), "executing null")
  })

  it("breaks what is on its way when it dies, once", () => {
    const one = server()
    inject(one, Fault.on(Fault.any, Fault.holdAnswer(1_000), { times: 1 }))
    inject(one, Fault.on(Fault.path("/queue"), Fault.hang({ done: true })))
    const ids = [one.send("GET", "/prompt"), one.send("GET", "/queue")]
    one.input({ _tag: "Kill" })
    one.input({ _tag: "Restart" })
    one.pass(10_000)
    for (const id of ids) {
      const ends = one.outputs.filter((output) => "id" in output && output.id === id)
      assert.deepStrictEqual(ends.map((output) => output._tag), ["HttpAborted"])
    }
    assert.strictEqual(ask(one), 200)
  })

  it("answers every request exactly once, whatever goes wrong", () => {
    const actions = fc.constantFrom<Fault.Action>(
      Fault.dropRequest,
      Fault.dropAnswer,
      Fault.respond(Fault.badGateway),
      Fault.replaceAnswer(Fault.gatewayTimeout),
      Fault.delayRequest(40),
      Fault.holdAnswer(0),
      Fault.holdAnswer(70),
      Fault.cutBody(3)
    )
    const steps = fc.array(
      fc.record({
        after: fc.constantFrom(0, 10, 60),
        what: fc.oneof(
          fc.record({ _tag: fc.constant("Inject" as const), action: actions, probability: fc.constantFrom(0.5, 1) }),
          fc.constantFrom(
            { _tag: "Get" as const },
            { _tag: "Get" as const },
            { _tag: "Post" as const },
            { _tag: "Heal" as const },
            { _tag: "Stall" as const },
            { _tag: "Kill" as const },
            { _tag: "Restart" as const }
          )
        )
      }),
      { maxLength: 30 }
    )
    fc.assert(
      fc.property(steps, (all) => {
        const one = server()
        const ids: Array<number> = []
        for (const { after, what } of all) {
          one.pass(after)
          if (what._tag === "Get") ids.push(one.send("GET", "/queue"))
          else if (what._tag === "Post") ids.push(one.send("POST", "/prompt", { prompt: graph }))
          else if (what._tag === "Stall") one.input({ _tag: "Stall", ms: 50 })
          else if (what._tag === "Inject") {
            inject(one, Fault.on(Fault.any, what.action, { probability: what.probability }))
          } else one.input(what)
        }
        one.settle()
        for (const id of ids) {
          assert.strictEqual(one.outputs.filter((output) => "id" in output && output.id === id).length, 1)
        }
        assert.strictEqual(one.snapshot().underWay, 0)
      }),
      { numRuns: 300 }
    )
  })
})
