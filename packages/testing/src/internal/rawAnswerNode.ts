// Answers that Node's own HTTP server would not send: byte by byte, without an end, or with a chunk that is none.
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Buffer } from "node:buffer"
import { STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import type { HttpOutcome } from "./driver.ts"

type Response = Extract<HttpOutcome, { readonly _tag: "HttpResponse" }>

const tickMs = 10

/** Writes the first `limit` bytes at the pace at which all would come over so many milliseconds. */
const dribble = Effect.fnUntraced(function*(socket: Socket, bytes: Uint8Array, overMs: number, limit: number) {
  const end = Math.min(limit, bytes.length)
  const ticks = Math.max(1, Math.ceil(overMs / tickMs))
  let at = 0
  for (let tick = 1; at < end && !socket.destroyed; tick++) {
    if (overMs > 0) yield* Effect.sleep(Duration.millis(tickMs))
    const next = Math.min(end, Math.ceil(bytes.length * tick / ticks))
    if (next > at) socket.write(bytes.subarray(at, next))
    at = next
  }
})

const head = ({ headers, status }: Response, chunked: boolean): Buffer => {
  const lines = Object.entries(headers)
    .filter(([name]) => name !== "connection" && !(chunked && name === "content-length"))
    .map(([name, value]) => `${name}: ${value}\r\n`)
  const framing = chunked ? "transfer-encoding: chunked\r\n" : ""
  return Buffer.from(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Unknown"}\r\n${lines.join("")}${framing}connection: close\r\n\r\n`
  )
}

/** Whether an answer needs this. */
export const isRaw = (outcome: Response): boolean =>
  outcome.slow !== undefined || outcome.cutHow === "badChunk" || outcome.cutHow === "end"

/** Writes such an answer; its connection ends with it, unless its body stalls. */
export const writeRaw: (socket: Socket, outcome: Response) => Effect.Effect<void> = Effect.fnUntraced(
  function*(socket, outcome) {
    const { body, cutAfter, cutHow, slow } = outcome
    const stalls = slow?.stallAfter !== undefined && slow.stallAfter < body.length
    yield* dribble(socket, head(outcome, cutHow === "badChunk"), slow?.headersMs ?? 0, Number.POSITIVE_INFINITY)
    if (socket.destroyed) return
    if (cutHow === "badChunk") {
      const part = Buffer.from(body.subarray(0, cutAfter))
      socket.end(Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from("\r\nzz\r\n")]))
      return
    }
    yield* dribble(socket, body, slow?.bodyMs ?? 0, cutAfter ?? slow?.stallAfter ?? Number.POSITIVE_INFINITY)
    if (cutAfter !== undefined && cutHow !== "end") socket.resetAndDestroy()
    else if (cutAfter !== undefined || !stalls) socket.end()
  }
)
