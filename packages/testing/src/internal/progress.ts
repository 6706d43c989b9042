// progress_state, progress and preview frames of one run.
import { encodeJpeg, encodePng } from "../ImageFile.ts"
import { scale } from "../Picture.ts"
import type { Preview } from "../Plan.ts"
import type { DynPrompt } from "./dynPrompt.ts"
import { encode, quote } from "./pyJson.ts"
import { floatText } from "./pyText.ts"
import { publish, supportsPreviewMetadata } from "./sockets.ts"
import type { State } from "./state.ts"

interface Entry {
  value: string
  max: string
  state: "running" | "finished"
  /** Everything behind `state`: the same in every frame. */
  readonly rest: string
  sentAt: number
  sentValue: number | undefined
}

/** Progress frames of a node closer than this are left out by releases that throttle. */
const minIntervalMs = 100
const minPercent = 0.5

const numberText = (value: number): string => (Number.isInteger(value) ? String(value) : floatText(value))

const word = (bytes: Uint8Array, at: number, value: number): void => new DataView(bytes.buffer).setUint32(at, value)

const concat = (head: ReadonlyArray<number>, parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  let size = head.length * 4
  for (const part of parts) size += part.length
  const out = new Uint8Array(size)
  head.forEach((value, index) => word(out, index * 4, value))
  let at = head.length * 4
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Binary type 3: a node's text. */
export const textFrame = (node: string, text: string): Uint8Array<ArrayBuffer> => {
  const id = encode(node)
  return concat([3, id.length], [id, encode(text)])
}

export class Progress {
  readonly #state: State
  readonly #promptId: string
  readonly #client: string | undefined
  readonly #prompt: DynPrompt
  readonly #entries = new Map<string, Entry>()

  constructor(state: State, prompt: DynPrompt, promptId: string, client: string | undefined) {
    this.#state = state
    this.#prompt = prompt
    this.#promptId = promptId
    this.#client = client
  }

  /** Which node it is, as previews and every entry of `progress_state` say it. */
  #about(node: string): string {
    const parent = this.#prompt.parentOf(node)
    return `"node_id": ${quote(node)}, "prompt_id": ${quote(this.#promptId)}, ` +
      `"display_node_id": ${quote(this.#prompt.displayOf(node))}, ` +
      `"parent_node_id": ${parent === undefined ? "null" : quote(parent)}, ` +
      `"real_node_id": ${quote(this.#prompt.realOf(node))}`
  }

  #entry(node: string): Entry {
    let entry = this.#entries.get(node)
    if (entry === undefined) {
      entry = {
        value: "0",
        max: "1",
        state: "running",
        rest: `${this.#about(node)}}`,
        sentAt: 0,
        sentValue: undefined
      }
      this.#entries.set(node, entry)
    }
    return entry
  }

  #send(): void {
    publish(this.#state, this.#client, () => {
      let nodes = ""
      for (const [id, entry] of this.#entries) {
        nodes += `${nodes === "" ? "" : ", "}${quote(id)}: {"value": ${entry.value}, "max": ${entry.max}, ` +
          `"state": "${entry.state}", ${entry.rest}`
      }
      return `{"type": "progress_state", "data": {"prompt_id": ${quote(this.#promptId)}, "nodes": {${nodes}}}}`
    })
  }

  start(node: string): void {
    const entry = this.#entry(node)
    entry.value = "0.0"
    entry.max = "1.0"
    entry.state = "running"
    this.#send()
  }

  finish(node: string): void {
    const entry = this.#entry(node)
    entry.value = entry.max
    entry.state = "finished"
    this.#send()
  }

  /** Whether this release would send an update now: the first, the last, one with a preview, or one far enough on. */
  wouldSend(node: string, value: number, max: number, preview: boolean): boolean {
    if (!this.#state.profile.progressThrottle || preview || value >= max) return true
    const entry = this.#entry(node)
    if (entry.sentValue === undefined) return true
    return this.#state.now - entry.sentAt >= minIntervalMs &&
      (max > 0 ? (value - entry.sentValue) / max * 100 : 100) >= minPercent
  }

  /** One update; a text is the Python error that a client's odd flags cause. */
  update(node: string, value: number, max: number, preview: Preview | undefined): string | undefined {
    const state = this.#state
    const entry = this.#entry(node)
    entry.value = numberText(value)
    entry.max = numberText(max)
    entry.state = "running"
    entry.sentAt = state.now
    entry.sentValue = value
    this.#send()
    let metadata: ReturnType<typeof supportsPreviewMetadata> = false
    if (preview !== undefined) {
      metadata = supportsPreviewMetadata(state, this.#client)
      if (typeof metadata === "object") return metadata.error
      if (metadata) publish(state, this.#client, () => this.#metadataFrame(node, preview))
    }
    publish(state, this.#client, () =>
      `{"type": "progress", "data": {"value": ${entry.value}, "max": ${entry.max}, ` +
      `"prompt_id": ${quote(this.#promptId)}, "node": ${quote(node)}}}`)
    if (preview !== undefined && !metadata) {
      publish(state, this.#client, () => concat([1, preview.format === "JPEG" ? 1 : 2], [imageBytes(state, preview)]))
    }
    return undefined
  }

  #metadataFrame(node: string, preview: Preview): Uint8Array<ArrayBuffer> {
    const type = preview.format === "JPEG" ? "image/jpeg" : "image/png"
    const metadata = encode(`{${this.#about(node)}, "image_type": "${type}"}`)
    return concat([4, metadata.length], [metadata, imageBytes(this.#state, preview)])
  }
}

const imageBytes = (state: State, preview: Preview): Uint8Array => {
  const index = preview.index ?? 0
  if (preview.format === "PNG") return encodePng(preview.picture, index)
  const { height, width } = preview.picture
  const limit = state.settings.previewSize
  const shrink = Math.min(1, limit / Math.max(width, height))
  const picture = shrink === 1
    ? preview.picture
    : scale(preview.picture, Math.max(1, Math.round(width * shrink)), Math.max(1, Math.round(height * shrink)), {
      smooth: false,
      center: false
    })
  return encodeJpeg(picture, index)
}
