// @effect-diagnostics asyncFunction:off newPromise:off globalFetch:off globalTimers:off
// A server of a few frames and one answer, in a process of its own: `server.ts MODE`. It does as little as it can, so that
// the figures are those of whoever listens. Prints its port; ends with its standard input.
import { createServer } from "node:http"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"

const blankId = "00000000-0000-4000-8000-000000000000"

/** An unmasked WebSocket frame. */
const framed = (opcode: number, payload: Uint8Array): Buffer => {
  const { length } = payload
  const head = length < 126 ? Buffer.alloc(2) : length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10)
  head[0] = 0x80 | opcode
  if (length < 126) head[1] = length
  else if (length < 65_536) {
    head[1] = 126
    head.writeUInt16BE(length, 2)
  } else {
    head[1] = 127
    head.writeBigUInt64BE(BigInt(length), 2)
  }
  return Buffer.concat([head, payload])
}

/** As a server in Python writes it: with a space behind each comma and colon. */
const python = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value).map(([key, member]) => `"${key}": ${python(member)}`).join(", ")}}`
  }
  return JSON.stringify(value)
}

const event = (type: string, data: object): Buffer => framed(1, Buffer.from(python({ type, data })))

const named = (type: string, data: object): Buffer => event(type, { ...data, prompt_id: blankId })

const progress = (count: number): ReadonlyArray<Buffer> =>
  Array.from(
    { length: count },
    (_, i) => event("progress", { value: i + 1, max: count, prompt_id: blankId, node: "12" })
  )

const nodeState = (id: string, state: string) => ({
  value: state === "finished" ? 1 : 0,
  max: 1,
  state,
  node_id: id,
  prompt_id: blankId,
  display_node_id: id,
  parent_node_id: null,
  real_node_id: id
})

/** Of a run of so many nodes, one after another, every `every`-th frame: each repeats the whole graph so far. */
const states = (count: number, every: number): ReadonlyArray<Buffer> => {
  const frames: Array<Buffer> = []
  const finished: Array<string> = []
  for (let i = 1; i <= count; i++) {
    const id = `${i}`
    if (i % every === 0) {
      const nodes = [...finished, `"${id}": ${python(nodeState(id, "running"))}`].join(", ")
      const text = `{"type": "progress_state", "data": {"prompt_id": "${blankId}", "nodes": {${nodes}}}}`
      frames.push(framed(1, Buffer.from(text)))
    }
    finished.push(`"${id}": ${python(nodeState(id, "finished"))}`)
  }
  return frames
}

const previews = (count: number, bytes: number): ReadonlyArray<Buffer> => {
  const metadata = Buffer.from(python({
    node_id: "12",
    prompt_id: blankId,
    display_node_id: "12",
    parent_node_id: null,
    real_node_id: "12",
    image_type: "image/jpeg"
  }))
  const head = Buffer.alloc(8)
  head.writeUInt32BE(4, 0)
  head.writeUInt32BE(metadata.length, 4)
  const frame = framed(2, Buffer.concat([head, metadata, Buffer.alloc(bytes, 0xaa)]))
  return Array.from({ length: count }, () => frame)
}

const opening = [
  named("execution_start", { timestamp: 1 }),
  named("execution_cached", { nodes: [], timestamp: 2 }),
  event("executing", { node: "12", display_node: "12", prompt_id: blankId })
]
const closing = [
  named("executed", { node: "12", display_node: "12", output: { text: ["done"] } }),
  named("execution_success", { timestamp: 3 }),
  event("executing", { node: null, prompt_id: blankId })
]

interface Mode {
  /** What goes out around one prompt; batches are written at once. */
  readonly batches: ReadonlyArray<Buffer>
  /** How many batches are written before the answer to the POST. */
  readonly early: number
  /** From the answer to the first batch after it. */
  readonly gapMs: number
  /** Between batches. */
  readonly pauseMs: number
}

const run = [...opening, ...closing]
const whole = (
  frames: ReadonlyArray<Buffer>
): ReadonlyArray<Buffer> => [Buffer.concat([...opening, ...frames, ...closing])]

const modes: Readonly<Record<string, () => Mode>> = {
  frames: () => ({ batches: whole(progress(200_000)), early: 0, gapMs: 50, pauseMs: 0 }),
  states: () => ({ batches: whole(states(1_000, 1)), early: 0, gapMs: 50, pauseMs: 0 }),
  "states-paced": () => ({ batches: [...opening, ...states(1_000, 5), ...closing], early: 0, gapMs: 50, pauseMs: 5 }),
  previews: () => ({ batches: whole(previews(2_000, 65_536)), early: 0, gapMs: 50, pauseMs: 0 }),
  "gap-0": () => ({
    batches: [Buffer.concat(run.slice(0, 2)), Buffer.concat(run.slice(2))],
    early: 1,
    gapMs: 0,
    pauseMs: 0
  }),
  "gap-20": () => ({ batches: [Buffer.concat(run)], early: 0, gapMs: 20, pauseMs: 0 }),
  idle: () => ({ batches: [], early: 0, gapMs: 0, pauseMs: 0 })
}

const { batches, early, gapMs, pauseMs } = (modes[process.argv[2] ?? ""] ?? (() => {
  throw new Error(`no mode ${process.argv[2]}`)
}))()

/** Where the id stands in each batch. */
const offsets = batches.map((batch) => {
  const at: Array<number> = []
  for (let i = batch.indexOf(blankId); i >= 0; i = batch.indexOf(blankId, i + blankId.length)) at.push(i)
  return at
})

const named36 = (index: number, id: string): Buffer => {
  const batch = batches[index] ?? Buffer.alloc(0)
  for (const at of offsets[index] ?? []) batch.write(id, at, "latin1")
  return batch
}

const sockets = new Map<string, Duplex>()
const status = event("status", { status: { exec_info: { queue_remaining: 0 } }, sid: "x" })
const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: false })

const sleep = (ms: number): Promise<void> => new Promise((resume) => setTimeout(resume, ms))

const send = async (socket: Duplex, id: string): Promise<void> => {
  for (let i = early; i < batches.length; i++) {
    // The buffer is used again for the next prompt: it has to be out before that.
    const written = new Promise<void>((resume) => socket.write(named36(i, id), () => resume()))
    if (pauseMs > 0) await sleep(pauseMs)
    await written
  }
}

let number = 0
const server = createServer((request, response) => {
  if (request.method !== "POST") {
    response.writeHead(404, { "content-type": "application/json" })
    response.end("{\"error\": \"none\"}")
    return
  }
  let text = ""
  request.setEncoding("utf8")
  request.on("data", (chunk: string) => {
    text += chunk
  })
  request.on("end", () => {
    const id = /"prompt_id":\s*"([^"]+)"/.exec(text)?.[1] ?? blankId
    const client = /"client_id":\s*"([^"]+)"/.exec(text)?.[1] ?? ""
    const socket = sockets.get(client)
    for (let i = 0; i < early; i++) socket?.write(named36(i, id))
    const answer = `{"prompt_id": "${id}", "number": ${number++}, "node_errors": {}}`
    // aiohttp states the length of every answer that it has whole.
    response.writeHead(200, { "content-type": "application/json; charset=utf-8", "content-length": answer.length })
    response.end(answer)
    if (socket === undefined) return
    if (gapMs === 0) void send(socket, id)
    else setTimeout(() => void send(socket, id), gapMs)
  })
})
server.on("upgrade", (request, socket, head) => {
  upgrades.handleUpgrade(request, socket, head, (accepted) => {
    const id = new URL(request.url ?? "/", "http://x").searchParams.get("clientId") ?? ""
    sockets.set(id, socket)
    accepted.on("close", () => sockets.delete(id))
    accepted.on("error", () => accepted.terminate())
    socket.write(status)
  })
})
server.keepAliveTimeout = 60_000
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.stdout.write(`${typeof address === "object" && address !== null ? address.port : 0}\n`)
})
process.stdin.on("end", () => process.exit(0))
process.stdin.resume()
