import { BadFrames, Fault } from "@effect-comfyui/testing"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Agent, request } from "node:http"
import { connect, type Socket } from "node:net"
import { WebSocket } from "ws"

interface Answer {
  readonly status: number
  readonly body: string
}

/** An answer, or the error that it ends in, with what of its body had come. */
const http = (
  url: string,
  agent: Agent | false = false
): Effect.Effect<Answer, { readonly code: string; readonly body: string }> =>
  Effect.callback((resume) => {
    let body = ""
    const fail = (error: Error): void =>
      resume(Effect.fail({ code: "code" in error ? String(error.code) : error.message, body }))
    const sent = request(url, { agent }, (response) => {
      response.on("data", (chunk: Buffer) => {
        body += chunk.toString()
      })
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, body })))
      response.on("error", fail)
    })
    sent.on("error", fail)
    sent.end()
    return Effect.sync(() => sent.destroy())
  })

/** All that comes over a bare connection until it ends, as pieces. */
const pieces = (port: number, path: string, enough: (text: string) => boolean = () => false) =>
  Effect.callback<ReadonlyArray<string>>((resume) => {
    const all: Array<string> = []
    const socket = connect(port, "127.0.0.1", () => socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`))
    socket.on("data", (bytes) => {
      all.push(bytes.toString())
      if (enough(all.join(""))) resume(Effect.succeed(all))
    })
    socket.on("close", () => resume(Effect.succeed(all)))
    socket.on("error", () => {})
    return Effect.sync(() => socket.destroy())
  })

/** How a bare connection ends that has asked for this: with FIN, or with an error. */
const endOf = (port: number, path: string) =>
  Effect.callback<string>((resume) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`))
    socket.resume()
    socket.on("end", () => resume(Effect.succeed("FIN")))
    socket.on("error", (error) => resume(Effect.succeed("code" in error ? String(error.code) : error.message)))
    return Effect.sync(() => socket.destroy())
  })

const dial = (url: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=a`)
      // One that is given up while it hangs says so.
      socket.on("error", () => {})
      return socket
    }),
    (socket) => Effect.sync(() => socket.terminate())
  )

const opened = (socket: WebSocket) =>
  Effect.callback<WebSocket, Error>((resume) => {
    socket.once("error", (error) => resume(Effect.fail(error)))
    socket.once("message", () => resume(Effect.succeed(socket)))
  })

const errorOf = (socket: WebSocket) =>
  Effect.callback<string>((resume) => {
    socket.once("error", (error) => resume(Effect.succeed("code" in error ? String(error.code) : error.message)))
  })

const closed = (socket: WebSocket) =>
  Effect.callback<number>((resume) => {
    if (socket.readyState === socket.CLOSED) return resume(Effect.succeed(1006))
    socket.once("close", (code) => resume(Effect.succeed(code)))
  })

const features = Fault.path("/features")

describe("faults over real sockets", () => {
  it.live("break a body off: by a reset, by an end, by a chunk that is none", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      const end = (how: Fault.BodyEnd) =>
        Effect.gen(function*() {
          const { heal } = yield* server.inject(Fault.on(features, Fault.cutBody(5, how)))
          const failed = yield* Effect.flip(http(`${server.url}/features`))
          const ends = yield* endOf(server.port, "/features")
          yield* heal
          return [ends, failed] as const
        })
      const broken = { code: "ECONNRESET", body: "{\"sup" }
      assert.deepStrictEqual(yield* end("reset"), ["ECONNRESET", broken])
      assert.deepStrictEqual(yield* end("end"), ["FIN", broken])
      const [ends, { code }] = yield* end("badChunk")
      assert.deepStrictEqual([ends, code], ["FIN", "HPE_INVALID_CHUNK_SIZE"])
      yield* server.inject(Fault.on(features, Fault.slowBody({ overMs: 50 })))
      assert.deepStrictEqual(yield* end("reset"), ["ECONNRESET", broken])
      assert.strictEqual((yield* http(`${server.url}/features`)).status, 200)
    }).pipe(Effect.scoped))

  it.live("send the head byte by byte, and the body bit by bit", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject([
        Fault.on(features, Fault.slowHeaders(200)),
        Fault.on(features, Fault.slowBody({ overMs: 200 }))
      ])
      const all = yield* pieces(server.port, "/features")
      const [head = "", body = ""] = all.join("").split("\r\n\r\n")
      assert.match(head, /^HTTP\/1\.1 200 OK\r\n/)
      assert.property(JSON.parse(body), "max_upload_size")
      assert.isAbove(all.length, 10)
    }).pipe(Effect.scoped))

  it.live("stall a body, and the connection stays", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject(Fault.on(features, Fault.stallBody(7)))
      const all = yield* pieces(server.port, "/features", (text) => text.endsWith("{\"suppo"))
      assert.match(all.join(""), /content-length: [0-9]{2,}/)
      yield* http(`${server.url}/prompt`)
    }).pipe(Effect.scoped))

  it.live("break WebSocket's own rules, each with the error that it has", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      const errors: Array<string> = []
      for (const frame of BadFrames.brokenFraming) {
        const socket = yield* Effect.flatMap(dial(server.url), opened)
        const [error] = yield* Effect.all([errorOf(socket), server.sendFrames([frame])], { concurrency: 2 })
        errors.push(error)
        yield* closed(socket)
      }
      assert.deepStrictEqual(errors, [
        "WS_ERR_UNEXPECTED_MASK",
        "WS_ERR_UNEXPECTED_RSV_1",
        "WS_ERR_INVALID_OPCODE",
        "WS_ERR_INVALID_UTF8",
        "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
        "WS_ERR_INVALID_OPCODE"
      ])
    }).pipe(Effect.scoped))

  it.live("flap: connections are refused, sockets cut, and the same port listens again", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      const socket = yield* Effect.flatMap(dial(server.url), opened)
      const { heal } = yield* server.inject(Fault.flapping({ upMs: 50, downMs: 3_600_000 }))
      assert.strictEqual(yield* closed(socket), 1006)
      assert.strictEqual((yield* Effect.flip(http(`${server.url}/prompt`))).code, "ECONNREFUSED")
      yield* heal
      const again = yield* Effect.retry(http(`${server.url}/prompt`), { times: 10_000 })
      assert.strictEqual(again.status, 200)
      assert.strictEqual((yield* server.snapshot).boots, 1)
    }).pipe(Effect.scoped))

  it.live("hang an upgrade, or open it deaf; whoever gives up is forgotten", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject([Fault.hangUpgrades({ times: 1 }), Fault.deafUpgrades({ times: 1 })])
      const hanging = yield* dial(server.url)
      // Seen by the server before the next one dials.
      yield* Effect.repeat(server.requests, { until: (all) => all.length === 1 })
      const deaf = yield* dial(server.url)
      yield* Effect.callback<void>((resume) => {
        deaf.once("open", () => resume(Effect.void))
      })
      assert.strictEqual(hanging.readyState, hanging.CONNECTING)
      assert.deepStrictEqual((yield* server.snapshot).sockets.map((one) => one.registered), [false])
      const pong = Effect.callback<void>((resume) => {
        deaf.once("pong", () => resume(Effect.void))
      })
      deaf.ping()
      yield* pong
    }).pipe(Effect.scoped))

  it.live("take an upgrade that came while the server stalled, and hear what it says later", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.stall("100 millis")
      const socket = yield* Effect.flatMap(dial(server.url), opened)
      socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }))
      yield* Effect.repeat(server.snapshot, { until: ({ sockets }) => sockets[0]?.flags.includes("metadata") === true })
    }).pipe(Effect.scoped))

  it.live("end a connection that is kept alive, as a proxy does", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject(Fault.idleCut({ keepAliveMs: 50 }))
      const agent = new Agent({ keepAlive: true })
      yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
      const ended = Effect.callback<void>((resume) => {
        agent.once("free", (socket: Socket) => socket.once("close", () => resume(Effect.void)))
      })
      yield* Effect.all([ended, http(`${server.url}/prompt`, agent)], { concurrency: 2 })
    }).pipe(Effect.scoped))

  it.live("restart a process by what it ran, and listen again", () =>
    Effect.gen(function*() {
      const server = yield* LoopbackNode.make()
      yield* server.inject(Fault.on(Fault.path("/queue"), Fault.killBefore))
      assert.strictEqual((yield* Effect.flip(http(`${server.url}/queue`))).code, "ECONNRESET")
      assert.strictEqual((yield* Effect.flip(http(`${server.url}/prompt`))).code, "ECONNREFUSED")
      yield* server.restart
      assert.strictEqual((yield* http(`${server.url}/prompt`)).status, 200)
    }).pipe(Effect.scoped))
})
