import { dial, type LinkError } from "@effect-comfyui/client/Connection"
import * as WebSocketNode from "@effect-comfyui/client/WebSocketNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Socket from "effect/socket/Socket"
import { createServer } from "node:net"
import { type WebSocket, WebSocketServer } from "ws"

/** A server that does to each socket what the test says. */
const serve = (onSocket: (socket: WebSocket) => void, options: { readonly refuse?: number } = {}) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: URL; readonly server: WebSocketServer }>((resume) => {
      const server = new WebSocketServer({
        port: 0,
        host: "127.0.0.1",
        verifyClient: (_, done) => done(options.refuse === undefined, options.refuse)
      })
      server.on("connection", onSocket)
      server.on("listening", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: new URL(`ws://127.0.0.1:${port}/ws`), server }))
      })
    }),
    ({ server }) =>
      Effect.callback<void>((resume) => {
        for (const client of server.clients) client.terminate()
        server.close(() => resume(Effect.void))
      })
  )

const open = (url: URL, more: { readonly maxBufferedBytes?: number; readonly header?: string } = {}) =>
  dial({
    url,
    headers: more.header === undefined ? {} : { authorization: Redacted.make(more.header) },
    openTimeout: "2 seconds",
    maxBufferedBytes: more.maxBufferedBytes ?? 1_000_000
  })

const failureOf = <A, R>(effect: Effect.Effect<A, LinkError, R>) =>
  Effect.map(Effect.flip(effect), (error) => error.reason)

describe("a connection", () => {
  it.live("gives frames in order, in batches, text and bytes, and what came before the end", () =>
    Effect.gen(function*() {
      const { url } = yield* serve((socket) => {
        for (let i = 0; i < 100; i++) socket.send(i % 2 === 0 ? `${i}` : new Uint8Array([i]))
        socket.close(1001, "bye")
      })
      const connection = yield* open(url)
      const got: Array<number> = []
      const reason = yield* failureOf(Effect.forever(Effect.map(connection.pull, (frames) => {
        for (const frame of frames) got.push(typeof frame === "string" ? Number(frame) : frame[0] ?? -1)
      })))
      assert.deepStrictEqual(got, Array.from({ length: 100 }, (_, i) => i))
      assert.deepStrictEqual(reason, { _tag: "SocketClosed", code: 1001, reason: "bye" })
    }).pipe(Effect.provide(WebSocketNode.layer())))

  it.live("of large states that wait only the last of each prompt is read; everything else comes", () =>
    Effect.gen(function*() {
      const state = (prompt: string, step: number) =>
        `{"type": "progress_state", "data": {"prompt_id": "${prompt}", "nodes": {"${step}": {"value": 1, "max": 1, ` +
        `"state": "finished", "node_id": "${"x".repeat(20_000)}", "prompt_id": "${prompt}"}}}}`
      const { url } = yield* serve((socket) => {
        for (let step = 0; step < 10; step++) {
          socket.send(state("a", step))
          socket.send(state("b", step))
          socket.send(`step ${step}`)
        }
        socket.send("x".repeat(20_000))
        socket.close(1000)
      })
      const connection = yield* open(url, { maxBufferedBytes: 10_000_000 })
      yield* Effect.sleep("300 millis")
      const got: Array<string> = []
      yield* failureOf(Effect.forever(Effect.map(connection.pull, (frames) => {
        for (const frame of frames) if (typeof frame === "string") got.push(frame)
      })))
      assert.deepStrictEqual(
        got.filter((frame) => frame.startsWith("step")),
        Array.from({ length: 10 }, (_, step) => `step ${step}`)
      )
      assert.strictEqual(got.at(-1), "x".repeat(20_000))
      for (const prompt of ["a", "b"]) {
        const states = got.filter((frame) => frame.includes(`"prompt_id": "${prompt}", "nodes"`))
        assert.strictEqual(states.at(-1), state(prompt, 9))
        assert.isBelow(states.length, 10)
      }
    }).pipe(Effect.provide(WebSocketNode.layer())))

  it.live("ends with Overflow rather than growing without bound", () =>
    Effect.gen(function*() {
      const { url } = yield* serve((socket) => {
        for (let i = 0; i < 20; i++) socket.send("x".repeat(1_000))
      })
      const connection = yield* open(url, { maxBufferedBytes: 5_000 })
      yield* Effect.sleep("300 millis")
      assert.deepStrictEqual(yield* failureOf(Effect.forever(connection.pull)), { _tag: "Overflow", limitBytes: 5_000 })
    }).pipe(Effect.provide(WebSocketNode.layer())))

  it.live("a frame beyond the limit ends it", () =>
    Effect.gen(function*() {
      const { url } = yield* serve((socket) => socket.send(new Uint8Array(10_000)))
      const connection = yield* open(url)
      const reason = yield* failureOf(Effect.forever(connection.pull))
      assert.deepInclude(reason, { _tag: "SocketClosed" })
    }).pipe(Effect.provide(WebSocketNode.layer({ maxFrameBytes: 1_000 }))))

  it.live("a refused upgrade keeps its status; nobody there and a silent port have their own reasons", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(() => {}, { refuse: 403 })
      assert.deepInclude(yield* failureOf(open(url)), { _tag: "UpgradeRefused", status: 403 })
      assert.deepInclude(yield* failureOf(open(new URL("ws://127.0.0.1:1/ws"))), { _tag: "OpenFailed" })
      const silent = yield* Effect.acquireRelease(
        Effect.callback<{ readonly port: number; readonly close: Effect.Effect<void> }>((resume) => {
          const sockets = new Set<{ destroy: () => void }>()
          const server = createServer((socket) => void sockets.add(socket.on("error", () => {})))
          server.listen(0, "127.0.0.1", () => {
            const address = server.address()
            const close = Effect.callback<void>((done) => {
              for (const socket of sockets) socket.destroy()
              server.close(() => done(Effect.void))
            })
            resume(Effect.succeed({
              port: typeof address === "object" && address !== null ? address.port : 0,
              close
            }))
          })
        }),
        ({ close }) => close
      )
      assert.deepInclude(yield* failureOf(open(new URL(`ws://127.0.0.1:${silent.port}/ws`))), { _tag: "OpenTimeout" })
    }).pipe(Effect.provide(WebSocketNode.layer())))

  it.live("pings are answered on ws; a drop ends everything at once", () =>
    Effect.gen(function*() {
      const { url } = yield* serve((socket) => socket.send("hello"))
      const connection = yield* open(url, { header: "Bearer x" })
      yield* Option.getOrThrow(connection.ping)
      yield* connection.drop
      assert.deepStrictEqual(yield* failureOf(connection.send("late")), { _tag: "Dropped" })
      assert.deepStrictEqual(yield* failureOf(Effect.forever(connection.pull)), { _tag: "Dropped" })
    }).pipe(Effect.provide(WebSocketNode.layer())))

  it.live("the global WebSocket has no pings", () =>
    Effect.gen(function*() {
      const { url } = yield* serve((socket) => socket.send("hello"))
      const connection = yield* open(url)
      assert.isTrue(Option.isNone(connection.ping))
      assert.deepStrictEqual(yield* connection.pull, ["hello"])
    }).pipe(Effect.provide(Socket.layerWebSocketConstructorGlobal)))
})
