// The most frequent frames have one exact text, as Python writes it. A match reads them without parsing and proves that
// there is nothing else in them; everything else (escapes, another order, more members) is left to the parser.
import type { ServerMessage } from "../ServerMessage.ts"

/** What needs no escape in JSON, and numbers that survive `Number`. */
const string = String.raw`"([^"\\\x00-\x1f]*)"`
const number = String.raw`(-?(?:0|[1-9]\d{0,14})(?:\.\d+)?)`

const frame = (type: string, data: string): RegExp =>
  new RegExp(String.raw`^\{"type": "${type}", "data": \{${data}\}\}$`)

const progress = frame("progress", `"value": ${number}, "max": ${number}, "prompt_id": ${string}, "node": ${string}`)
const executing = frame("executing", `"node": ${string}, "display_node": ${string}, "prompt_id": ${string}`)
const finished = frame("executing", `"node": null, "prompt_id": ${string}`)
const status = frame("status", String.raw`"status": \{"exec_info": \{"queue_remaining": ${number}\}\}`)

const afterType = `{"type": "`.length

/** What the steps of one node have in common: everything behind the value, as text and as read. */
export interface Steps {
  tail: string
  promptId: string
  node: string
  max: number
}

/** No frame ends so. */
export const noSteps = (): Steps => ({ tail: "\n", promptId: "", node: "", max: 0 })

const head = `{"type": "progress", "data": {"value": `

/** Digits without a leading zero, few enough to be exact; undefined for anything else. */
const wholeNumber = (text: string, from: number, to: number): number | undefined => {
  const digits = to - from
  if (digits < 1 || digits > 15) return undefined
  let value = 0
  for (let i = from; i < to; i++) {
    const digit = text.charCodeAt(i) - 48
    if (digit < 0 || digit > 9 || (digit === 0 && i === from && digits > 1)) return undefined
    value = value * 10 + digit
  }
  return value
}

/** The next step of the node whose step came last: the same text but for the value. */
const nextStep = (frame: string, steps: Steps): ServerMessage | undefined => {
  const end = frame.length - steps.tail.length
  // Comparing slices takes half the time of `endsWith`.
  if (frame.slice(end) !== steps.tail || frame.slice(0, head.length) !== head) return undefined
  const value = wholeNumber(frame, head.length, end)
  return value === undefined
    ? undefined
    : { _tag: "Progress", promptId: steps.promptId, node: steps.node, value, max: steps.max, raw: null }
}

const firstStep = (frame: string, steps: Steps | null): ServerMessage | undefined => {
  const match = progress.exec(frame)
  const promptId = match?.[3]
  const node = match?.[4]
  if (match === null || promptId === undefined || node === undefined) return undefined
  const max = Number(match[2])
  if (steps !== null) {
    steps.tail = frame.slice(head.length + (match[1] ?? "").length)
    steps.promptId = promptId
    steps.node = node
    steps.max = max
  }
  return { _tag: "Progress", promptId, node, value: Number(match[1]), max, raw: null }
}

/** The message of a frame with such a text; undefined for every other frame. `steps` is one connection's memory. */
export const fixedText = (frame: string, steps: Steps | null): ServerMessage | undefined => {
  switch (frame.charCodeAt(afterType)) {
    case 112:
      return (steps === null ? undefined : nextStep(frame, steps)) ?? firstStep(frame, steps)
    case 101: {
      const match = executing.exec(frame)
      const node = match?.[1]
      const displayNode = match?.[2]
      const promptId = match?.[3]
      if (node !== undefined && displayNode !== undefined && promptId !== undefined) {
        return { _tag: "Executing", promptId, node, displayNode, raw: null }
      }
      const last = finished.exec(frame)?.[1]
      return last === undefined
        ? undefined
        : { _tag: "Executing", promptId: last, node: null, displayNode: null, raw: null }
    }
    case 115: {
      const queueRemaining = status.exec(frame)?.[1]
      return queueRemaining === undefined
        ? undefined
        : { _tag: "Status", queueRemaining: Number(queueRemaining), sid: null, raw: null }
    }
    default:
      return undefined
  }
}
