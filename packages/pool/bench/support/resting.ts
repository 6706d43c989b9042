// @effect-diagnostics asyncFunction:off newPromise:off globalTimers:off globalRandom:off
// A fleet at rest in a process of its own: `resting.ts SIDE PORTS ROUNDS SECONDS`. Prints for each round its resident
// megabytes and the milliseconds of CPU per second. Ends with its standard input.
import * as ClientDefaults from "@effect-comfyui/client/Defaults"
import * as PoolDefaults from "@effect-comfyui/pool/Defaults"
import * as Duration from "effect/Duration"
import { randomUUID } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { Agent, request } from "undici"
import { WebSocket } from "ws"

const [side = "", ports = "[]", rounds = "1", seconds = "20"] = process.argv.slice(2)
const numbers: ReadonlyArray<number> = JSON.parse(ports)
const urls = numbers.map((port) => `http://127.0.0.1:${port}`)

/** A socket with its pings and a probe, at the library's own intervals. */
const watched = async (url: string, dispatcher: Agent): Promise<unknown> => {
  const pingMs = Duration.toMillis(ClientDefaults.socket.pingInterval)
  const probeMs = Duration.toMillis(PoolDefaults.health.probe)
  const seen = { pongAt: 0, queueRemaining: 0 }
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=${randomUUID()}`, { perMessageDeflate: false })
  socket.on("pong", () => {
    seen.pongAt = performance.now()
  })
  const probe = async (): Promise<void> => {
    const { body } = await request(`${url}/prompt`, { dispatcher })
    const answer: { readonly exec_info: { readonly queue_remaining: number } } = JSON.parse(await body.text())
    seen.queueRemaining = answer.exec_info.queue_remaining
    setTimeout(() => void probe(), probeMs * (0.8 + 0.4 * Math.random()))
  }
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject)
    socket.once("message", () => resolve())
  })
  setInterval(() => socket.ping(), pingMs)
  await probe()
  return { socket, seen }
}

const raw = async (): Promise<unknown> => {
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, pipelining: 1 })
  return Promise.all(urls.map((url) => watched(url, dispatcher)))
}

/** Loaded by this side alone: the other one's memory is its own. */
const ours = async (): Promise<unknown> => {
  const { connect } = await import("./pooled.ts")
  return connect(urls)
}

process.stdin.on("end", () => process.exit(0)).resume()
const fleet = await (side === "ours" ? ours() : raw())
// What connecting left behind is not the state of rest; what rest itself leaves behind is.
for (let i = 0; i < 3; i++) {
  await sleep(1_000)
  globalThis.gc?.()
}
const figures = []
for (let round = 0; round < Number(rounds); round++) {
  const [before, at] = [process.cpuUsage(), performance.now()]
  await sleep(Number(seconds) * 1_000)
  const { system, user } = process.cpuUsage(before)
  figures.push({ rss: process.memoryUsage.rss() / 1e6, cpu: (system + user) / (performance.now() - at) })
}
process.stdout.write(`${JSON.stringify({ figures, alive: fleet !== undefined })}\n`, () => process.exit(0))
