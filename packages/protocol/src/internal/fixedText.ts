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

/** The message of a frame with such a text; undefined for every other frame. */
export const fixedText = (frame: string): ServerMessage | undefined => {
  switch (frame.charCodeAt(afterType)) {
    case 112: {
      const match = progress.exec(frame)
      const promptId = match?.[3]
      const node = match?.[4]
      return match === null || promptId === undefined || node === undefined
        ? undefined
        : { _tag: "Progress", promptId, node, value: Number(match[1]), max: Number(match[2]), raw: null }
    }
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
