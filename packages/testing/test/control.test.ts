import { BadFrames, Fault, FaultPresets } from "@effect-comfyui/testing"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { request } from "node:http"
import { WebSocket } from "ws"

interface Answer {
  readonly status: number
  readonly body: string
}

const http = (
  method: string,
  url: string,
  body: string | Uint8Array = "",
  type = "application/json"
): Effect.Effect<Answer, Error> =>
  Effect.callback((resume) => {
    const sent = request(url, { method, agent: false, headers: { "content-type": type } }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () =>
        resume(Effect.succeed({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() })))
      response.on("error", (error) =>
        resume(Effect.fail(error)))
    })
    sent.on("error", (error) => resume(Effect.fail(error)))
    sent.end(body)
  })

const encodeFault = Schema.encodeSync(Fault.json)
const decodeFault = Schema.decodeUnknownSync(Fault.json)

/** One of every kind, with everything that it can hold. */
const schedule = { times: 2, skip: 1, afterMs: 5, forMs: 1_000, probability: 0.5 }
const everyFault: ReadonlyArray<Fault.FaultData> = [
  ...[
    Fault.respond({ status: 200, headers: { a: "b" }, body: Uint8Array.of(0, 255) }),
    Fault.dropRequest,
    Fault.dropAnswer,
    Fault.replaceAnswer(Fault.gatewayTimeout),
    Fault.hang({ done: true }),
    Fault.killBefore,
    Fault.killAfter,
    Fault.cutBody(3, "badChunk"),
    Fault.stallBody(3),
    Fault.delayRequest(1),
    Fault.holdAnswer(0),
    Fault.slowHeaders(5),
    Fault.slowBody({ bytesPerMs: 0.5 }),
    Fault.slowBody({ overMs: 5 }),
    Fault.padBody(100),
    Fault.answerWithin(60_000)
  ].map((action) => Fault.on(Fault.any, action, schedule)),
  Fault.on(
    Fault.either(
      Fault.request("POST", "/prompt"),
      Fault.header("X-A"),
      Fault.header("x-b", "1"),
      Fault.bodyIncludes("x"),
      Fault.bodyOver(3)
    ),
    Fault.dropAnswer
  ),
  Fault.refuseUpgrades(),
  Fault.refuseUpgrades("reset", schedule),
  Fault.hangUpgrades(),
  Fault.deafUpgrades(),
  Fault.delayFrames(5),
  Fault.dropFrames(Fault.event("progress", "executing")),
  Fault.duplicateFrames(Fault.either(Fault.binary(), Fault.binary(4))),
  Fault.replayFrames(Fault.frameIncludes("x")),
  Fault.reorderFrames(Fault.anyFrame),
  Fault.insertFrames(Fault.anyFrame, [...BadFrames.malformed, ...BadFrames.brokenFraming], "before"),
  Fault.truncateFrames(Fault.anyFrame, 3),
  Fault.setField(Fault.anyFrame, ["data", "value"], "seven"),
  Fault.omitField(Fault.anyFrame, ["data"]),
  Fault.cutSocketAt(Fault.anyFrame),
  Fault.killServerAt(Fault.anyFrame),
  ...[
    Fault.silent(5),
    Fault.slower(2),
    Fault.uninterruptible,
    Fault.stallServer(5),
    Fault.raise("ValueError", "no", { progress: 7 }),
    Fault.outOfMemory(),
    Fault.poisonGpu("after"),
    Fault.killProcess(),
    Fault.killWorker()
  ].map((action) =>
    Fault.onNode({ classType: "KSampler", nodeId: "3", promptId: "p", inputIncludes: "x" }, action, schedule)
  ),
  Fault.loseInterrupts(),
  Fault.diskFull(schedule),
  Fault.deleteOutputs(),
  Fault.flapping({ upMs: 2_000, downMs: 2_000 }),
  Fault.skewClock(-3_600_000),
  Fault.idleCut({ socketsMs: 5 }),
  ...FaultPresets.slow(),
  ...FaultPresets.proxy(),
  ...FaultPresets.machineGone,
  ...FaultPresets.loggedOut()
]

describe("faults as JSON", () => {
  it("come back as they went, each of them", () => {
    for (const fault of everyFault) {
      assert.deepStrictEqual(decodeFault(JSON.parse(JSON.stringify(encodeFault(fault)))), fault)
    }
  })

  it("have room for nothing that a machine has not", () => {
    for (
      const bad of [
        Fault.on(Fault.any, Fault.padBody(1e12)),
        Fault.on(Fault.any, Fault.holdAnswer(Number.NaN)),
        Fault.on(Fault.any, Fault.holdAnswer(-1)),
        Fault.on(Fault.any, Fault.respond({ status: 99 })),
        Fault.duplicateFrames(Fault.anyFrame, 1e9),
        Fault.delayFrames(5, { probability: 2 })
      ]
    ) assert.throws(() => encodeFault(bad))
  })
})

describe("a process with a control port", () => {
  it.live("takes the same commands as every other door", () =>
    Effect.gen(function*() {
      const { control, server, url } = yield* spawnFake({ instant: true, testNodes: true })
      const prompt = (id: string) =>
        http(
          "POST",
          `${url}/prompt`,
          JSON.stringify({ prompt: { "1": { class_type: "FakeValue", inputs: { seed: 1 } } }, prompt_id: id })
        )
      const fault = Fault.on(Fault.request("POST", "/prompt"), Fault.dropAnswer)
      const { heal } = yield* server.inject([fault, Fault.skewClock(60_000)])
      assert.strictEqual((yield* server.snapshot).faults, 2)
      const id = "9d7d7a5c-2f64-4b3e-8a3f-5b1f9c1f2a11"
      assert.instanceOf(yield* Effect.flip(prompt(id)), Error)
      assert.deepInclude((yield* server.ledger).prompts[0], { promptId: id })
      const [post] = yield* server.requests
      assert.deepInclude(post, { method: "POST", target: "/prompt", outcome: "aborted" })
      assert.include(new TextDecoder().decode(post?.body), id)
      yield* heal
      assert.strictEqual((yield* server.snapshot).faults, 0)
      yield* server.stall("1 hour")
      // The fake server is silent; its control port is not.
      assert.isDefined((yield* server.snapshot).stalledUntil)
      yield* server.restart
      assert.deepStrictEqual((yield* server.ledger).prompts, [])
      yield* server.killWorker
      assert.isFalse((yield* server.snapshot).workerAlive)
      assert.match(yield* control, /^http:\/\/127\.0\.0\.1:[0-9]+$/)
      yield* server.kill
      assert.strictEqual((yield* Effect.exit(server.ledger))._tag, "Failure")
    }).pipe(Effect.scoped))

  it.live("reaches its sockets", () =>
    Effect.gen(function*() {
      const { server, url } = yield* spawnFake({ instant: true })
      const socket = yield* Effect.callback<WebSocket, Error>((resume) => {
        const made = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=a`)
        made.once("message", () => resume(Effect.succeed(made)))
        made.once("error", (error) => resume(Effect.fail(error)))
      })
      const next = Effect.callback<string>((resume) => {
        socket.once("message", (data) => resume(Effect.succeed(String(data))))
      })
      const closed = Effect.callback<number>((resume) => {
        socket.once("close", (code) => resume(Effect.succeed(code)))
      })
      const [frame] = yield* Effect.all([next, server.sendFrames([BadFrames.notAnObject], { clientId: "a" })], {
        concurrency: 2
      })
      assert.strictEqual(frame, BadFrames.notAnObject)
      yield* server.deafenSockets()
      assert.deepStrictEqual((yield* server.snapshot).sockets.map((one) => one.registered), [false])
      const [code] = yield* Effect.all([closed, server.cutSockets({ clientId: "a" })], { concurrency: 2 })
      assert.strictEqual(code, 1006)
    }).pipe(Effect.scoped))

  it.live("says so before it dies of a command", () =>
    Effect.gen(function*() {
      const { control, ended } = yield* spawnFake({ instant: true })
      const { body, status } = yield* http("POST", `${yield* control}/command`, "{\"_tag\":\"Kill\"}")
      assert.deepStrictEqual([status, body], [200, "{\"ids\":[]}"])
      yield* ended
    }).pipe(Effect.scoped))

  it.live("refuses nonsense with a type, and goes on", () =>
    Effect.gen(function*() {
      const { control, server } = yield* spawnFake({ instant: true })
      const base = yield* control
      const refusal = (answer: Answer) => [answer.status, JSON.parse(answer.body).error.type]
      const deep = `{"_tag":"Inject","faults":${"[".repeat(200_000)}${"]".repeat(200_000)}}`
      const nested = `${"{\"_tag\":\"All\",\"matches\":[".repeat(20_000)}${"]}".repeat(20_000)}`
      for (
        const body of [
          "",
          "{",
          "null",
          "[]",
          "{\"_tag\":\"Explode\"}",
          "{\"_tag\":\"Stall\",\"ms\":\"long\"}",
          "{\"_tag\":\"Stall\",\"ms\":-1}",
          "{\"_tag\":\"Wipe\",\"folder\":\"/\"}",
          "{\"_tag\":\"Inject\",\"faults\":[{\"_tag\":\"DiskFull\"}]}",
          "{\"_tag\":\"Inject\",\"faults\":[{\"_tag\":\"OnRequest\",\"match\":\"all\",\"action\":{\"_tag\":\"DropAnswer\"},\"schedule\":{}}]}",
          "{\"_tag\":\"SendFrames\",\"which\":{},\"frames\":[{\"base64\":\"***\"}]}",
          deep,
          `{"_tag":"Inject","faults":[{"_tag":"OnRequest","match":${nested},"action":{"_tag":"DropAnswer"},"schedule":{}}]}`
        ]
      ) {
        assert.deepStrictEqual(
          refusal(yield* http("POST", `${base}/command`, body)),
          [400, "BadCommand"],
          body.slice(0, 80)
        )
      }
      const heal = "{\"_tag\":\"Heal\"}"
      assert.deepStrictEqual(refusal(yield* http("POST", `${base}/command`, heal, "text/plain")), [415, "NotJson"])
      assert.deepStrictEqual(refusal(yield* http("GET", `${base}/command`)), [404, "NotFound"])
      assert.deepStrictEqual(refusal(yield* http("GET", `${base}/`)), [404, "NotFound"])
      const large = new Uint8Array(64 * 1024 * 1024 + 1)
      assert.deepStrictEqual(refusal(yield* http("POST", `${base}/command`, large)), [413, "TooLarge"])
      // Unknown ids heal nothing and are no error: a fault may have ended by itself.
      const ids = yield* http("POST", `${base}/command`, "{\"_tag\":\"Heal\",\"ids\":[7]}")
      assert.deepStrictEqual([ids.status, JSON.parse(ids.body)], [200, { ids: [] }])
      assert.strictEqual((yield* server.snapshot).faults, 0)
    }).pipe(Effect.scoped))
})
