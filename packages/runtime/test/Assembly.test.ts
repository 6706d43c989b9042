import * as Assembly from "@effect-comfyui/runtime/Assembly"
import * as ComfyConfig from "@effect-comfyui/runtime/ComfyConfig"
import * as ComfyQueue from "@effect-comfyui/runtime/ComfyQueue"
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"

/** Every key of the parts that this module reads. */
const full: ComfyConfig.Input = {
  servers: [{
    url: "http://gpu-1:8188/comfy",
    id: "one",
    tags: ["fast"],
    weight: 2,
    vram: "24 GB",
    host: "rack-1",
    availableUntil: "2027-01-31T18:00:00Z",
    costPerHour: 0.4,
    credentials: {
      bearer: "a",
      headers: { "X-Two": "b" },
      query: { three: "c" },
      cookies: { four: "d" }
    },
    comfyOrgApiKey: "e",
    socket: "none"
  }, { url: "http://gpu-2:8188", credentials: { username: "me", password: "f" } }],
  routing: { policy: "hash", sharing: "greedy", prefetch: "off", lanes: [{ under: "30 seconds", tags: ["fast"] }] },
  failover: {
    serverDeaths: 4,
    outOfMemory: 3,
    foreignInterrupts: 2,
    serverFaults: 5,
    nodeFailures: 1,
    onAmbiguity: "fail",
    delay: "2 seconds",
    maxDelay: "1 minute"
  },
  timeouts: {
    queue: "1 hour",
    start: "2 minutes",
    nodeIdle: "20 minutes",
    total: "2 hours",
    deadline: "Infinity",
    connect: "3 seconds",
    prompt: "4 seconds",
    headers: "5 seconds",
    probe: "6 seconds"
  },
  queue: {
    maxQueued: 10,
    maxQueuedPerTenant: 5,
    maxRunningPerTenant: 2,
    tenantWeights: { studio: 3 },
    history: 7,
    historyAge: "1 day",
    onClose: "cancel"
  },
  breakers: {
    keyFailures: 4,
    keyContents: 3,
    keyWindow: "20 minutes",
    fastFailures: 6,
    fastWithin: "3 seconds",
    open: "1 minute",
    maxOpen: "2 hours",
    ejectShare: 0.25
  },
  profiling: {}
}

/** Secrets as what they hold. */
const plain = (value: unknown): unknown => {
  if (Redacted.isRedacted(value)) return `secret ${String(Redacted.value(value))}`
  return Predicate.isObject(value)
    ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]))
    : value
}

describe("a configuration", () => {
  it.effect("reaches every part that it speaks of", () =>
    Effect.gen(function*() {
      const settings = yield* ComfyConfig.decode(full)
      const [one, two] = settings.servers ?? []
      assert.isDefined(one)
      assert.isDefined(two)
      assert.deepStrictEqual(Assembly.memberOf(one), {
        id: ComfyConfig.idOf(one),
        address: "http://gpu-1:8188/comfy",
        tags: ["fast"],
        weight: 2,
        vramBytes: 24_000_000_000,
        host: "rack-1",
        availableUntil: Date.UTC(2027, 0, 31, 18),
        costPerHour: 0.4
      })
      assert.strictEqual(String(ComfyConfig.idOf(two)), "gpu-2:8188")
      const { openTimeout, promptTimeout, headersTimeout, ...client } = Assembly.clientOf(one, settings)
      assert.deepStrictEqual(
        [openTimeout, promptTimeout, headersTimeout].map((wait) => Duration.toSeconds(wait ?? 0)),
        [3, 4, 5]
      )
      assert.deepStrictEqual(plain(client), {
        id: "one",
        url: "http://gpu-1:8188/comfy",
        credentials: {
          headers: { authorization: "secret Bearer a", "x-two": "secret b" },
          query: { three: "secret c" },
          cookies: { four: "secret d" }
        },
        comfyOrgApiKey: "secret e",
        socket: "none"
      })
      assert.deepStrictEqual(plain(Assembly.clientOf(two, settings).credentials), {
        headers: { authorization: `secret Basic ${btoa("me:f")}` },
        query: {},
        cookies: {}
      })
      const { defaults = {}, lanes, probe, ...pool } = Assembly.poolOf(settings)
      assert.strictEqual(Duration.toSeconds(probe ?? 0), 6)
      assert.strictEqual(Duration.toSeconds(lanes?.[0]?.under ?? 0), 30)
      assert.deepStrictEqual(lanes?.[0]?.tags, ["fast"])
      assert.deepStrictEqual(pool, {
        failover: {
          serverDeaths: 4,
          outOfMemory: 3,
          foreignInterrupts: 2,
          serverFaults: 5,
          nodeFailures: 1,
          delay: 2_000,
          delayCap: 60_000
        },
        breakers: {
          keyFailures: 4,
          keyContents: 3,
          keyWindow: 1_200_000,
          fastFailures: 6,
          fastWithin: 3_000,
          open: 60_000,
          openCap: 7_200_000,
          ejectShare: 0.25
        },
        maxQueued: 10,
        maxQueuedPerTenant: 5,
        maxRunningPerTenant: 2,
        tenantWeights: { studio: 3 },
        onClose: "cancel",
        prefetch: "off",
        sharing: "greedy",
        profiles: true
      })
      const { deadline, onAmbiguity, timeouts = {} } = defaults
      assert.strictEqual(deadline, Duration.infinity)
      assert.strictEqual(onAmbiguity, "fail")
      assert.deepStrictEqual(
        [timeouts.queue, timeouts.start, timeouts.nodeIdle, timeouts.total].map((wait) =>
          Duration.toMinutes(wait ?? 0)
        ),
        [60, 2, 20, 120]
      )
      const queue = ComfyQueue.optionsOf(settings)
      assert.strictEqual(Duration.toDays(queue.historyAge ?? 0), 1)
      assert.deepInclude(queue, { maxQueued: 10, history: 7 })
    }))

  it.effect("says nothing where nothing is said", () =>
    Effect.gen(function*() {
      const settings = yield* ComfyConfig.decode({ servers: [{ url: "http://gpu-1:8188" }] })
      const [server] = settings.servers ?? []
      assert.isDefined(server)
      assert.deepStrictEqual(Assembly.clientOf(server, settings), { id: "gpu-1:8188", url: "http://gpu-1:8188" })
      assert.deepStrictEqual(Assembly.poolOf(settings), {})
      assert.deepStrictEqual(ComfyQueue.optionsOf(settings), {})
      const quiet = yield* ComfyConfig.decode({ servers: [], profiling: { jobs: false } })
      assert.deepStrictEqual(Assembly.poolOf(quiet), {})
    }))

  it("takes over what is said of a server that was found", () => {
    assert.deepStrictEqual(plain(Assembly.foundOf({ url: "http://gpu-7:8188", tags: ["fast"], availableUntil: 5 })), {
      id: "gpu-7:8188",
      address: "http://gpu-7:8188",
      tags: ["fast"],
      availableUntil: 5
    })
    assert.strictEqual(String(Assembly.foundOf({ url: "http://gpu-7:8188", id: "seven" }).id), "seven")
  })
})
