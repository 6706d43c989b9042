import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as PlatformNode from "@effect-comfyui/client/PlatformNode"
import type { Tls } from "@effect-comfyui/client/TlsNode"
import * as LoopbackNode from "@effect-comfyui/testing/LoopbackNode"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { readFileSync } from "node:fs"
import { connect } from "node:net"
import { createServer, type TLSSocket } from "node:tls"
import { connected } from "./support/client.ts"
import { picture } from "./support/workflows.ts"

// A throw-away authority made for this test, and what it signed.
const pem = (name: string): string => readFileSync(`${import.meta.dirname}/fixtures/tls/${name}`, "utf8")

/** A gate before a fake server: speaks TLS, and lets in who shows a certificate of our authority. */
const gated = Effect.gen(function*() {
  const { port } = yield* LoopbackNode.make()
  const sockets = new Set<TLSSocket>()
  const gate = createServer(
    {
      key: pem("server.key"),
      cert: pem("server.pem"),
      ca: pem("ca.pem"),
      requestCert: true,
      rejectUnauthorized: true
    },
    (socket) => {
      sockets.add(socket)
      const inner = connect(port, "127.0.0.1")
      socket.pipe(inner)
      inner.pipe(socket)
      socket.on("error", () => inner.destroy())
      inner.on("error", () => socket.destroy())
      socket.on("close", () => inner.destroy())
    }
  )
  return yield* Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      gate.listen(0, "127.0.0.1", () => {
        const address = gate.address()
        const outer = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed(`https://127.0.0.1:${outer}`))
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        for (const socket of sockets) socket.destroy()
        gate.close(() => resume(Effect.void))
      })
  )
})

const trusted: Tls = { ca: pem("ca.pem"), cert: pem("client.pem"), key: Redacted.make(pem("client.key")) }

describe("TLS", () => {
  it.live("own authority and client certificate, on HTTP and on the socket", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.make({ url: yield* gated })
      yield* connected(client)
      const completed = yield* client.result(picture())
      assert.strictEqual(completed.via, "socket")
    }).pipe(Effect.provide(PlatformNode.layer({ tls: trusted }))))

  it.live("an authority that is not known is Unreachable, and says so", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.make({ url: yield* gated, socket: "none" })
      const { reason } = yield* Effect.flip(client.probe)
      assert.deepInclude(reason, { _tag: "Unreachable", by: "network" })
      assert.match(reason._tag === "Unreachable" ? reason.cause : "", /CERT|SIGNATURE|ISSUER/)
    }).pipe(Effect.provide(PlatformNode.layer())))
})
