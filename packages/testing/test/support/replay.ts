// Plays the client's side of a recording against the pure server, and compares every answer and frame.
import { FakeComfy, VersionProfile } from "@effect-comfyui/testing"
import { Names } from "./names.ts"
import { inOrder, outputOrders } from "./outputOrder.ts"
import { recNodes } from "./recNodes.ts"
import { canonical, describeBinary, isAside, isFraction, type Line } from "./recording.ts"
import { deedOf, leftBefore, optionsOf } from "./worlds.ts"

export interface Difference {
  readonly where: string
  readonly recorded: string
  readonly fake: string
}

/** How many there were, and how many were the same. */
export interface Count {
  readonly all: number
  readonly same: number
}

export interface Report {
  readonly answers: Count
  readonly frames: Count
  readonly differences: ReadonlyArray<Difference>
  /** Sockets on which only frames of the queue or the log came at other places, or told another length of the queue. */
  readonly races: number
}

type Response = Extract<Line, { readonly kind: "response" }>
type Request = Extract<Line, { readonly kind: "request" }>
type Answer = Extract<FakeComfy.Output, { readonly _tag: "HttpResponse" | "HttpAborted" }>

interface Conn {
  readonly id: number
  readonly recorded: Array<string>
  readonly fake: Array<string>
  open: boolean
  /** Characters of a text to send once it is open. */
  longText: number
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const fromBase64 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "base64"))

/** The longest common subsequence's length: frames that are the same in the same order. */
const common = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): number => {
  let row = Array.from({ length: b.length + 1 }, () => 0)
  for (const left of a) {
    const next = [0]
    b.forEach((right, j) => next.push(left === right ? (row[j] ?? 0) + 1 : Math.max(next[j] ?? 0, row[j + 1] ?? 0)))
    row = next
  }
  return row[b.length] ?? 0
}

const sameList = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((item, index) => item === b[index])

const headersThatCount = [
  "content-type",
  "content-encoding",
  "content-length",
  "allow",
  "content-disposition",
  "accept-ranges",
  "content-range",
  "x-content-type-options",
  "cache-control",
  "vary",
  "access-control-allow-origin",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-allow-credentials"
]

class Replay {
  readonly #lines: ReadonlyArray<Line>
  readonly #answerOf = new Map<number, Response>()
  readonly #requests = new Map<number, Request>()
  readonly #answers = new Map<number, Answer>()
  readonly #etags = new Map<string, string>()
  readonly #names = new Names()
  readonly #outputOrders: ReadonlyMap<string, ReadonlyArray<string>>
  readonly #conns = new Map<string, Conn>()
  readonly #byId = new Map<number, Conn>()
  readonly #differences: Array<Difference> = []
  readonly #shared: boolean
  readonly #host: string
  #state: FakeComfy.State
  #now = 0
  #compared = 0
  #longText = 0
  /** By how much the recorded server's number of the first accepted prompt was ahead. */
  ahead: number | undefined

  constructor(lines: ReadonlyArray<Line>, burn: number, ordered: boolean) {
    const [head] = lines
    if (head?.kind !== "case") throw new Error("a recording begins with its case")
    this.#lines = lines
    // From case 31 on the lists of the server also show what earlier cases left.
    this.#shared = Number(head.case.slice(0, 2)) >= 31
    const text = JSON.stringify(lines)
    this.#host = /http:\/\/(127\.0\.0\.1:[0-9]{4,})/.exec(text)?.[1] ?? "127.0.0.1:8188"
    const version = VersionProfile.find(head.version)
    if (version === undefined) throw new Error(`no profile of ${head.version}`)
    this.#state = FakeComfy.init({ version, nodes: recNodes, ...optionsOf(head.version, head.args, head.case) })
    for (const line of lines) if (line.kind === "response") this.#answerOf.set(line.id, line)
    this.#outputOrders = ordered
      ? outputOrders([...this.#answerOf.values()].map((line) => line.body ?? ""))
      : new Map()
    for (const { body, method, path } of leftBefore(head.case)) {
      this.#input({ _tag: "HttpRequest", id: -1, method, path, headers: {}, body: encoder.encode(body), now: 0 })
    }
    // A refused prompt uses up a number.
    const body = encoder.encode("{}")
    for (let i = 0; i < burn; i++) {
      this.#input({ _tag: "HttpRequest", id: -1, method: "POST", path: "/prompt", headers: {}, body, now: 0 })
    }
  }

  #take(output: FakeComfy.Output): void {
    switch (output._tag) {
      case "HttpResponse":
      case "HttpAborted":
        this.#answers.set(output.id, output)
        return
      case "SocketSend": {
        const conn = this.#byId.get(output.conn)
        if (conn === undefined) return
        if (typeof output.frame === "string") {
          const recorded = conn.recorded[conn.fake.length]
          if (recorded !== undefined) this.#names.learn(recorded, output.frame)
          if (!isFraction(output.frame)) conn.fake.push(canonical(output.frame))
        } else conn.fake.push(describeBinary(output.frame))
        return
      }
      case "SocketClosed": {
        const conn = this.#byId.get(output.conn)
        if (conn === undefined) return
        conn.open = false
        conn.fake.push(`closed ${output.code}`)
        return
      }
      case "SocketRefused":
        this.#byId.get(output.conn)?.fake.push(`refused ${output.status}`)
        return
      case "SocketAccepted":
      case "Crash":
        return
    }
  }

  #input(input: FakeComfy.Input): void {
    const [state, outputs] = FakeComfy.step(this.#state, input)
    this.#state = state
    for (const output of outputs) this.#take(output)
  }

  #tick(): boolean {
    const wake = FakeComfy.nextWake(this.#state)
    if (wake === undefined) return false
    this.#now = Math.max(this.#now, wake)
    this.#input({ _tag: "Tick", now: this.#now })
    return true
  }

  /** Lets time pass while something is still to happen that the recording has seen. */
  #tickWhile(expected: () => boolean): void {
    for (let i = 0; i < 5_000 && expected(); i++) if (!this.#tick()) return
  }

  #catchUp(): void {
    this.#tickWhile(() => [...this.#conns.values()].some((conn) => conn.fake.length < conn.recorded.length))
  }

  /** An answer that shows a prompt as ended can only come after its end. */
  #waitForEnds(body: string): void {
    if (!/"(?:status_str|completed|execution_end_time)"/.test(body)) return
    this.#tickWhile(() =>
      FakeComfy.ledger(this.#state).prompts.some((one) =>
        one.endedAt === undefined && body.includes(JSON.stringify(one.promptId))
      )
    )
  }

  #request(line: Request): void {
    this.#catchUp()
    this.#requests.set(line.id, line)
    const recorded = this.#answerOf.get(line.id)
    if (recorded?.body !== undefined && line.method === "GET") this.#waitForEnds(this.#names.toFake(recorded.body))
    const headers: Record<string, string> = { host: this.#host }
    for (const [name, value] of Object.entries(line.headers)) {
      const key = name.toLowerCase()
      headers[key] = key === "if-none-match" ? this.#etags.get(value) ?? value : this.#names.toFake(value)
    }
    const id = /"prompt_id": ?"([^"]+)"/.exec(line.path.endsWith("/prompt") ? recorded?.body ?? "" : "")?.[1]
    const body = inOrder(line.body ?? "", id === undefined ? undefined : this.#outputOrders.get(id))
    this.#input({
      _tag: "HttpRequest",
      id: line.id,
      method: line.method,
      path: this.#names.toFake(line.path),
      headers,
      body: line.base64 === undefined ? encoder.encode(this.#names.toFake(body)) : fromBase64(line.base64),
      now: this.#now
    })
  }

  #heads(headers: Readonly<Record<string, string>>, size: boolean): string {
    const shown = (name: string): string => {
      const value = this.#names.toRecorded(headers[name] ?? "")
      return name === "content-range" ? value.replace(/\/[0-9]+/, "/n") : value
    }
    return headersThatCount
      .filter((name) => headers[name] !== undefined && (name !== "content-length" || size))
      .map((name) => `${name}: ${shown(name)}`)
      .join("; ")
  }

  #response(line: Response): void {
    const fake = this.#answers.get(line.id)
    const request = this.#requests.get(line.id)
    const where = `${line.id} ${request?.method} ${request?.path}`
    this.#compared++
    if (fake?._tag !== "HttpResponse") {
      this.#differences.push({ where, recorded: `${line.status}`, fake: fake === undefined ? "no answer" : "aborted" })
      return
    }
    const etag = line.headers["etag"]
    if (etag !== undefined) this.#etags.set(etag, fake.headers["etag"] ?? "")
    const body = decoder.decode(fake.body)
    const recordedBody = line.body ?? ""
    this.#names.learn(recordedBody, body)
    const [theirs, ours] = [recordedBody, body].map((text) => /"number": -?([0-9]+)[,}]/.exec(text)?.[1])
    if (request?.path.endsWith("/prompt") === true && theirs !== undefined && ours !== undefined) {
      this.ahead ??= Number(theirs) - Number(ours)
    }
    // Figures and times have their own lengths, and so have pictures.
    const isText = line.base64 === undefined
    const size = isText && request?.method !== "HEAD" && !/^[[{]/.test(recordedBody)
    const show = (status: number, headers: Readonly<Record<string, string>>, shown: string): string =>
      `${status} ${this.#heads(headers, size && headers["content-length"] !== undefined)} ${shown}`
    const recorded = show(
      line.status,
      line.headers,
      isText ? canonical(recordedBody, this.#shared) : "<bytes>"
    )
    const given = show(
      fake.status,
      size && line.headers["content-length"] === undefined ? without(fake.headers) : fake.headers,
      isText ? canonical(this.#names.toRecorded(body), this.#shared) : fake.body.length > 0 ? "<bytes>" : "<none>"
    )
    if (recorded !== given) this.#differences.push({ where, recorded, fake: given })
  }

  #dial(name: string, path: string, headers: Readonly<Record<string, string>>): void {
    this.#catchUp()
    const conn: Conn = { id: this.#byId.size + 1, recorded: [], fake: [], open: true, longText: this.#longText }
    this.#longText = 0
    this.#conns.set(name, conn)
    this.#byId.set(conn.id, conn)
    this.#input({ _tag: "SocketOpen", conn: conn.id, path, headers: { host: this.#host, ...headers }, now: this.#now })
  }

  #frame(conn: Conn, frame: string | Uint8Array): void {
    this.#catchUp()
    this.#input({ _tag: "SocketFrame", conn: conn.id, frame, now: this.#now })
  }

  #close(conn: Conn, code: number): void {
    if (code === 1006) conn.recorded.push("closed 1006")
    this.#catchUp()
    if (conn.open) this.#input({ _tag: "SocketClose", conn: conn.id, code, now: this.#now })
    conn.open = false
  }

  #note(text: string): void {
    const deed = deedOf(text)
    if (deed === undefined) return
    this.#catchUp()
    const now = this.#now
    switch (deed._tag) {
      case "Kill":
      case "Restart":
        this.#input({ _tag: deed._tag, now })
        return
      case "HiddenOpen":
        this.#input({ _tag: "SocketOpen", conn: 0, path: `/ws?clientId=${deed.clientId}`, headers: {}, now })
        return
      case "HiddenClose":
        this.#input({ _tag: "SocketClose", conn: 0, code: 1006, now })
        return
      case "LongText":
        this.#longText = deed.length
    }
  }

  #line(line: Line): void {
    const conn = "conn" in line ? this.#conns.get(line.conn) : undefined
    switch (line.kind) {
      case "note":
        return this.#note(line.text)
      case "request":
        return this.#request(line)
      case "response":
        return this.#response(line)
      case "request-error": {
        const fake = this.#answers.get(line.id)
        this.#compared++
        if (fake?._tag === "HttpAborted") return
        this.#differences.push({ where: `${line.id}`, recorded: line.code, fake: `${fake?.status ?? "nothing"}` })
        return
      }
      case "ws-dial":
        return this.#dial(line.conn, line.path, line.headers)
      case "ws-refused":
        conn?.recorded.push(`refused ${line.status}`)
        return
      case "ws-text":
        if (conn === undefined) return
        if (line.dir === "out") return this.#frame(conn, line.data)
        if (!isFraction(line.data)) conn.recorded.push(canonical(line.data))
        if (conn.longText > 0) {
          const text = "x".repeat(conn.longText)
          conn.longText = 0
          this.#frame(conn, text)
        }
        return
      case "ws-binary": {
        if (conn === undefined) return
        const bytes = fromBase64(line.base64)
        if (line.dir === "out") return this.#frame(conn, bytes)
        conn.recorded.push(describeBinary(bytes))
        return
      }
      case "ws-close":
        if (conn !== undefined) this.#close(conn, line.code)
        return
      case "case":
      case "ws-open":
      case "ws-error":
        return
    }
  }

  run(): Report {
    for (const line of this.#lines) this.#line(line)
    this.#catchUp()
    const wrongAnswers = this.#differences.length
    let all = 0
    let same = 0
    let races = 0
    for (const [name, conn] of this.#conns) {
      const { recorded } = conn
      const fake = conn.fake.map((frame) => this.#names.toRecorded(frame))
      all += recorded.length
      if (sameList(recorded, fake)) {
        same += recorded.length
        continue
      }
      // Frames of the queue and of the log come from other threads than those of a run.
      const [ours, theirs] = [fake, recorded].map((frames) => frames.filter((frame) => !isAside(frame)))
      const [ourAsides, theirAsides] = [fake, recorded].map((frames) => frames.filter(isAside))
      const matched = common(theirs ?? [], ours ?? []) + common(theirAsides ?? [], ourAsides ?? [])
      same += matched
      if (sameList(theirs ?? [], ours ?? []) && theirAsides?.length === ourAsides?.length) {
        races++
        continue
      }
      const [left = [], right = []] = sameList(theirs ?? [], ours ?? []) ? [theirAsides, ourAsides] : [theirs, ours]
      const at = left.findIndex((frame, index) => frame !== right[index])
      const place = at < 0 ? left.length : at
      this.#differences.push({
        where: `socket ${name}, frame ${place} of ${left.length}/${right.length}`,
        recorded: left[place] ?? "(end)",
        fake: right[place] ?? "(end)"
      })
    }
    return {
      answers: { all: this.#compared, same: this.#compared - wrongAnswers },
      frames: { all, same },
      differences: this.#differences,
      races
    }
  }
}

const without = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> => {
  const { "content-length": _, ...rest } = headers
  return rest
}

const play = (lines: ReadonlyArray<Line>, ordered: boolean): Report => {
  const first = new Replay(lines, 0, ordered)
  const report = first.run()
  return first.ahead === undefined || first.ahead <= 0 ? report : new Replay(lines, first.ahead, ordered).run()
}

/**
 * Plays a recording: again where the recorded server's numbers were ahead of those of a fresh one, and with its order of
 * outputs where that is what differs.
 */
export const replay = (lines: ReadonlyArray<Line>): Report => {
  const report = play(lines, false)
  if (report.differences.length === 0) return report
  const ordered = play(lines, true)
  return ordered.differences.length < report.differences.length ? ordered : report
}
