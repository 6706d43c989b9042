// The control port of a fake process: a small HTTP server beside the fake one, which answers whatever that one does.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { FakeServer } from "../FakeServer.ts"
import * as control from "./control.ts"

const maxBodyBytes = 64 * 1024 * 1024

interface Answer {
  readonly status: number
  readonly body: unknown
  /** The process ends once this is said. */
  readonly ends?: boolean
}

const refused = (status: number, type: control.Refused["error"]["type"], message: string): Answer => ({
  status,
  body: { error: { type, message } }
})

const bodyOf = (request: IncomingMessage): Effect.Effect<Buffer | undefined> =>
  Effect.callback((resume) => {
    const chunks: Array<Buffer> = []
    let size = 0
    request.on("data", (chunk: Buffer) => {
      size += chunk.length
      if (size <= maxBodyBytes) chunks.push(chunk)
      else chunks.length = 0
    })
    request.on("end", () => resume(Effect.succeed(size <= maxBodyBytes ? Buffer.concat(chunks) : undefined)))
    request.on("error", () => resume(Effect.interrupt))
  })

const decodeCommand = Schema.decodeUnknownEffect(Schema.fromJsonString(control.Command))

class Control {
  readonly #server: FakeServer
  readonly #healing = new Map<number, Effect.Effect<void>>()
  #ids = 0

  constructor(server: FakeServer) {
    this.#server = server
  }

  /** Does what a command says, and gives the ids of new faults. */
  #act(command: control.Command): Effect.Effect<ReadonlyArray<number>> {
    const server = this.#server
    const none = (effect: Effect.Effect<void>): Effect.Effect<ReadonlyArray<number>> => Effect.as(effect, [])
    switch (command._tag) {
      case "Inject":
        return Effect.forEach(command.faults, (fault) =>
          Effect.map(server.inject(fault), ({ heal }) => {
            const id = ++this.#ids
            this.#healing.set(id, heal)
            return id
          }))
      case "Heal": {
        const { ids } = command
        if (ids === undefined) {
          this.#healing.clear()
          return none(server.heal)
        }
        return none(Effect.forEach(ids, (id) => {
          const heal = this.#healing.get(id) ?? Effect.void
          this.#healing.delete(id)
          return heal
        }, { discard: true }))
      }
      case "CutSockets":
        return none(server.cutSockets(command.which))
      case "DeafenSockets":
        return none(server.deafenSockets(command.which))
      case "HalfOpenSockets":
        return none(server.halfOpenSockets({ ...command.which, serverNoticesMs: command.serverNoticesMs }))
      case "SendFrames":
        return none(server.sendFrames(command.frames, command.which))
      case "Wipe":
        return none(server.wipe(command.folder))
      case "Stall":
        return none(server.stall(Duration.millis(command.ms)))
      case "KillWorker":
        return none(server.killWorker)
      case "Restart":
        return none(server.restart)
      case "Kill":
        // It happens after the answer, which is the last thing that this process says.
        return Effect.succeed([])
    }
  }

  readonly #look = <A>(schema: Schema.Codec<A, unknown>, value: Effect.Effect<A>): Effect.Effect<Answer> =>
    Effect.map(
      Effect.flatMap(value, (one) => Effect.orDie(Schema.encodeEffect(schema)(one))),
      (body) => ({ status: 200, body })
    )

  readonly answer = Effect.fnUntraced(function*(this: Control, request: IncomingMessage) {
    const body = yield* bodyOf(request)
    switch (`${request.method} ${request.url}`) {
      case "GET /ledger":
        return yield* this.#look(control.Ledger, this.#server.ledger)
      case "GET /requests":
        return yield* this.#look(control.Requests, this.#server.requests)
      case "GET /snapshot":
        return yield* this.#look(control.Look, this.#server.snapshot)
      case "POST /command": {
        // A page in a browser cannot send this type elsewhere without being allowed to.
        if (request.headers["content-type"] !== "application/json") {
          return refused(415, "NotJson", "commands are sent as application/json")
        }
        if (body === undefined) return refused(413, "TooLarge", `commands have at most ${maxBodyBytes} bytes`)
        const command = yield* Effect.result(Effect.catchDefect(
          decodeCommand(body.toString()),
          // Nested so deep that nothing can walk through it.
          (defect) => Effect.fail({ message: String(defect) })
        ))
        if (command._tag === "Failure") return refused(400, "BadCommand", command.failure.message)
        const ids = yield* this.#act(command.success)
        return { status: 200, body: { ids }, ends: command.success._tag === "Kill" }
      }
      default:
        return refused(404, "NotFound", "there are POST /command, GET /ledger, /requests and /snapshot")
    }
  })
}

/** Listens on a loopback port (0: a free one) until the scope closes, and gives it. Dies if it is taken. */
export const listen: (server: FakeServer, port: number) => Effect.Effect<number, never, Scope.Scope> = Effect
  .fnUntraced(function*(server, port) {
    const control = new Control(server)
    const run = yield* FiberSet.makeRuntime<never>()
    const http = yield* Effect.acquireRelease(
      Effect.callback<Server>((resume) => {
        const http = createServer((request, response) => {
          const answer = Effect.map(control.answer(request), ({ body, ends, status }: Answer) => {
            response.writeHead(status, { "content-type": "application/json" })
            response.end(JSON.stringify(body), () => {
              if (ends === true) run(server.kill)
            })
          })
          run(Effect.onError(answer, () => Effect.sync(() => response.destroy())))
        })
        http.once("error", (error) => resume(Effect.die(error)))
        http.listen(port, "127.0.0.1", () => resume(Effect.succeed(http)))
      }),
      (http) =>
        Effect.sync(() => {
          http.close()
          http.closeAllConnections()
        })
    )
    const address = http.address()
    return typeof address === "object" && address !== null ? address.port : 0
  })
