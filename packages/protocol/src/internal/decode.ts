// A batch of frames to a batch of messages; the state is that of one connection.
import type { Frame } from "../Frame.ts"
import type { DecodeFlags, FeatureFlags, ServerMessage } from "../ServerMessage.ts"
import { noSteps, type Steps } from "./fixedText.ts"
import { headOf, isProgressState, recall } from "./progressMemory.ts"
import type { Memory } from "./progressMemory.ts"
import { readBinary } from "./readBinary.ts"
import { readText } from "./readText.ts"

interface State {
  /** What type 3 frames look like: told by the caller, else learnt from the server. */
  flags: DecodeFlags
  readonly learns: boolean
  /** Of the latest progress_state; null to parse each one whole. */
  readonly memory: Memory | null
  /** Of the latest progress; null to read each one whole. */
  readonly steps: Steps | null
}

export const init = (flags: DecodeFlags | undefined, remembers: boolean): State => ({
  flags: flags ?? { progressTextMetadata: false },
  learns: flags === undefined,
  memory: remembers ? { known: null, refused: null } : null,
  steps: remembers ? noSteps() : null
})

/** Where in the batch each prompt's last progress_state stands, by its head; undefined if there are not two. */
const lastStates = (frames: ReadonlyArray<Frame>): ReadonlyMap<string, number> | undefined => {
  let last: Map<string, number> | undefined
  let seen = false
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i]
    if (typeof frame !== "string" || !isProgressState(frame)) continue
    if (!seen) {
      seen = true
      continue
    }
    last ??= new Map()
    const head = headOf(frame)
    if (head !== undefined) last.set(head, i)
  }
  return last
}

const flagsOf = (message: FeatureFlags): DecodeFlags => ({
  progressTextMetadata: message.flags["supports_progress_text_metadata"] === true
})

export const decodeAll = (state: State, frames: ReadonlyArray<Frame>): Array<ServerMessage> => {
  const last = lastStates(frames)
  const messages: Array<ServerMessage> = []
  for (let i = 0; i < frames.length; i++) {
    const frame = frames[i]
    if (frame === undefined) continue
    if (typeof frame !== "string") {
      messages.push(readBinary(frame, state.flags))
      continue
    }
    if (isProgressState(frame)) {
      const later = last === undefined ? undefined : last.get(headOf(frame) ?? "")
      if (later !== undefined && later > i) continue
      const known = state.memory === null ? undefined : recall(state.memory, frame)
      messages.push(known ?? readText(frame, state.steps))
      continue
    }
    const message = readText(frame, state.steps)
    if (state.learns && message._tag === "FeatureFlags") state.flags = flagsOf(message)
    messages.push(message)
  }
  return messages
}
