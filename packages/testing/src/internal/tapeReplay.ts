// Replays a recording, as a pure function. A question is answered as soon after it as it was then. What the server said
// by itself comes when everything has happened that it came after (every change, its own socket), as long after as it
// did then. `step` changes the state that it was given.
import { CassetteError, type CassetteReason } from "../CassetteError.ts"
import * as Tape from "../Tape.ts"
import type { Redactor } from "./redact.ts"
import { bounded, type Comparison, difference, Ids, sameBytes, sameText } from "./tapeMatch.ts"
import { type Asked, isSame, nearest, place } from "./tapeNearest.ts"
import * as Plan from "./tapePlan.ts"

export type Input =
  | (Asked & { readonly _tag: "Request"; readonly id: number })
  /** The client waits no longer for this answer. */
  | { readonly _tag: "Gone"; readonly id: number }
  | { readonly _tag: "Dial"; readonly conn: number; readonly path: string }
  | { readonly _tag: "Frame"; readonly conn: number; readonly frame: string | Uint8Array }
  /** The client ends a connection. */
  | { readonly _tag: "Close"; readonly conn: number }
  | { readonly _tag: "Tick" }

export type Output =
  | {
    readonly _tag: "Response"
    readonly id: number
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: Uint8Array<ArrayBuffer>
    readonly aborted: boolean
  }
  | { readonly _tag: "RequestError"; readonly id: number; readonly code: string }
  | { readonly _tag: "UnexpectedRequest"; readonly id: number; readonly error: CassetteError }
  | { readonly _tag: "UnexpectedDial"; readonly conn: number; readonly error: CassetteError }
  | { readonly _tag: "Opened"; readonly conn: number }
  | { readonly _tag: "Refused"; readonly conn: number; readonly status: number }
  | { readonly _tag: "Broken"; readonly conn: number; readonly code: string }
  | { readonly _tag: "Received"; readonly conn: number; readonly frame: string | Uint8Array<ArrayBuffer> }
  | { readonly _tag: "Closed"; readonly conn: number; readonly code: number; readonly reason: string }

interface Options {
  /** Recorded times are multiplied with it. */
  readonly pace: number
  /** A question that was recorded and is asked once more is answered as the last time. */
  readonly repeats: boolean
  readonly ignored: ReadonlySet<string>
  /** For what is shown of requests that were not recorded. */
  readonly redactor: Redactor
}

interface Waiting {
  readonly id: number
  readonly exchange: Plan.Exchange
  readonly due: number
}

interface ConnState {
  readonly conn: number
  readonly plan: Plan.Conn
  /** Later than in the recording by so much, at least. */
  shift: number
  next: number
  sent: number
  /** No word overtakes the one before it. */
  lastDue: number
}

export interface State {
  readonly options: Options
  readonly plan: Plan.Plan
  readonly comparison: Comparison
  readonly matched: Set<Plan.Exchange>
  readonly dialled: Set<Plan.Conn>
  /** How much later each change came than in the recording. */
  readonly shifts: Map<number, number>
  /** `latest[n]`: the greatest shift of the first n changes. */
  readonly latest: Array<number>
  /** So many changes, in the order of their answers, have come. */
  answered: number
  waiting: Array<Waiting>
  conns: Array<ConnState>
  readonly problems: Array<CassetteError>
  now: number
}

/** Problems beyond so many say nothing new. */
const maxProblems = 100
/** Two times that differ by a rounding of the clock. */
const epsilon = 1e-5

export const init = (tape: Tape.Tape, options: Options): State => ({
  options,
  plan: Plan.make(tape),
  comparison: { ids: new Ids(), ignored: options.ignored },
  matched: new Set(),
  dialled: new Set(),
  shifts: new Map(),
  latest: [Number.NEGATIVE_INFINITY],
  answered: 0,
  waiting: [],
  conns: [],
  problems: [],
  now: 0
})

const problem = (state: State, reason: CassetteReason): CassetteError => {
  const error = new CassetteError({ reason })
  if (state.problems.length < maxProblems) state.problems.push(error)
  return error
}

const unexpected = (state: State, input: Asked): CassetteError => {
  const { redactor } = state.options
  const found = nearest(state, state.options.redactor, input)
  return problem(state, {
    _tag: "UnexpectedRequest",
    method: input.method,
    path: bounded(redactor.path(input.path), 300),
    nearest: found?.place ?? null,
    difference: found === undefined ? null : bounded(found.difference, 500)
  })
}

const scaled = (state: State, t: number): number => t * state.options.pace

/** A change has come: what waited for it and for all before it may follow. */
const changed = (state: State, exchange: Plan.Exchange): void => {
  if (exchange.change === undefined) return
  state.shifts.set(exchange.change, state.now - scaled(state, exchange.request.t))
  for (;;) {
    const shift = state.shifts.get(state.latest.length - 1)
    if (shift === undefined) break
    state.latest.push(Math.max(state.latest.at(-1) ?? shift, shift))
  }
  for (;;) {
    const next = state.plan.answeredChanges[state.answered]
    if (next === undefined || !state.matched.has(next)) break
    state.answered++
  }
}

const answerLater = (state: State, id: number, exchange: Plan.Exchange): void => {
  // Without an answer in the recording there is none: the client gave up, and will again.
  if (exchange.answer === undefined) return
  const due = state.now + scaled(state, exchange.answer.t - exchange.request.t)
  state.waiting.push({ id, exchange, due })
}

const request = (state: State, input: Asked & { readonly id: number }): Output | undefined => {
  const { exchanges } = state.plan
  const found = exchanges.find((one) =>
    !state.matched.has(one) && one.behind <= state.answered && isSame(state.comparison, one.request, input)
  )
  if (found !== undefined) {
    state.matched.add(found)
    changed(state, found)
    answerLater(state, input.id, found)
    return undefined
  }
  const again = state.options.repeats
    ? exchanges.findLast((one) =>
      one.change === undefined && state.matched.has(one) && isSame(state.comparison, one.request, input)
    )
    : undefined
  if (again === undefined) return { _tag: "UnexpectedRequest", id: input.id, error: unexpected(state, input) }
  answerLater(state, input.id, again)
  return undefined
}

const dial = (state: State, conn: number, path: string): Output | undefined => {
  const { ids } = state.comparison
  const plan = state.plan.conns.find((one) =>
    !state.dialled.has(one) && ids.attempt(() => sameText(one.dial.path, path, ids), (same) => same)
  )
  if (plan === undefined) {
    const nearest = state.plan.conns.find((one) => !state.dialled.has(one)) ?? state.plan.conns.at(-1)
    return {
      _tag: "UnexpectedDial",
      conn,
      error: problem(state, {
        _tag: "UnexpectedDial",
        path: bounded(state.options.redactor.path(path), 300),
        nearest: nearest === undefined ? null : bounded(`${nearest.dial.path} (line ${nearest.at + 2})`, 300)
      })
    }
  }
  state.dialled.add(plan)
  const shift = state.now - scaled(state, plan.dial.t)
  state.conns.push({ conn, plan, shift, next: 0, sent: 0, lastDue: 0 })
  return undefined
}

const frame = (state: State, conn: number, data: string | Uint8Array): void => {
  const live = state.conns.find((one) => one.conn === conn)
  if (live === undefined) return
  const then = live.plan.sent[live.sent]
  const differs = then === undefined
    ? "nothing more was sent"
    : then.line.kind === "ws-binary"
    ? typeof data === "string" || !sameBytes(Tape.bytesOf(then.line), data, state.comparison.ids)
      ? "it differs"
      : undefined
    : typeof data === "string"
    ? difference(then.line.data, state.options.redactor.text(data), state.comparison)
    : "it was text, is binary"
  if (differs !== undefined) {
    const difference = bounded(differs, 500)
    problem(state, { _tag: "UnexpectedFrame", conn: bounded(live.plan.dial.conn, 100), difference })
  }
  if (then === undefined) return
  live.sent++
  live.shift = Math.max(live.shift, state.now - scaled(state, then.line.t))
}

interface Due {
  readonly due: number
  readonly at: number
  readonly emit: () => Output
}

const wordOf = (state: State, live: ConnState, { line }: Plan.Word): Output => {
  const { conn } = live
  const { ids } = state.comparison
  switch (line.kind) {
    case "ws-open":
      return { _tag: "Opened", conn }
    case "ws-text":
      return { _tag: "Received", conn, frame: ids.rewrite(line.data) }
    case "ws-binary":
      return { _tag: "Received", conn, frame: ids.rewriteBytes(Tape.bytesOf(line)) }
    case "ws-close":
      return { _tag: "Closed", conn, code: line.code, reason: line.reason }
    case "ws-refused":
      return { _tag: "Refused", conn, status: line.status }
    case "ws-error":
      return { _tag: "Broken", conn, code: line.code }
  }
}

const answerOf = (state: State, { exchange, id }: Waiting): Output => {
  const { answer } = exchange
  if (answer === undefined || answer.kind === "request-error") {
    return { _tag: "RequestError", id, code: answer?.code ?? "" }
  }
  const { ids } = state.comparison
  const body = answer.base64 === undefined
    ? Tape.bytesOf({ body: ids.rewrite(answer.body ?? "") })
    : ids.rewriteBytes(Tape.bytesOf(answer))
  return {
    _tag: "Response",
    id,
    status: answer.status,
    headers: answer.headers,
    body,
    aborted: answer.aborted ?? false
  }
}

/** The next word of a socket, if all has happened that it came after. */
const nextWord = (state: State, live: ConnState): Due | undefined => {
  const word = live.plan.words[live.next]
  const latest = word === undefined ? undefined : state.latest[word.changes]
  if (word === undefined || latest === undefined || live.sent < word.sent) return undefined
  const due = Math.max(live.lastDue, scaled(state, word.line.t) + Math.max(live.shift, latest))
  return {
    due,
    at: word.at,
    emit: () => {
      live.next++
      live.lastDue = due
      return wordOf(state, live, word)
    }
  }
}

/** What comes next, in the order of its times, then of the recording. */
const nextDue = (state: State): Due | undefined => {
  let next: Due | undefined
  const consider = (one: Due | undefined) => {
    if (one === undefined) return
    if (next === undefined || one.due < next.due || (one.due === next.due && one.at < next.at)) next = one
  }
  for (const live of state.conns) consider(nextWord(state, live))
  for (const one of state.waiting) {
    consider({
      due: one.due,
      at: one.exchange.answerAt,
      emit: () => {
        state.waiting = state.waiting.filter((other) => other !== one)
        return answerOf(state, one)
      }
    })
  }
  return next
}

const act = (state: State, input: Input): Output | undefined => {
  switch (input._tag) {
    case "Request":
      return request(state, input)
    case "Gone":
      state.waiting = state.waiting.filter((one) => one.id !== input.id)
      return undefined
    case "Dial":
      return dial(state, input.conn, input.path)
    case "Frame":
      frame(state, input.conn, input.frame)
      return undefined
    case "Close":
      state.conns = state.conns.filter((one) => one.conn !== input.conn)
      return undefined
    case "Tick":
      return undefined
  }
}

/** Takes an input at a monotonic time in milliseconds, and gives what is due by then, in order. */
export const step = (state: State, input: Input, now: number): readonly [State, ReadonlyArray<Output>] => {
  state.now = Math.max(state.now, now)
  const own = act(state, input)
  const outputs = own === undefined ? [] : [own]
  for (let next = nextDue(state); next !== undefined && next.due <= state.now + epsilon; next = nextDue(state)) {
    const output = next.emit()
    outputs.push(output)
    if (output._tag === "Closed" || output._tag === "Refused" || output._tag === "Broken") {
      state.conns = state.conns.filter((one) => one.conn !== output.conn)
    }
  }
  return [state, outputs]
}

/** When a `Tick` is wanted; undefined while there is nothing to wait for. */
export const nextWake = (state: State): number | undefined => nextDue(state)?.due

/** Requests and sockets that were recorded and not asked for, in the order of the recording. */
export const unused = (state: State): ReadonlyArray<string> =>
  [
    ...state.plan.exchanges.filter((one) => !state.matched.has(one)).map((one) => [one.at, place(one)] as const),
    ...state.plan.conns.filter((one) => !state.dialled.has(one)).map((one) =>
      [one.at, bounded(`a socket to ${one.dial.path} (line ${one.at + 2})`, 300)] as const
    )
  ].toSorted(([a], [b]) => a - b).map(([, text]) => text)
