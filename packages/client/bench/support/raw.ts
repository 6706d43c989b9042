// @effect-diagnostics asyncFunction:off newPromise:off globalFetch:off globalTimers:off
// What a good program without this library does: `ws`, JSON.parse, and one POST.
import { randomUUID } from "node:crypto"
import { request } from "undici"
import { WebSocket } from "ws"

export interface Raw {
  /** One prompt to its last frame; `each` gets every frame as it came. */
  readonly run: (
    each?: (message: { readonly type: string; readonly data: Record<string, unknown> }) => void
  ) => Promise<void>
  readonly close: () => void
}

const body = (clientId: string, promptId: string): string =>
  JSON.stringify({
    prompt: { "12": { class_type: "Bench", inputs: { seed: 1 } } },
    client_id: clientId,
    prompt_id: promptId
  })

const byFetch = async (url: string, text: string): Promise<void> => {
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: text })
  await answer.json()
}

const byUndici = async (url: string, text: string): Promise<void> => {
  const answer = await request(url, { method: "POST", headers: { "content-type": "application/json" }, body: text })
  await answer.body.json()
}

/** A connected socket. Binary frames are counted as messages without a type. */
export const connect = async (url: string, by: "fetch" | "undici" = "fetch"): Promise<Raw> => {
  const clientId = randomUUID()
  const post = by === "fetch" ? byFetch : byUndici
  const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=${clientId}`, { perMessageDeflate: false })
  let each: ((message: { readonly type: string; readonly data: Record<string, unknown> }) => void) | undefined
  let ended: (() => void) | undefined
  let current = ""
  await new Promise<void>((resolve, reject) => {
    socket.once("error", reject)
    socket.once("message", () => resolve())
  })
  socket.on("message", (data: Buffer, binary: boolean) => {
    if (binary) {
      each?.({ type: "", data: { image: data.subarray(8 + data.readUInt32BE(4)) } })
      return
    }
    const message = JSON.parse(data.toString())
    each?.(message)
    if (message.type === "executing" && message.data.node === null && message.data.prompt_id === current) ended?.()
  })
  return {
    run: async (listener) => {
      current = randomUUID()
      each = listener
      const last = new Promise<void>((resolve) => {
        ended = resolve
      })
      await post(`${url}/prompt`, body(clientId, current))
      await last
    },
    close: () => socket.terminate()
  }
}
