/** A prompt under another id: the client chooses its own, so what the server said about the recorded one is rewritten. */
import * as Frame from "@effect-comfyui/protocol/Frame"
import * as Json from "@effect-comfyui/workflow/Json"
import { jsonOf } from "./Recording.ts"

/** The recorded id and the client's. */
export interface Renaming {
  readonly from: string
  readonly to: string
}

/** Every member that names the prompt; whatever else happens to be the same text stays. */
export const inside = (value: Json.Json, renaming: Renaming): Json.Json => {
  if (Array.isArray(value)) return value.map((item) => inside(item, renaming))
  if (!Json.isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === "prompt_id" && member === renaming.from ? renaming.to : inside(member, renaming)
    ])
  )
}

const textFrame = (text: string, renaming: Renaming): string => {
  if (!text.includes(JSON.stringify(renaming.from))) return text
  const json = jsonOf(text)
  return json === undefined ? text : Json.stringify(inside(json, renaming))
}

const binaryFrame = (frame: Uint8Array, renaming: Renaming): Uint8Array => {
  if (Frame.word(frame, 0) !== Frame.Kind.previewWithMetadata) return frame
  const metadata = Frame.piece(frame, 4)
  if (metadata === undefined) return frame
  const renamed = Frame.utf8(textFrame(Frame.text(metadata.bytes), renaming))
  return Frame.concat(Frame.Kind.previewWithMetadata, renamed.length, renamed, frame.subarray(metadata.end))
}

/** A frame of the server. */
export const inFrame = (frame: Frame.Frame, renaming: Renaming): Frame.Frame =>
  typeof frame === "string" ? textFrame(frame, renaming) : binaryFrame(frame, renaming)

/** An entry of the history: its tuple names the prompt too. */
export const inEntry = (entry: Json.JsonObject, renaming: Renaming): Json.Json => {
  const { outputs, prompt, ...rest } = entry
  const tuple = Array.isArray(prompt) ? prompt.with(1, renaming.to) : prompt ?? null
  const renamed = inside(rest, renaming)
  return { prompt: tuple, outputs: outputs ?? {}, ...(Json.isObject(renamed) ? renamed : {}) }
}

/** A job. */
export const inJob = (job: Json.JsonObject, renaming: Renaming): Json.Json => {
  const { id: _, outputs, ...rest } = job
  const renamed = inside(rest, renaming)
  return { id: renaming.to, ...(Json.isObject(renamed) ? renamed : {}), ...(outputs === undefined ? {} : { outputs }) }
}
