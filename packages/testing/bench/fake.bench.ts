// @effect-diagnostics asyncFunction:off newPromise:off
// What fakes cost: many servers in one process under load and at rest, and a fleet with its clients in virtual time.
import * as ComfyClient from "@effect-comfyui/client/ComfyClient"
import { ComfyClients } from "@effect-comfyui/client/ComfyClients"
import { ComfyTest, Workflows } from "@effect-comfyui/testing"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { type ChildProcess, spawn } from "node:child_process"
import { performance } from "node:perf_hooks"
import { createInterface } from "node:readline"
import { Agent, request } from "undici"
import { WebSocket } from "ws"

const servers = 200
const inFlight = 1

const prompt = JSON.stringify({
  client_id: "bench",
  prompt: { "1": { class_type: "PreviewAny", inputs: { source: "one" } } }
})

interface Fleet<A> {
  readonly said: A
  readonly close: () => void
}

/** The fleet in a process of its own. */
const start = <A>(mode: string, flags: ReadonlyArray<string> = []): Promise<Fleet<A>> =>
  new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(
      process.execPath,
      ["--conditions=@effect-comfyui/source", ...flags, `${import.meta.dirname}/support/fleet.ts`, mode, `${servers}`],
      { stdio: ["pipe", "pipe", "inherit"] }
    )
    child.once("error", reject)
    if (child.stdout === null) return
    createInterface({ input: child.stdout }).once(
      "line",
      (line) => resolve({ said: JSON.parse(line), close: () => child.stdin?.end() })
    )
  })

const agent = new Agent({ connections: inFlight, pipelining: 1 })

const post = async (port: number): Promise<void> => {
  const { body } = await request(`http://127.0.0.1:${port}/prompt`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: prompt,
    dispatcher: agent
  })
  await body.dump()
}

/** A socket, and how to wait for the end of the next prompt: the last frame of a run names no node. */
const listen = async (port: number) => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/ws?clientId=bench`, { perMessageDeflate: false })
  let ended = (): void => undefined
  socket.on("message", (data) => {
    const text = data.toString()
    if (text.startsWith("{\"type\": \"executing\", \"data\": {\"node\": null")) ended()
  })
  await new Promise((resolve) => socket.once("open", resolve))
  return {
    next: () =>
      new Promise<void>((resolve) => {
        ended = resolve
      }),
    close: () => socket.terminate()
  }
}

/** One prompt in flight per server; each is over when its last frame came. */
const throughput = async () => {
  const [fake, bare] = [await start<ReadonlyArray<number>>("fake"), await start<ReadonlyArray<number>>("bare")]
  const sockets = await Promise.all(fake.said.map(listen))
  const rounds = 10
  return {
    ours: async () => {
      await Promise.all(fake.said.map(async (port, index) => {
        for (let i = 0; i < rounds; i++) {
          const over = sockets[index]?.next()
          await post(port)
          await over
        }
      }))
      return rounds * servers
    },
    reference: async () => {
      await Promise.all(bare.said.map(async (port) => {
        for (let i = 0; i < rounds; i++) await post(port)
      }))
      return rounds * servers
    },
    close: async () => {
      for (const socket of sockets) socket.close()
      fake.close()
      bare.close()
      await agent.destroy()
    }
  }
}

const idle = async (): Promise<number> => {
  const { close, said } = await start<{ readonly bytes: number }>("memory", ["--expose-gc"])
  close()
  return said.bytes / 1024
}

/** 100 servers with their clients, a job a second of 5 s and 20 steps: virtual seconds per second. */
const virtualTime = (): Promise<number> => {
  const seconds = 300
  const fleet = Effect.gen(function*() {
    const clients = yield* ComfyClients
    const jobOn = (n: number) =>
      Effect.flatMap(ComfyClient.ComfyClient, (client) => client.result(Workflows.counting({ steps: 20, stepMs: 250 })))
        .pipe(
          Effect.provide(clients.get(ComfyTest.nameOf(1 + n % 100)))
        )
    // All are connected before the clock runs.
    for (let n = 0; n < 100; n++) {
      yield* Effect.provide(ComfyTest.connected(), clients.get(ComfyTest.nameOf(n + 1)))
    }
    const before = performance.now()
    const jobs = []
    for (let second = 0; second < seconds; second++) {
      jobs.push(yield* Effect.forkChild(jobOn(second * 37), { startImmediately: true }))
      yield* TestClock.adjust("1 second")
    }
    yield* TestClock.adjust("10 seconds")
    yield* Fiber.joinAll(jobs)
    return (seconds + 10) / ((performance.now() - before) / 1_000)
  })
  return Effect.runPromise(
    Effect.scoped(Effect.provide(fleet, ComfyTest.layerFleet(100).pipe(Layer.provideMerge(TestClock.layer()))))
  )
}

export const cases = [
  {
    name: "fake-throughput",
    goal: { minAbsolute: 2_000 },
    noise: "wide",
    unit: "prompts/s",
    measure: "rate",
    prepare: throughput
  },
  { name: "fake-idle", goal: { maxAbsolute: 100 }, noise: "wide", unit: "KiB", measure: "figure", figure: idle },
  {
    name: "virtual-time",
    goal: { minAbsolute: 60 },
    noise: "wide",
    unit: "s/s",
    measure: "figure",
    figure: virtualTime
  }
]
