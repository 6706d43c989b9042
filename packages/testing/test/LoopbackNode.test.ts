import { Fault } from "@effect-comfyui/testing"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import { spawnFake } from "@effect-comfyui/testing/SpawnFakeNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { request } from "node:http"
import { WebSocket } from "ws"

interface Answer {
  readonly status: number
  readonly headers: Record<string, unknown>
  readonly body: string
}

const http = (method: string, url: string, body = ""): Effect.Effect<Answer, Error> =>
  Effect.callback((resume) => {
    const sent = request(url, { method, agent: false }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk: Buffer) => chunks.push(chunk))
      response.on("end", () =>
        resume(Effect.succeed({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString()
        })))
      response.on("error", (error) => resume(Effect.fail(error)))
    })
    sent.on("error", (error) => resume(Effect.fail(error)))
    sent.end(body)
  })

const prompt = (color: number, clientId: string) =>
  JSON.stringify({
    client_id: clientId,
    prompt: {
      "1": { class_type: "EmptyImage", inputs: { width: 8, height: 8, batch_size: 1, color } },
      "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } }
    }
  })

/** A socket, opened, and the event that its first frame of this type is there. */
const dial = (url: string, clientId: string) =>
  Effect.callback<{ readonly socket: WebSocket; readonly until: (text: string) => Effect.Effect<void> }, Error>(
    (resume) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=${clientId}`)
      const frames: Array<string> = []
      const waiting = new Set<() => void>()
      socket.on("message", (data, binary) => {
        if (!binary) frames.push(String(data))
        for (const look of waiting) look()
      })
      socket.on("error", (error) => resume(Effect.fail(error)))
      const until = (text: string) =>
        Effect.callback<void>((done) => {
          const look = (): void => {
            if (!frames.some((frame) => frame.includes(text))) return
            waiting.delete(look)
            done(Effect.void)
          }
          waiting.add(look)
          look()
        })
      socket.on("open", () => resume(Effect.succeed({ socket, until })))
    }
  )

const closed = (socket: WebSocket) =>
  Effect.callback<number>((resume) => {
    if (socket.readyState === socket.CLOSED) return resume(Effect.succeed(1006))
    socket.once("close", (code) => resume(Effect.succeed(code)))
  })

describe("LoopbackNode", () => {
  it.live("answers and sends over real sockets", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      const { socket, until } = yield* dial(server.url, "a")
      yield* http("POST", `${server.url}/prompt`, prompt(1, "a"))
      yield* until("\"node\": null")
      const history = yield* http("GET", `${server.url}/history`)
      assert.include(history.body, "\"status_str\": \"success\"")
      assert.notProperty(history.headers, "connection")
      assert.match(String(history.headers["server"]), /aiohttp/)
      const name = /ComfyUI_temp_[a-z]{5}_00001_\.png/.exec(history.body)?.[0] ?? ""
      const head = yield* http("HEAD", `${server.url}/view?filename=${name}&type=temp`)
      assert.deepStrictEqual([head.status, head.body, Number(head.headers["content-length"]) > 60], [200, "", true])
      yield* server.inject(Fault.on(Fault.path("/queue"), Fault.dropAnswer))
      assert.instanceOf(yield* Effect.flip(http("GET", `${server.url}/queue`)), Error)
      yield* server.kill
      assert.strictEqual(yield* closed(socket), 1006)
      assert.match((yield* Effect.flip(http("GET", `${server.url}/prompt`))).message, /ECONNREFUSED/)
      yield* server.restart
      assert.strictEqual((yield* http("GET", `${server.url}/history`)).body, "{}")
    }).pipe(Effect.scoped))

  it.live("refuses upgrades with a status", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject(Fault.refuseUpgrades({ status: 503 }, { times: 1 }))
      assert.match((yield* Effect.flip(dial(server.url, "a"))).message, /503/)
      const { socket } = yield* dial(server.url, "a")
      socket.close()
      yield* closed(socket)
      assert.deepStrictEqual((yield* server.snapshot).sockets, [])
    }).pipe(Effect.scoped))

  it.live("runs as a process that can be killed, stopped and started again", () =>
    Effect.gen(function*() {
      const fake = yield* spawnFake({ instant: true, testNodes: true })
      const { socket } = yield* dial(fake.url, "a")
      assert.strictEqual((yield* http("POST", `${fake.url}/prompt`, prompt(1, "a"))).status, 200)
      yield* fake.kill()
      assert.strictEqual(yield* closed(socket), 1006)
      yield* fake.restart
      assert.strictEqual((yield* http("GET", `${fake.url}/history`)).body, "{}")
      yield* fake.stop
      yield* fake.continue
      const body = JSON.stringify({ prompt: { "1": { class_type: "FakeExit", inputs: { seconds: 0 } } } })
      yield* Effect.exit(http("POST", `${fake.url}/prompt`, body))
      yield* fake.ended
      yield* fake.restart
      assert.strictEqual((yield* http("GET", `${fake.url}/prompt`)).status, 200)
      yield* fake.kill("SIGTERM")
    }).pipe(Effect.scoped))
})
