import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import * as Credentials from "@effect-comfyui/client/Credentials"
import { FakeServers, Fault, TestNodes } from "@effect-comfyui/testing"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { connect, connected, ending, fake, origin, theServer, watchRun } from "./support/client.ts"
import { picture, raise, sleep } from "./support/workflows.ts"

const secret = (text: string) => Redacted.make(text)

const withoutAuth = (header: string, value: () => string) => (request: Fault.RequestInfo) =>
  request.headers[header] !== value()

describe("credentials", () => {
  it.effect("of every kind go with every request and every dial", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({
        credentials: Credentials.all(
          Credentials.bearer(secret("tok")),
          Credentials.header("X-Door", secret("door")),
          Credentials.query("key", secret("a b&c")),
          Credentials.cookie("session", secret("s1"))
        )
      })
      yield* watchRun(client, picture())
      yield* TestClock.adjust("1 second")
      const log = yield* server.requests
      assert.isTrue(log.some((request) => request.target.startsWith("/ws")))
      for (const request of log) {
        assert.deepInclude(request.headers, { authorization: "Bearer tok", "x-door": "door", cookie: "session=s1" })
        assert.strictEqual(new URL(request.target, origin).searchParams.get("key"), "a b&c")
      }
    }).pipe(Effect.provide(fake())))

  it.effect("in the address become basic authentication", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      yield* connect({ url: "http://me:p%40ss@gpu-1:8188" })
      const [dial] = yield* server.requests
      assert.strictEqual(dial?.headers["authorization"], `Basic ${btoa("me:p@ss")}`)
    }).pipe(Effect.provide(fake())))

  it.effect("that expire in a run are asked for once more", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      let valid = "t1"
      let held = "t1"
      let asks = 0
      const client = yield* connect({
        credentials: Effect.sync(() => {
          asks++
          const given = held
          // The cache behind it notices the expiry when it is asked, and has the new one for the next.
          held = valid
          return Credentials.bearer(secret(given))
        })
      })
      const run = yield* watchRun(client, sleep(60))
      yield* TestClock.adjust("1 second")
      valid = "t2"
      yield* server.inject(
        Fault.on(withoutAuth("authorization", () => `Bearer ${valid}`), Fault.respond(Fault.unauthorized))
      )
      yield* server.cutSockets()
      const before = asks
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(ending(run.events), "Completed via http")
      assert.isAbove(asks, before)
    }).pipe(Effect.provide(fake())))

  it.effect("that are refused twice: Unauthorized, with nothing resent", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({ credentials: Effect.succeed(Credentials.bearer(secret("old"))) })
      yield* server.inject(Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.unauthorized)))
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Failed(Unauthorized) via http")
      const posts = (yield* server.requests).filter((request) => request.target === "/prompt")
      assert.deepStrictEqual(posts.map((request) => request.outcome), [401, 401])
    }).pipe(Effect.provide(fake())))

  it.effect("never follow a redirect to another origin", () =>
    Effect.gen(function*() {
      const servers = yield* FakeServers.FakeServers
      const client = yield* connect({ credentials: Credentials.bearer(secret("tok")) })
      yield* servers.get(origin).inject(
        Fault.on(Fault.request("POST", "/prompt"), Fault.respond(Fault.loginRedirect("http://elsewhere:80/login")))
      )
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual(ending(run.events), "Failed(Unreachable) via http")
      assert.deepStrictEqual(yield* servers.get("http://elsewhere:80").requests, [])
    }).pipe(Effect.provide(FakeServers.layer({ [origin]: {}, "http://elsewhere:80": {} }))))

  it.effect("cookies of a balancer are kept and come back, on the socket too", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      yield* server.inject(Fault.on(
        Fault.any,
        Fault.editAnswer((answer) => ({ ...answer, headers: { ...answer.headers, "set-cookie": "route=a; Path=/" } }))
      ))
      const client = yield* connect()
      yield* client.probe
      yield* client.probe
      yield* server.cutSockets()
      yield* TestClock.adjust("5 seconds")
      const log = yield* server.requests
      assert.deepStrictEqual(
        log.map((request) => [request.target.slice(0, 7), request.headers["cookie"]]),
        [["/ws?cli", undefined], ["/prompt", undefined], ["/prompt", "route=a"], ["/ws?cli", "route=a"]]
      )
    }).pipe(Effect.provide(fake())))

  it.effect("come from configuration", () =>
    Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* ComfyClient.ComfyClient
      yield* connected(client)
      assert.strictEqual((yield* server.requests)[0]?.headers["authorization"], "Bearer from-config")
    }).pipe(Effect.provide(
      ComfyClient.layerConfig().pipe(
        Layer.provideMerge(fake()),
        Layer.provide(
          ConfigProvider.layer(ConfigProvider.fromUnknown({ COMFY_URL: origin, COMFY_TOKEN: "from-config" }))
        )
      )
    )))

  it.effect("a socket that cannot send headers says so, and the client polls", () =>
    Effect.gen(function*() {
      const client = yield* ComfyClient.make({ url: origin, credentials: Credentials.bearer(secret("tok")) })
      const run = yield* watchRun(client, picture())
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(ending(run.events), "Completed via http")
      const state = yield* client.link.get
      assert.isTrue(state._tag === "Down" && state.error.reason._tag === "HeadersUnsupported", state._tag)
    }).pipe(Effect.provide(fake({ sockets: "browser" }))))
})

describe("secrets", () => {
  const secrets = ["s3cret-basic", "s3cret-header", "s3cret-query", "s3cret-cookie", "s3cret-key"]

  it.effect("are in no event, error, log, span or JSON, whatever goes wrong", () => {
    const seen: Array<string> = []
    const show = (value: unknown) => {
      seen.push(String(value), inspect(value, { depth: 12 }), JSON.stringify(value) ?? "")
    }
    const logger = Logger.make((options) => show([options.message, options.cause, Cause.pretty(options.cause)]))
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        seen.push(`span ${options.name}`)
        const { attribute, end } = span
        span.attribute = (key, value) => {
          show([key, value])
          attribute.call(span, key, value)
        }
        span.end = (time, exit) => {
          show(exit)
          if (Exit.isFailure(exit)) show(Cause.pretty(exit.cause))
          end.call(span, time, exit)
        }
        return span
      }
    })
    return Effect.gen(function*() {
      const server = yield* theServer
      const client = yield* connect({
        url: "http://me:s3cret-basic@gpu-1:8188",
        comfyOrgApiKey: secret("s3cret-key"),
        credentials: Credentials.all(
          Credentials.header("x-door", secret("s3cret-header")),
          Credentials.query("token", secret("s3cret-query")),
          Credentials.cookie("session", secret("s3cret-cookie"))
        )
      })
      show(client)
      const everything = Effect.gen(function*() {
        for (const workflow of [picture(), raise(), sleep(2)]) {
          const run = yield* watchRun(client, workflow)
          yield* TestClock.adjust("20 minutes")
          assert.notMatch(ending(run.events), /^open/)
          for (const event of run.events) show(event)
        }
        const told = <A, E>(call: Effect.Effect<A, E>) =>
          Effect.matchEffect(call, {
            onFailure: (error) => Effect.sync(() => show(error)),
            onSuccess: (value) => Effect.sync(() => show(value))
          })
        const upload = client.files.upload({ content: new Uint8Array(3), filename: "a" })
        yield* Effect.forkChild(Effect.all([told(client.probe), told(client.capabilities), told(upload)]), {
          startImmediately: true
        })
        yield* TestClock.adjust("20 minutes")
        show(yield* client.link.get)
      })
      yield* everything
      const faults = [
        Fault.respond(Fault.unauthorized),
        Fault.respond(Fault.badGateway),
        Fault.respond(Fault.loginRedirect("http://login.test/?next=/prompt")),
        Fault.dropRequest,
        Fault.dropAnswer,
        Fault.cutBody(3),
        Fault.respond({ status: 200, body: "not json" }),
        Fault.hang({ done: false })
      ]
      for (const action of faults) {
        yield* server.inject(Fault.on(Fault.any, action))
        yield* server.inject(Fault.refuseUpgrades({ status: 401 }))
        yield* server.cutSockets()
        yield* everything
        yield* server.heal
        yield* TestClock.adjust("10 minutes")
      }
      yield* Effect.logInfo("the end")
      const text = seen.join("\n")
      assert.include(text, "span comfy.run")
      assert.include(text, "the end")
      for (const one of secrets) assert.notInclude(text, one)
      assert.notInclude(text, btoa("me:s3cret-basic"))
    }).pipe(
      Effect.provide([fake({ nodes: TestNodes.nodes }), Logger.layer([logger])]),
      Effect.provideService(References.MinimumLogLevel, "All"),
      Effect.provideService(Tracer.Tracer, tracer)
    )
  })
})
