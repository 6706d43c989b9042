import * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import type { Reason } from "@effect-comfyui/runtime/ConfigError"
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"

const server = { url: "http://gpu-1:8188" }

const withVariables = (variables: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: variables })))

const problems = (input: unknown): Effect.Effect<ReadonlyArray<Reason>> =>
  Effect.map(Effect.orDie(Effect.flip(ComfyConfig.decode(input))), ({ reasons }) => reasons)

describe("a configuration", () => {
  it.effect("tells all of its problems at once, by path", () =>
    Effect.gen(function*() {
      const found = yield* problems({
        servers: [
          { ur: "http://gpu-1:8188", weigth: 1, vram: "24 GBs" },
          { ...server, tags: ["a", 5], availableUntil: "2027-01-31T18:00:00" }
        ],
        timeouts: { nodeIdle: 30, start: "30 secs", queue: "-3 seconds", probe: "15 seconds" },
        routing: { policy: "fastest" },
        failovr: {}
      })
      const path = ({ _tag, path }: Reason) => `${_tag} ${path}`
      assert.deepStrictEqual(found.map(path).toSorted(), [
        "Missing servers.0.url",
        "UnknownKey failovr",
        "UnknownKey servers.0.ur",
        "UnknownKey servers.0.weigth",
        "WrongValue routing.policy",
        "WrongValue servers.0.vram",
        "WrongValue servers.1.availableUntil",
        "WrongValue servers.1.tags.1",
        "WrongValue timeouts.nodeIdle",
        "WrongValue timeouts.queue",
        "WrongValue timeouts.start"
      ])
      const texts = (yield* Effect.flip(ComfyConfig.decode({ servers: [server], timeouts: { start: "30 secs" } })))
        .message
      assert.strictEqual(texts, "timeouts.start: \"30 secs\" is not a time with its unit, such as \"30 seconds\"")
    }))

  it.effect("names the nearest valid key, and all where none is near", () =>
    Effect.gen(function*() {
      const [one, ...more] = yield* problems({ servers: [server], timeouts: { "node-idle": "5 minutes" } })
      assert.deepStrictEqual(more, [])
      assert.isTrue(one?._tag === "UnknownKey" && one.nearest === "nodeIdle")
      const [other] = yield* problems({ servers: [server], xyzzy: 1 })
      assert.isTrue(other?._tag === "UnknownKey" && other.nearest === null && other.valid.includes("timeouts"))
    }))

  it.effect("never shows a secret, nor an address that is wrong", () =>
    Effect.gen(function*() {
      const bad = [
        { servers: [{ url: "http://user:hunter2@gpu-1?x=1" }] },
        { servers: "http://user:hunter2@gpu-1" },
        { servers: ["http://user:hunter2@gpu-1"] },
        { servers: [{ ...server, credentials: "hunter2" }] },
        { servers: [{ ...server, credentials: { bearer: ["hunter2"] } }] },
        { servers: [{ ...server, credentials: { password: "hunter2" } }] },
        { servers: [{ ...server, credentials: { headers: "hunter2" } }] },
        {
          servers: [{ ...server, credentials: { bearer: Redacted.make("hunter2"), headers: { a: { x: "hunter2" } } } }]
        }
      ]
      for (const input of bad) {
        const error = yield* Effect.flip(ComfyConfig.decode(input))
        assert.notInclude(`${error.message} ${JSON.stringify(error)} ${String(error.stack)}`, "hunter2")
      }
      const good = yield* ComfyConfig.decode({ servers: [{ ...server, comfyOrgApiKey: "hunter2" }] })
      assert.notInclude(JSON.stringify(good), "hunter2")
    }))

  it.effect("reads secrets from variables, from texts and as they are, and says which variable is not set", () =>
    Effect.gen(function*() {
      const settings = yield* ComfyConfig.decode({
        servers: [{
          ...server,
          credentials: {
            bearer: { env: "GPU_TOKEN" },
            headers: { "x-one": "two", "x-three": Redacted.make("four") }
          }
        }]
      })
      const { bearer, headers } = settings.servers?.[0]?.credentials ?? {}
      assert.strictEqual(bearer && Redacted.value(bearer), "seven")
      assert.deepStrictEqual(Object.values(headers ?? {}).map(Redacted.value), ["two", "four"])
      const [reason] = yield* problems({ servers: [{ ...server, comfyOrgApiKey: { env: "NOWHERE" } }] })
      assert.isTrue(reason?._tag === "WrongValue" && reason.problem === "the variable NOWHERE is not set")
      assert.strictEqual(reason?.path, "servers.0.comfyOrgApiKey")
    }).pipe(withVariables({ GPU_TOKEN: "seven" })))

  it.effect("refuses two servers of one name, and half of a name and password", () =>
    Effect.gen(function*() {
      const found = yield* problems({ servers: [server, { ...server, tags: ["x"] }] })
      assert.deepStrictEqual(found.map(({ path }) => path), ["servers.1.url"])
      const [half] = yield* problems({ servers: [{ ...server, credentials: { username: "me" } }] })
      assert.deepInclude(half, { _tag: "Missing", path: "servers.0.credentials.password" })
    }))

  it.effect("comes from variables of the environment", () =>
    Effect.gen(function*() {
      const { breakers, collect, discovery, profiling, servers = [], timeouts } = yield* ComfyConfig.fromProvider
      assert.deepStrictEqual(servers.map(({ url }) => url), ["http://gpu-1:8188", "http://gpu-2:8188"])
      assert.strictEqual(servers[1]?.weight, 2)
      const bearer = servers[0]?.credentials?.bearer
      assert.strictEqual(bearer && Redacted.value(bearer), "token")
      assert.strictEqual(timeouts?.nodeIdle && Duration.toMinutes(timeouts.nodeIdle), 5)
      assert.deepStrictEqual(profiling, { jobs: false })
      assert.deepStrictEqual(collect, { directory: "./out" })
      assert.strictEqual(breakers?.keyWindow && Duration.toMinutes(breakers.keyWindow), 20)
      assert.deepInclude(breakers, { keyFailures: 4, ejectShare: 0.25 })
      assert.strictEqual(discovery?.file, "./servers.json")
      assert.deepStrictEqual(discovery?.dns, {
        service: "_comfyui._tcp.example.org",
        scheme: "https",
        nameservers: ["10.0.0.2:53"]
      })
    }).pipe(withVariables({
      COMFY_SERVERS_0_URL: "http://gpu-1:8188",
      COMFY_SERVERS_0_CREDENTIALS_BEARER: "token",
      COMFY_SERVERS_1_URL: "http://gpu-2:8188",
      COMFY_SERVERS_1_WEIGHT: "2",
      COMFY_TIMEOUTS_NODE_IDLE: "5 minutes",
      COMFY_PROFILING_JOBS: "false",
      COMFY_COLLECT_DIRECTORY: "./out",
      COMFY_BREAKERS_KEY_FAILURES: "4",
      COMFY_BREAKERS_KEY_WINDOW: "20 minutes",
      COMFY_BREAKERS_EJECT_SHARE: "0.25",
      COMFY_DISCOVERY_FILE: "./servers.json",
      COMFY_DISCOVERY_DNS_SERVICE: "_comfyui._tcp.example.org",
      COMFY_DISCOVERY_DNS_SCHEME: "https",
      COMFY_DISCOVERY_DNS_NAMESERVERS_0: "10.0.0.2:53"
    })))

  it.effect("says by which path a variable, or a value of a provider, is wrong", () =>
    Effect.gen(function*() {
      const paths = Effect.map(Effect.flip(ComfyConfig.fromProvider), ({ reasons }) => reasons.map(({ path }) => path))
      const environment = yield* paths.pipe(
        withVariables({ COMFY_SERVERS_0_URL: "http://gpu-1:8188", COMFY_TIMEOUTS_START: "30" })
      )
      assert.deepStrictEqual(environment, ["timeouts.start"])
      const object = ConfigProvider.fromUnknown({ comfy: { servers: [server], queue: { maxQueued: -1 } } })
      assert.deepStrictEqual(yield* paths.pipe(Effect.provide(ConfigProvider.layer(object))), ["queue.maxQueued"])
      assert.deepStrictEqual(yield* paths.pipe(withVariables({})), [""])
      const jobs = withVariables({ COMFY_SERVERS_0_URL: "http://gpu-1:8188", COMFY_PROFILING_JOBS: "maybe" })
      assert.deepStrictEqual(yield* jobs(paths), ["profiling.jobs"])
    }))

  it.effect("needs servers, or a place to find them", () =>
    Effect.gen(function*() {
      const message = (input: unknown) => Effect.map(Effect.flip(ComfyConfig.decode(input)), ({ message }) => message)
      const neither = "the configuration: has neither servers nor discovery, one of which it needs"
      assert.strictEqual(yield* message({}), neither)
      assert.strictEqual(yield* message({ timeouts: {} }), neither)
      const unset = yield* Effect.flip(ComfyConfig.fromProvider).pipe(withVariables({}))
      assert.strictEqual(unset.message, neither)
      const other = yield* Effect.flip(ComfyConfig.fromProvider)
        .pipe(withVariables({ COMFY_COLLECT_DIRECTORY: "./out" }))
      assert.strictEqual(other.message, neither)
      assert.strictEqual(
        yield* message({ discovery: {} }),
        "discovery: has neither file nor dns, one of which it needs"
      )
      assert.deepStrictEqual(
        yield* ComfyConfig.decode({ discovery: { file: "./servers.json" } }),
        { discovery: { file: "./servers.json" } }
      )
      assert.deepStrictEqual(yield* ComfyConfig.decode({ servers: [] }), { servers: [] })
    }))

  it.effect("says of each new key what is wrong with it", () =>
    Effect.gen(function*() {
      const of = (more: object) =>
        Effect.map(Effect.flip(ComfyConfig.decode({ servers: [server], ...more })), ({ message }) => message)
      assert.strictEqual(
        yield* of({ profiling: { job: true } }),
        "profiling.job: no such key; jobs is meant?"
      )
      assert.strictEqual(
        yield* of({ profiling: { jobs: "yes" } }),
        "profiling.jobs: \"yes\" is not true or false, such as true"
      )
      assert.strictEqual(
        yield* of({ profiling: { jobs: false, every: "1 hour" } }),
        "profiling.jobs: false leaves nothing for every to tell, such as true"
      )
      assert.strictEqual(
        yield* of({ collect: {} }),
        "collect.directory: is missing, such as \"./out\""
      )
      assert.strictEqual(
        yield* of({ collect: { dir: "x" } }),
        "collect.dir: no such key; there are directory; collect.directory: is missing, such as \"./out\""
      )
      assert.strictEqual(
        yield* of({ breakers: { open: 60 } }),
        "breakers.open: 60 is not a finite time with its unit, such as \"30 seconds\""
      )
      assert.strictEqual(
        yield* of({ breakers: { open: "Infinity" } }),
        "breakers.open: \"Infinity\" is not a finite time with its unit, such as \"30 seconds\""
      )
      assert.strictEqual(
        yield* of({ breakers: { keyFailures: 9 } }),
        "breakers.keyFailures: 9 is not a whole number from 1 to 8, such as 3"
      )
      assert.strictEqual(
        yield* of({ breakers: { ejectShare: 50 } }),
        "breakers.ejectShare: 50 is not a share from 0 to 1, such as 0.5"
      )
      assert.strictEqual(
        yield* of({ breakers: { maxOpn: "1 hour" } }),
        "breakers.maxOpn: no such key; maxOpen is meant?"
      )
      assert.strictEqual(
        yield* of({ discovery: { dns: { servce: "a" } } }),
        "discovery.dns.servce: no such key; service is meant?; " +
          "discovery.dns.service: is missing, such as \"_comfyui._tcp.example.org\""
      )
      assert.strictEqual(
        yield* of({ discovery: { file: "a", every: "30 secs" } }),
        "discovery.every: \"30 secs\" is not a finite time with its unit, such as \"30 seconds\""
      )
      assert.strictEqual(
        yield* of({ servers: [{ ...server, id: "gpu" }, { url: "http://gpu-2:8188", id: "gpu" }] }),
        "servers.1.id: another server has this name, such as \"gpu-1\""
      )
    }))
})
