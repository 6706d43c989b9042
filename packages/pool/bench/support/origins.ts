// @effect-diagnostics globalTimers:off newPromise:off
// So many servers in one process of their own, each on a port of its own: `origins.ts COUNT GAP`. They answer what a pool
// asks at connect and at each probe. The nodes of a prompt take no time: all its frames go out together, GAP milliseconds
// behind the answer to its POST, or behind those of the prompt before it. They do as little as they can, so that the figures are those of whoever drives them. Prints the ports as
// JSON; ends with its standard input.
import { createServer } from "node:http"
import { createServer as createListener } from "node:net"
import type { Duplex } from "node:stream"
import { type WebSocket, WebSocketServer } from "ws"

const [count = "1", gap = "0"] = process.argv.slice(2)
const gapMs = Number(gap)

const classes = JSON.stringify({
  Bench: { input: { required: {} }, output: [], name: "Bench", output_node: true },
  BenchText: { input: { required: {} }, output: ["STRING"], name: "BenchText", output_node: false }
})
const stats = JSON.stringify({
  system: { os: "posix", comfyui_version: "0.33.0", python_version: "3.12", argv: ["main.py"] },
  devices: [{ name: "cuda:0", type: "cuda", index: 0, vram_total: 25_000_000_000, vram_free: 24_000_000_000 }]
})
const load = "{\"exec_info\": {\"queue_remaining\": 0}}"
const answers: Readonly<Record<string, string>> = { "/object_info": classes, "/system_stats": stats, "/prompt": load }
const status = `{"type": "status", "data": {"status": ${load}, "sid": "x"}}`

/** As a server in Python writes it. */
const frames = (id: string): ReadonlyArray<string> => [
  `{"type": "execution_start", "data": {"prompt_id": "${id}", "timestamp": 1}}`,
  `{"type": "execution_cached", "data": {"nodes": [], "prompt_id": "${id}", "timestamp": 2}}`,
  `{"type": "executing", "data": {"node": "12", "display_node": "12", "prompt_id": "${id}"}}`,
  `{"type": "executed", "data": {"node": "12", "display_node": "12", "output": {"text": ["done"]}, "prompt_id": "${id}"}}`,
  `{"type": "execution_success", "data": {"prompt_id": "${id}", "timestamp": 3}}`,
  `{"type": "executing", "data": {"node": null, "prompt_id": "${id}"}}`
]

interface Peer {
  readonly socket: Duplex
  readonly accepted: WebSocket
}

/** By client id, which is unique over all servers. */
const peers = new Map<string, Peer>()
const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false })

const run = ({ accepted, socket }: Peer, id: string): void => {
  socket.cork()
  for (const frame of frames(id)) accepted.send(frame)
  socket.uncork()
}

/** Until when each server is taken, by its port. */
const taken = new Map<number, number>()

/** A server runs one prompt at a time: one that was sent ahead waits for its turn. */
const inTurn = (port: number, work: () => void): void => {
  const now = performance.now()
  const at = Math.max(now, taken.get(port) ?? 0) + gapMs
  taken.set(port, at)
  setTimeout(work, at - now)
}

/** When each POST was seen, nanoseconds of the machine's monotonic clock, since somebody asked last; and the last of them. */
let seen: Array<string> = []
let last = ""
let number = 0

const server = createServer((request, response) => {
  const answer = (status: number, text: string): void => {
    // aiohttp states the length of every answer that it has whole.
    response.writeHead(status, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(text)
    })
    response.end(text)
  }
  const path = request.url ?? ""
  if (request.method !== "POST") {
    if (path === "/bench/seen") {
      answer(200, JSON.stringify({ seen, last }))
      seen = []
      return
    }
    const known = answers[path]
    answer(known === undefined ? 404 : 200, known ?? "{\"error\": \"none\"}")
    return
  }
  seen.push(`${process.hrtime.bigint()}`)
  let text = ""
  request.setEncoding("utf8")
  request.on("data", (chunk: string) => {
    text += chunk
  })
  request.on("end", () => {
    last = text
    const id = /"prompt_id":\s*"([^"]+)"/.exec(text)?.[1] ?? ""
    const peer = peers.get(/"client_id":\s*"([^"]+)"/.exec(text)?.[1] ?? "")
    answer(200, `{"prompt_id": "${id}", "number": ${number++}, "node_errors": {}}`)
    if (peer === undefined) return
    if (gapMs === 0) run(peer, id)
    else inTurn(request.socket.localPort ?? 0, () => run(peer, id))
  })
})
server.on("upgrade", (request, socket, head) => {
  upgrades.handleUpgrade(request, socket, head, (accepted) => {
    const id = new URL(request.url ?? "/", "http://x").searchParams.get("clientId") ?? ""
    peers.set(id, { socket, accepted })
    accepted.on("close", () => peers.delete(id))
    accepted.on("error", () => accepted.terminate())
    accepted.send(status)
  })
})
// Like aiohttp, it says nothing of how long a connection is kept.
server.keepAliveTimeout = 0

const listen = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const listener = createListener((socket) => server.emit("connection", socket))
    listener.once("error", reject)
    listener.listen(0, "127.0.0.1", () => {
      const address = listener.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })

const ports = await Promise.all(Array.from({ length: Number(count) }, listen))
process.stdout.write(`${JSON.stringify(ports)}\n`)
process.stdin.on("end", () => process.exit(0))
process.stdin.resume()
