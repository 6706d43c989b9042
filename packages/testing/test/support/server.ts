// A pure server in the hand of a test: requests in, answers and frames out, time as the test says.
import { FakeComfy, FaultyComfy } from "@effect-comfyui/testing"

type Answer = Extract<FaultyComfy.Output, { readonly _tag: "HttpResponse" }>

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const bytesOf = (body: string | Uint8Array | object): Uint8Array =>
  body instanceof Uint8Array ? body : encoder.encode(typeof body === "string" ? body : JSON.stringify(body))

export const textOf = (bytes: Uint8Array): string => decoder.decode(bytes)

type Untimed<A> = A extends { readonly now: number } ? Omit<A, "now"> : never

export class Server {
  state: FaultyComfy.State
  now = 0
  #ids = 0
  /** What went out, in order. */
  readonly outputs: Array<FaultyComfy.Output> = []

  constructor(options: FakeComfy.Options = {}) {
    this.state = FaultyComfy.init(options)
  }

  input(input: Untimed<FaultyComfy.Input>): ReadonlyArray<FaultyComfy.Output> {
    const [state, outputs] = FaultyComfy.step(this.state, { ...input, now: this.now } as FaultyComfy.Input)
    this.state = state
    this.outputs.push(...outputs)
    return outputs
  }

  /** Lets so many milliseconds pass, each wake at its own time. */
  pass(ms: number): void {
    const end = this.now + ms
    for (;;) {
      const wake = FaultyComfy.nextWake(this.state)
      if (wake === undefined || wake > end) break
      this.now = Math.max(this.now, wake)
      this.input({ _tag: "Tick" })
    }
    this.now = end
    this.input({ _tag: "Tick" })
  }

  /** Lets time pass until nothing is to happen any more. */
  settle(): void {
    for (let wake = FaultyComfy.nextWake(this.state); wake !== undefined; wake = FaultyComfy.nextWake(this.state)) {
      this.pass(Math.max(0, wake - this.now))
    }
  }

  /** Sends a request and gives its id. */
  send(
    method: string,
    path: string,
    body: string | Uint8Array | object = "",
    headers: Readonly<Record<string, string>> = {}
  ): number {
    const id = ++this.#ids
    this.input({ _tag: "HttpRequest", id, method, path, headers, body: bytesOf(body) })
    return id
  }

  /** What has come back to a request: an answer, "aborted", or nothing yet. */
  answer(id: number): Answer | "aborted" | undefined {
    for (const output of this.outputs) {
      if (output._tag === "HttpResponse" && output.id === id) return output
      if (output._tag === "HttpAborted" && output.id === id) return "aborted"
    }
    return undefined
  }

  /** A request that is answered at once. */
  http(...request: Parameters<Server["send"]>): Answer {
    const answer = this.answer(this.send(...request))
    if (answer === undefined || answer === "aborted") throw new Error(`no answer to ${request[0]} ${request[1]}`)
    return answer
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Answer {
    return this.http("GET", path, "", headers)
  }

  /** The JSON of an answer to a GET. */
  json(path: string): unknown {
    return JSON.parse(textOf(this.get(path).body))
  }

  /** Submits a graph that the server must accept, and gives its id. */
  prompt(graph: object, rest: object = {}): string {
    const answer = this.http("POST", "/prompt", { prompt: graph, ...rest })
    if (answer.status !== 200) throw new Error(`refused: ${textOf(answer.body)}`)
    return String(JSON.parse(textOf(answer.body)).prompt_id)
  }

  open(clientId: string): number {
    const conn = ++this.#ids
    this.input({ _tag: "SocketOpen", conn, path: `/ws?clientId=${clientId}`, headers: {} })
    return conn
  }

  /** The frames that a socket has been sent. */
  frames(conn: number): ReadonlyArray<string | Uint8Array> {
    return this.outputs.flatMap((output) => output._tag === "SocketSend" && output.conn === conn ? [output.frame] : [])
  }

  /** The types of these frames; of `executing` its node too, of binary frames the event. */
  types(conn: number): ReadonlyArray<string> {
    return this.frames(conn).map((frame) => {
      if (typeof frame !== "string") return `binary ${new DataView(frame.buffer, frame.byteOffset).getUint32(0)}`
      const { data, type } = JSON.parse(frame)
      return type === "executing" ? `executing ${data.node}` : type
    })
  }

  ledger(): FakeComfy.Ledger {
    return FakeComfy.ledger(this.state.comfy)
  }

  snapshot(): FaultyComfy.Snapshot {
    return FaultyComfy.snapshot(this.state)
  }
}

interface Shown {
  readonly images?: ReadonlyArray<{ readonly filename: string; readonly subfolder: string; readonly type: string }>
}

/** The files of a finished prompt's pictures, under the names that its nodes announced. */
export const imagesOf = (server: Server, promptId: string): ReadonlyArray<Uint8Array> => {
  const history = JSON.parse(textOf(server.get(`/history/${promptId}`).body))
  return Object.values<Shown>(history[promptId].outputs).flatMap(({ images = [] }) =>
    images.map((file) => server.get(`/view?${new URLSearchParams({ ...file })}`).body)
  )
}

/** A multipart body as an upload has it. */
export const upload = (
  filename: string,
  bytes: Uint8Array,
  fields: Readonly<Record<string, string>> = {}
): { readonly body: Uint8Array; readonly headers: Readonly<Record<string, string>> } => {
  const boundary = "----boundary7d1f"
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="image"; filename="${
    filename.replaceAll("\\", "\\\\").replaceAll("\"", "\\\"")
  }"\r\nContent-Type: application/octet-stream\r\n\r\n`
  const rest = Object.entries(fields)
    .map(([name, value]) => `\r\n--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}`)
    .join("")
  return {
    body: Buffer.concat([encoder.encode(head), bytes, encoder.encode(`${rest}\r\n--${boundary}--\r\n`)]),
    headers: { "content-type": `multipart/form-data; boundary=${boundary}` }
  }
}
