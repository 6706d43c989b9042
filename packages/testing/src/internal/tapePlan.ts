// A recording arranged for replay: what the client did, and what of it each word of the server came after.
import type * as Tape from "../Tape.ts"

/** A request with what came of it. */
export interface Exchange {
  /** Index of the request's line. */
  readonly at: number
  readonly request: Tape.Request
  readonly answer: Tape.Response | Tape.RequestError | undefined
  readonly answerAt: number
  /** The place among the requests that change something, in the order of the recording; undefined for a question. */
  readonly change: number | undefined
  /** So many changes, in the order of their answers, were answered before this was asked. */
  readonly behind: number
}

type Incoming = Extract<
  Tape.Line,
  { readonly kind: "ws-open" | "ws-text" | "ws-binary" | "ws-close" | "ws-refused" | "ws-error" }
>

/** Something that the server did to a socket. */
export interface Word {
  readonly at: number
  readonly line: Incoming
  /** So many changes were asked for before. */
  readonly changes: number
  /** So many frames the client had sent before. */
  readonly sent: number
}

/** A frame of the client. */
interface Sent {
  readonly at: number
  readonly line: Extract<Tape.Line, { readonly kind: "ws-text" | "ws-binary" }>
}

export interface Conn {
  readonly at: number
  readonly dial: Tape.Dial
  readonly words: ReadonlyArray<Word>
  readonly sent: ReadonlyArray<Sent>
}

export interface Plan {
  readonly exchanges: ReadonlyArray<Exchange>
  readonly conns: ReadonlyArray<Conn>
  /** The exchanges that change something, in the order of their answers. */
  readonly answeredChanges: ReadonlyArray<Exchange>
}

const asksOnly = new Set(["GET", "HEAD", "OPTIONS"])

export const make = ({ lines }: Tape.Tape): Plan => {
  const answers = new Map<number, { readonly line: Tape.Response | Tape.RequestError; readonly at: number }>()
  for (const [at, line] of lines.entries()) {
    if (line.kind === "response" || line.kind === "request-error") answers.set(line.id, { line, at })
  }
  const exchanges: Array<Exchange> = []
  const conns: Array<Conn & { readonly words: Array<Word>; readonly sent: Array<Sent> }> = []
  const byName = new Map<string, (typeof conns)[number]>()
  const changesById = new Set<number>()
  let changes = 0
  let answered = 0
  for (const [at, line] of lines.entries()) {
    switch (line.kind) {
      case "note":
        break
      case "request": {
        const answer = answers.get(line.id)
        const isChange = !asksOnly.has(line.method)
        if (isChange) changesById.add(line.id)
        exchanges.push({
          at,
          request: line,
          answer: answer?.line,
          answerAt: answer?.at ?? Number.POSITIVE_INFINITY,
          change: isChange ? changes++ : undefined,
          behind: answered
        })
        break
      }
      case "response":
      case "request-error":
        if (changesById.has(line.id)) answered++
        break
      case "ws-dial": {
        const conn = { at, dial: line, words: [], sent: [] }
        conns.push(conn)
        byName.set(line.conn, conn)
        break
      }
      default: {
        const conn = byName.get(line.conn)
        if (conn === undefined) break
        if ((line.kind === "ws-text" || line.kind === "ws-binary") && line.dir === "out") conn.sent.push({ at, line })
        else conn.words.push({ at, line, changes, sent: conn.sent.length })
      }
    }
  }
  return {
    exchanges,
    conns,
    answeredChanges: exchanges.filter(({ change }) => change !== undefined).toSorted((a, b) => a.answerAt - b.answerAt)
  }
}
