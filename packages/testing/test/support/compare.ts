// Drives the recorded client side against the fake and compares what comes back.
import { FakeComfy, type FakeNode, VersionProfile } from "@effect-comfyui/testing"
import { canonical, type Line } from "./recording.ts"

export interface Difference {
  readonly where: string
  readonly recorded: string
  readonly fake: string
}

export interface Report {
  readonly answers: number
  readonly frames: number
  readonly differences: ReadonlyArray<Difference>
  /** Sockets whose status frames only came at other places between the frames of a run. */
  readonly races: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const bodyOf = (line: { readonly body?: string; readonly base64?: string }): Uint8Array =>
  line.base64 === undefined ? encoder.encode(line.body ?? "") : Uint8Array.from(Buffer.from(line.base64, "base64"))

const uuidPattern = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
const filePattern = /\b\w+_[0-9]{5}_\.png/g

/** What one side calls something, and what the other side calls it. */
class Names {
  readonly toFake = new Map<string, string>()
  readonly toRecorded = new Map<string, string>()

  pair(recorded: string, fake: string): void {
    if (this.toFake.has(recorded) || this.toRecorded.has(fake)) return
    this.toFake.set(recorded, fake)
    this.toRecorded.set(fake, recorded)
  }

  learn(recorded: string, fake: string): void {
    for (const pattern of [uuidPattern, filePattern]) {
      const a = recorded.match(pattern) ?? []
      const b = fake.match(pattern) ?? []
      if (a.length === b.length) a.forEach((name, index) => this.pair(name, b[index] ?? name))
    }
  }

  fake(text: string): string {
    return text.replace(uuidPattern, (id) => this.toFake.get(id) ?? id)
      .replace(filePattern, (name) => this.toFake.get(name) ?? name)
  }

  recorded(text: string): string {
    return text.replace(uuidPattern, (id) => this.toRecorded.get(id) ?? id)
      .replace(filePattern, (name) => this.toRecorded.get(name) ?? name)
  }
}

const describeBinary = (bytes: Uint8Array): string => {
  if (bytes.length < 4) return `binary ${Buffer.from(bytes).toString("hex")}`
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const kind = view.getUint32(0)
  const image = (at: number): string => {
    const head = Buffer.from(bytes.subarray(at, at + 3)).toString("hex")
    return head === "ffd8ff" ? "<jpeg>" : head === "89504e" ? "<png>" : `<${bytes.length - at} bytes>`
  }
  if (kind === 1 && bytes.length >= 8) return `preview ${view.getUint32(4)} ${image(8)}`
  if (kind === 4 && bytes.length >= 8) {
    const length = view.getUint32(4)
    return `preview ${canonical(decoder.decode(bytes.subarray(8, 8 + length)))} ${image(8 + length)}`
  }
  if (kind === 3 && bytes.length >= 8) return `text ${decoder.decode(bytes.subarray(4))}`
  return `binary ${Buffer.from(bytes).toString("hex")}`
}

const isStatus = (frame: string): boolean => /^\{"data":\{("sid":"[^"]*",)?"status":/.test(frame)

/** Ids that an answer shows as ended. */
const endedIds = (body: string): ReadonlyArray<string> => {
  const out: Array<string> = []
  const ended = /"(?:status_str|completed|execution_end_time)"/
  if (!ended.test(body)) return out
  return body.match(uuidPattern) ?? []
}

interface Conn {
  readonly id: number
  readonly recorded: Array<string>
  readonly fake: Array<string>
  open: boolean
}

const headersThatCount = [
  "content-type",
  "allow",
  "content-disposition",
  "accept-ranges",
  "content-range",
  "x-content-type-options",
  "cache-control",
  "access-control-allow-origin"
]

export const compare = (
  lines: ReadonlyArray<Line>,
  options: { readonly nodes: ReadonlyArray<FakeNode.FakeNode>; readonly server?: FakeComfy.Options }
): Report => {
  const [head] = lines
  if (head?.kind !== "case") throw new Error("no case line")
  let state = FakeComfy.init({ version: VersionProfile.find(head.version), nodes: options.nodes, ...options.server })
  const names = new Names()
  const conns = new Map<string, Conn>()
  const byId = new Map<number, Conn>()
  const answers = new Map<number, Extract<FakeComfy.Output, { _tag: "HttpResponse" | "HttpAborted" }>>()
  const requests = new Map<number, Extract<Line, { kind: "request" }>>()
  const differences: Array<Difference> = []
  const rawFrames = new Map<Conn, Array<string>>()
  let now = 0
  let compared = 0
  let offset: number | undefined

  const take = (outputs: ReadonlyArray<FakeComfy.Output>): void => {
    for (const output of outputs) {
      switch (output._tag) {
        case "HttpResponse":
        case "HttpAborted":
          answers.set(output.id, output)
          break
        case "SocketSend": {
          const conn = byId.get(output.conn)
          if (conn === undefined) break
          if (typeof output.frame === "string") {
            rawFrames.get(conn)?.push(output.frame)
            const index = conn.fake.length
            const recorded = conn.recorded[index]
            if (recorded !== undefined) names.learn(recorded, output.frame)
            conn.fake.push(canonical(output.frame))
          } else conn.fake.push(describeBinary(output.frame))
          break
        }
        case "SocketClosed": {
          const conn = byId.get(output.conn)
          if (conn !== undefined) {
            conn.open = false
            conn.fake.push(`closed ${output.code}`)
          }
          break
        }
        case "SocketRefused": {
          byId.get(output.conn)?.fake.push(`refused ${output.status}`)
          break
        }
        case "SocketAccepted":
        case "Crash":
          break
      }
    }
  }
  const input = (make: (at: number) => FakeComfy.Input): void => {
    const [next, outputs] = FakeComfy.step(state, make(now))
    state = next
    take(outputs)
  }
  const tick = (): boolean => {
    const wake = FakeComfy.nextWake(state)
    if (wake === undefined) return false
    now = Math.max(now, wake)
    input((at) => ({ _tag: "Tick", now: at }))
    return true
  }
  /** Lets time pass until the fake has said as much as the recording has so far. */
  const catchUp = (): void => {
    for (let i = 0; i < 5000; i++) {
      const behind = [...conns.values()].some((conn) => conn.fake.length < conn.recorded.length)
      if (!behind || !tick()) return
    }
  }
  const waitForEnds = (ids: ReadonlyArray<string>): void => {
    for (let i = 0; i < 5000; i++) {
      const open = FakeComfy.ledger(state).prompts.some((record) =>
        record.endedAt === undefined && ids.includes(record.promptId)
      )
      if (!open || !tick()) return
    }
  }
  const answerOf = (id: number): Extract<Line, { kind: "response" }> | undefined =>
    lines.find((line): line is Extract<Line, { kind: "response" }> => line.kind === "response" && line.id === id)

  for (const line of lines) {
    switch (line.kind) {
      case "case":
        break
      case "note": {
        const action = /^(kill|SIGTERM|terminate|start|restart)/i.exec(line.text)?.[1]?.toLowerCase()
        if (action === undefined) break
        catchUp()
        if (action.startsWith("start") || action.startsWith("restart")) input((at) => ({ _tag: "Restart", now: at }))
        else input((at) => ({ _tag: "Kill", now: at }))
        break
      }
      case "request": {
        catchUp()
        requests.set(line.id, line)
        const recorded = answerOf(line.id)
        if (recorded !== undefined && line.method === "GET") waitForEnds(endedIds(names.fake(recorded.body ?? "")))
        const body = line.base64 === undefined ? encoder.encode(names.fake(line.body ?? "")) : bodyOf(line)
        input((at) => ({
          _tag: "HttpRequest",
          id: line.id,
          method: line.method,
          path: names.fake(line.path),
          headers: Object.fromEntries(
            Object.entries(line.headers).map(([name, value]) => [
              name.toLowerCase(),
              name.toLowerCase() === "if-none-match" ? etags.get(value) ?? value : names.fake(value)
            ])
          ),
          body,
          now: at
        }))
        break
      }
      case "response": {
        const fake = answers.get(line.id)
        const request = requests.get(line.id)
        compared++
        const where = `${line.id} ${request?.method ?? ""} ${request?.path ?? ""}`
        if (fake === undefined || fake._tag === "HttpAborted") {
          differences.push({ where, recorded: `${line.status}`, fake: fake === undefined ? "no answer" : "aborted" })
          break
        }
        const fakeBody = decoder.decode(fake.body)
        const recordedBody = line.body ?? ""
        if (
          request?.path.endsWith("/prompt") === true && request.method === "POST" && line.status === 200 &&
          fake.status === 200
        ) {
          names.learn(recordedBody, fakeBody)
          const a = /"number": (-?[0-9]+)\b(?!\.)/.exec(recordedBody)?.[1]
          const b = /"number": (-?[0-9]+)\b(?!\.)/.exec(fakeBody)?.[1]
          if (a !== undefined && b !== undefined && offset === undefined) {
            offset = Math.abs(Number(a)) - Math.abs(Number(b))
          }
        }
        if (line.headers["etag"] !== undefined) etags.set(line.headers["etag"], fake.headers["etag"] ?? "")
        names.learn(recordedBody, fakeBody)
        const shift = (text: string): string =>
          text.replace(
            /("(?:number|priority)": |"prompt": \[|(?<=\[|\], )\[)(-?[0-9]+)(?=[,}])/g,
            (_, before: string, digits: string) => {
              const value = Number(digits)
              return `${before}${value < 0 || Object.is(value, -0) ? value - (offset ?? 0) : value + (offset ?? 0)}`
            }
          )
        const isText = line.base64 === undefined
        const a = isText ? canonical(recordedBody) : "<bytes>"
        const b = isText ? canonical(names.recorded(shift(fakeBody))) : fake.body.length > 0 ? "<bytes>" : "<none>"
        const heads = (headers: Readonly<Record<string, string>>): string =>
          headersThatCount.filter((name) =>
            headers[name] !== undefined && !(name === "content-type" && !isText && false)
          ).map((name) =>
            `${name}: ${
              name === "content-range"
                ? (headers[name] ?? "").replace(/\/[0-9]+/, "/n")
                : names.recorded(headers[name] ?? "")
            }`
          ).join("; ")
        const left = `${line.status} ${heads(line.headers)} ${a}`
        const right = `${fake.status} ${heads(fake.headers)} ${b}`
        if (left !== right) differences.push({ where, recorded: left, fake: right })
        break
      }
      case "request-error": {
        const fake = answers.get(line.id)
        compared++
        if (fake?._tag !== "HttpAborted") {
          differences.push({
            where: `${line.id}`,
            recorded: line.code,
            fake: fake === undefined ? "nothing" : String(fake.status)
          })
        }
        break
      }
      case "ws-dial": {
        catchUp()
        const conn: Conn = { id: conns.size + 1, recorded: [], fake: [], open: true }
        conns.set(line.conn, conn)
        byId.set(conn.id, conn)
        rawFrames.set(conn, [])
        input((at) => ({ _tag: "SocketOpen", conn: conn.id, path: line.path, headers: line.headers, now: at }))
        break
      }
      case "ws-refused":
        conns.get(line.conn)?.recorded.push(`refused ${line.status}`)
        break
      case "ws-text": {
        const conn = conns.get(line.conn)
        if (conn === undefined) break
        if (line.dir === "in") conn.recorded.push(canonical(line.data))
        else {
          catchUp()
          input((at) => ({ _tag: "SocketFrame", conn: conn.id, frame: line.data, now: at }))
        }
        break
      }
      case "ws-binary": {
        const conn = conns.get(line.conn)
        if (conn === undefined) break
        const bytes = Uint8Array.from(Buffer.from(line.base64, "base64"))
        if (line.dir === "in") conn.recorded.push(describeBinary(bytes))
        else {
          catchUp()
          input((at) => ({ _tag: "SocketFrame", conn: conn.id, frame: bytes, now: at }))
        }
        break
      }
      case "ws-close": {
        const conn = conns.get(line.conn)
        if (conn === undefined) break
        if (line.code === 1006) conn.recorded.push("closed 1006")
        catchUp()
        if (conn.open) input((at) => ({ _tag: "SocketClose", conn: conn.id, code: line.code, now: at }))
        conn.open = false
        break
      }
      case "ws-open":
      case "ws-error":
        break
    }
  }
  catchUp()
  let frames = 0
  let races = 0
  for (const [name, conn] of conns) {
    const recorded = conn.recorded
    const fake = conn.fake.map((frame) => canonicalNames(names, frame))
    frames += recorded.length
    const first = recorded.findIndex((frame, index) => frame !== fake[index])
    if (first < 0 && recorded.length === fake.length) continue
    const rest = (all: ReadonlyArray<string>): ReadonlyArray<string> => all.filter((frame) => !isStatus(frame))
    const a = rest(recorded)
    const b = rest(fake)
    const statuses = (all: ReadonlyArray<string>): string => all.filter(isStatus).length.toString()
    const at = a.findIndex((frame, index) => frame !== b[index])
    if (at < 0 && a.length === b.length && statuses(recorded) === statuses(fake)) {
      races++
      continue
    }
    const place = at < 0 ? Math.min(a.length, b.length) : at
    differences.push({
      where: `socket ${name}, frame ${place} of ${a.length}/${b.length}, status ${statuses(recorded)}/${
        statuses(fake)
      }`,
      recorded: a[place] ?? "(end)",
      fake: b[place] ?? "(end)"
    })
  }
  return { answers: compared, frames, differences, races }
}

const etags = new Map<string, string>()

const canonicalNames = (names: Names, frame: string): string => names.recorded(frame)
