import * as ChaosProxyNode from "@effect-comfyui/testing/ChaosProxyNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { connect, createServer, type Socket } from "node:net"

/** A server of nothing in particular: answers every line with itself, then says what it was asked. */
const echo: Effect.Effect<
  { readonly target: string; readonly asked: Array<string>; readonly sockets: Set<Socket> },
  never,
  Scope.Scope
> = Effect.gen(function*() {
  const asked: Array<string> = []
  const sockets = new Set<Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const made = createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket)
        socket.on("close", () => sockets.delete(socket))
        socket.on("error", () => socket.destroy())
        socket.on("data", (bytes) => {
          asked.push(String(bytes))
          socket.write(bytes)
        })
        socket.on("end", () => socket.end("bye"))
      })
      made.listen(0, "127.0.0.1", () => resume(Effect.succeed(made)))
    }),
    (made) =>
      Effect.sync(() => {
        made.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const address = server.address()
  return { target: `127.0.0.1:${typeof address === "object" ? address?.port : 0}`, asked, sockets }
})

class Client {
  readonly socket: Socket
  text = ""
  pieces = 0
  /** "end" after FIN, the error's code after RST or refusal. */
  end: string | undefined
  readonly #waiting = new Set<() => void>()

  constructor(port: number) {
    this.socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    this.socket.setNoDelay(true)
    this.socket.on("data", (bytes) => {
      this.text += String(bytes)
      this.pieces++
      this.#look()
    })
    this.socket.on("end", () => this.#ended("end"))
    this.socket.on("error", (error) => this.#ended("code" in error ? String(error.code) : error.message))
  }

  #ended(how: string): void {
    this.end ??= how
    this.#look()
  }

  #look(): void {
    for (const look of [...this.#waiting]) look()
  }

  until(test: (client: Client) => boolean): Effect.Effect<this> {
    return Effect.callback((resume) => {
      const look = (): void => {
        if (!test(this)) return
        this.#waiting.delete(look)
        resume(Effect.succeed(this))
      }
      this.#waiting.add(look)
      look()
    })
  }

  heard(text: string): Effect.Effect<this> {
    return this.until((client) => client.text === text)
  }

  readonly ended = Effect.suspend(() => Effect.map(this.until((client) => client.end !== undefined), ({ end }) => end))
}

const dial = (proxy: ChaosProxyNode.ChaosProxy): Effect.Effect<Client, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Client(proxy.port)),
    (client) => Effect.sync(() => client.socket.destroy())
  )

const world = (options: Partial<ChaosProxyNode.Options> = {}) =>
  Effect.gen(function*() {
    const server = yield* echo
    const proxy = yield* ChaosProxyNode.make({ ...options, target: server.target })
    return { server, proxy, dial: dial(proxy) }
  })

/** A connection over which something went both ways. */
const talking = (proxy: ChaosProxyNode.ChaosProxy, word = "hello\r\n") =>
  Effect.gen(function*() {
    const client = yield* dial(proxy)
    client.socket.write(word)
    return yield* client.heard(word)
  })

describe("ChaosProxyNode", () => {
  it.live("passes everything on, ends too, and lists what is open", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world()
      const client = yield* talking(proxy, "GET / HTTP/1.1\r\n")
      assert.deepStrictEqual(yield* proxy.connections, [
        { id: 1, bytesFromClient: 16, bytesFromServer: 16, firstLine: "GET / HTTP/1.1", blackHole: false }
      ])
      client.socket.end()
      assert.strictEqual(yield* client.ended, "end")
      assert.isTrue(client.text.endsWith("bye"))
      assert.strictEqual(yield* proxy.accepted, 1)
    }).pipe(Effect.scoped))

  it.live("changes no byte, however late, narrow and sliced the line is", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world({
        toServer: { latencyMs: 5, jitterMs: 5, sliceBytes: 7 },
        toClient: { latencyMs: 3, jitterMs: 3, bytesPerSecond: 2_000_000, sliceBytes: 1_000, closeMs: 5 },
        bufferBytes: 4_096
      })
      const client = yield* dial(proxy)
      const text = Array.from({ length: 4_000 }, (_, index) => `${index},`).join("")
      client.socket.write(text.slice(0, 10_000))
      client.socket.end(text.slice(10_000))
      assert.strictEqual(yield* client.ended, "end")
      assert.strictEqual(client.text, `${text}bye`)
    }).pipe(Effect.scoped))

  it.live("slices into single bytes", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* world({ toServer: { sliceBytes: 1, sliceMs: 5 } })
      yield* talking(proxy, "abcdef")
      assert.isAbove(server.asked.length, 3)
    }).pipe(Effect.scoped))

  it.live("stops a direction after so many bytes, and the connection stays", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* world({ toClient: { limitBytes: 3 } })
      const client = yield* dial(proxy)
      client.socket.write("abcdef")
      yield* client.heard("abc")
      client.socket.end("ghi")
      yield* proxy.awaitConnection((connection) => connection.bytesFromServer === 12)
      assert.deepStrictEqual([client.text, client.end, server.asked.join("")], ["abc", undefined, "abcdefghi"])
    }).pipe(Effect.scoped))

  it.live("cuts with FIN, resets with RST: one, or all", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world()
      const [one, two, three] = [yield* talking(proxy), yield* talking(proxy), yield* talking(proxy)]
      yield* proxy.cut(1)
      assert.strictEqual(yield* one.ended, "end")
      yield* proxy.reset((connection) => connection.id === 2)
      assert.strictEqual(yield* two.ended, "ECONNRESET")
      assert.deepStrictEqual((yield* proxy.connections).map(({ id }) => id), [3])
      yield* proxy.reset()
      assert.strictEqual(yield* three.ended, "ECONNRESET")
      assert.deepStrictEqual(yield* proxy.connections, [])
    }).pipe(Effect.scoped))

  it.live("makes a black hole of one connection; the others go on", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* world()
      const lost = yield* talking(proxy)
      const well = yield* talking(proxy)
      yield* proxy.blackHole(1)
      const asked = server.asked.length
      lost.socket.write("anybody?")
      yield* proxy.awaitConnection((connection) => connection.id === 1 && connection.bytesFromClient === 15)
      well.socket.write("here")
      yield* well.heard("hello\r\nhere")
      assert.deepStrictEqual(server.asked.slice(asked), ["here"])
      assert.deepStrictEqual([lost.text, lost.end], ["hello\r\n", undefined])
      // Neither side learns of the end of the other.
      lost.socket.destroy()
      well.socket.write("!")
      yield* well.heard("hello\r\nhere!")
      assert.strictEqual(server.sockets.size, 2)
      yield* proxy.heal
      yield* proxy.awaitConnection(({ id }) => id === 2)
      assert.deepStrictEqual((yield* proxy.connections).map(({ id }) => id), [2])
    }).pipe(Effect.scoped))

  it.live("accepts and lets nothing pass, until healed", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* world()
      const { heal } = yield* proxy.blackHoleNew
      const client = yield* dial(proxy)
      client.socket.write("hello?")
      yield* proxy.awaitConnection((connection) => connection.bytesFromClient === 6)
      yield* heal
      yield* heal
      yield* talking(proxy)
      assert.deepStrictEqual([server.asked, client.text], [["hello\r\n"], ""])
    }).pipe(Effect.scoped))

  it.live("loses an answer: what was asked is done, and the connection resets", () =>
    Effect.gen(function*() {
      const { proxy, server } = yield* world()
      yield* proxy.loseAnswers({ match: (asked) => asked.startsWith("POST") })
      const other = yield* talking(proxy)
      const client = yield* dial(proxy)
      client.socket.write("POST /prompt\r\n")
      assert.strictEqual(yield* client.ended, "ECONNRESET")
      assert.deepStrictEqual([client.text, server.asked], ["", ["hello\r\n", "POST /prompt\r\n"]])
      assert.isUndefined(other.end)
      yield* talking(proxy, "POST again")
    }).pipe(Effect.scoped))

  it.live("refuses, and accepts again on the same port", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world()
      const before = yield* talking(proxy)
      yield* proxy.refuse
      assert.strictEqual(yield* (yield* dial(proxy)).ended, "ECONNREFUSED")
      before.socket.write("still")
      yield* before.heard("hello\r\nstill")
      yield* proxy.accept
      yield* talking(proxy)
    }).pipe(Effect.scoped))

  it.live("changes while it runs", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world()
      const client = yield* talking(proxy)
      yield* proxy.set({ limitBytes: 0 }, "toClient")
      client.socket.write("lost")
      yield* proxy.awaitConnection((connection) => connection.bytesFromServer === 11)
      yield* proxy.set({})
      client.socket.write("back")
      yield* client.heard("hello\r\nback")
    }).pipe(Effect.scoped))

  it.live("holds a sender back when its buffer is full", () =>
    Effect.gen(function*() {
      const { proxy } = yield* world({ toServer: { latencyMs: 3_600_000 }, bufferBytes: 1_024 })
      const client = yield* dial(proxy)
      const flood = Buffer.alloc(64 * 1024 * 1024)
      const flushed = Effect.callback<"flushed">((resume) => {
        client.socket.write(flood, () => resume(Effect.succeed("flushed")))
      })
      const writing = yield* Effect.forkChild(flushed)
      const { id } = yield* proxy.awaitConnection((connection) => connection.bytesFromClient > 0)
      // All that another connection can say in between does not move this one on.
      yield* proxy.set({})
      for (let i = 0; i < 20; i++) yield* talking(proxy)
      const held = (yield* proxy.connections).find((connection) => connection.id === id)
      assert.isBelow(held?.bytesFromClient ?? Number.NaN, 1_024 * 1_024)
      assert.isUndefined(writing.pollUnsafe())
      yield* Fiber.interrupt(writing)
    }).pipe(Effect.scoped))

  it.live("resets a client whose server is not there", () =>
    Effect.gen(function*() {
      const proxy = yield* Effect.scoped(world()).pipe(
        Effect.flatMap(({ server }) => ChaosProxyNode.make({ target: `http://${server.target}` }))
      )
      const client = yield* dial(proxy)
      assert.strictEqual(yield* client.ended, "ECONNRESET")
    }).pipe(Effect.scoped))

  it.live("closes everything with its scope", () =>
    Effect.gen(function*() {
      const server = yield* echo
      const [client, port] = yield* Effect.scoped(Effect.gen(function*() {
        const proxy = yield* ChaosProxyNode.make({ target: server.target })
        const made = new Client(proxy.port)
        made.socket.write("a")
        yield* made.heard("a")
        yield* proxy.blackHole()
        return [made, proxy.port] as const
      }))
      assert.strictEqual(yield* client.ended, "ECONNRESET")
      assert.strictEqual(yield* new Client(port).ended, "ECONNREFUSED")
    }).pipe(Effect.scoped))
})
