// What faults make of one request and of its answer.
import type { Action, Pace, RawResponse, RequestInfo } from "../FaultData.ts"
import { type Decision, hold, type MainAction, type Output, type Slowness, type State } from "./faultyState.ts"
import { encode } from "./pyJson.ts"

type Answer = Extract<Output, { readonly _tag: "HttpResponse" | "HttpAborted" }>
type Response = Extract<Output, { readonly _tag: "HttpResponse" }>

/** A response as it goes out. */
export const complete = (
  response: RawResponse
): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: Uint8Array } => {
  const body = typeof response.body === "string" ? encode(response.body) : Uint8Array.from(response.body ?? [])
  return { status: response.status, headers: { "content-length": String(body.length), ...response.headers }, body }
}

const additions = new Set<Action["_tag"]>([
  "DelayRequest",
  "HoldAnswer",
  "SlowHeaders",
  "SlowBody",
  "PadBody",
  "AnswerWithin"
])

/** What strikes a request, added up. A proxy's patience begins now. */
export const decide = (state: State, id: number, request: RequestInfo): Decision => {
  let delay = 0
  let held: number | undefined
  let headersMs = 0
  let pace: Pace | undefined
  let padTo = 0
  let main: MainAction | undefined
  for (const action of state.strikes.onRequest(request, state.now, (one) => additions.has(one._tag))) {
    switch (action._tag) {
      case "DelayRequest":
        delay += action.ms
        break
      case "HoldAnswer":
        held = (held ?? 0) + action.ms
        break
      case "SlowHeaders":
        headersMs += action.overMs
        break
      case "SlowBody":
        pace ??= action.pace
        break
      case "PadBody":
        padTo = Math.max(padTo, action.bytes)
        break
      case "AnswerWithin":
        state.deadlines.push({ at: state.now + action.ms, id, response: action.response })
        state.deadlines.sort((a, b) => a.at - b.at)
        break
      default:
        main = action
    }
  }
  return { delay, hold: held, padTo, main, pace, headersMs }
}

const padded = (answer: Response, padTo: number): Response => {
  const { body, headers } = answer
  if (body.length >= padTo || body.length === 0) return answer
  const out = new Uint8Array(padTo).fill(32)
  out.set(body)
  return { ...answer, headers: { ...headers, "content-length": String(padTo) }, body: out }
}

const slowness = ({ headersMs, main, pace }: Decision, bytes: number): Slowness | undefined => {
  const stallAfter = main?._tag === "StallBody" ? main.bytes : undefined
  const bodyMs = pace === undefined
    ? 0
    : "overMs" in pace
    ? pace.overMs
    : bytes / Math.max(Number.MIN_VALUE, pace.bytesPerMs)
  return headersMs <= 0 && bodyMs <= 0 && stallAfter === undefined ? undefined : { headersMs, bodyMs, stallAfter }
}

/** The server's answer, as the client gets it; undefined where it never comes. */
export const changed = (answer: Response, decision: Decision): Answer | undefined => {
  const { body, headers, id, status } = answer
  const { main, padTo } = decision
  let out = answer
  switch (main?._tag) {
    case "DropAnswer":
      return { _tag: "HttpAborted", id, reason: "reset" }
    case "Hang":
      return undefined
    case "Respond":
    case "ReplaceAnswer":
      out = { _tag: "HttpResponse", id, ...complete(main.response) }
      break
    case "EditAnswer":
      out = { _tag: "HttpResponse", id, ...complete(main.edit({ status, headers, body })) }
      break
  }
  out = padded(out, padTo)
  if (main?._tag === "CutBody") out = { ...out, cutAfter: main.bytes, cutHow: main.how }
  const slow = slowness(decision, out.body.length)
  return slow === undefined ? out : { ...out, slow }
}

/** Gives an answer, unless the client has one or waits no more. */
export const answer = (state: State, output: Answer): void => {
  if (!state.log.isOpen(output.id)) return
  state.log.close(output.id, output._tag === "HttpResponse" ? output.status : "aborted")
  if (state.deadlines.length > 0) state.deadlines = state.deadlines.filter((deadline) => deadline.id !== output.id)
  state.out.push(output)
}

export const answerLater = (state: State, output: Answer, ms: number | undefined): void => {
  if (ms === undefined) answer(state, output)
  else hold(state, state.now + ms, { _tag: "Output", output })
}

/** A proxy answers for the server what was to be there by now. */
export const losePatience = (state: State): void => {
  for (let due = state.deadlines[0]; due !== undefined && due.at <= state.now; due = state.deadlines[0]) {
    state.deadlines.shift()
    answer(state, { _tag: "HttpResponse", id: due.id, ...complete(due.response) })
  }
}
