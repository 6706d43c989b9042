/** All runs of one client: which frame is whose, which id is taken, and what to do with prompts that nobody owns. */
import type { RunId } from "@effect-comfyui/execution/Ids"
import type { Time } from "@effect-comfyui/execution/Time"
import type { ServerMessage } from "@effect-comfyui/protocol/ServerMessage"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import * as Run from "./Run.ts"
import { publish, type RunEntry } from "./RunEntry.ts"

/** Owned and updated in place by its client. */
export interface Runs {
  /** Open runs by the server's id for them. */
  readonly byPrompt: Map<string, RunEntry>
  /** Open runs by our id: the same, but where a server chooses its own. */
  readonly byRun: Map<string, RunEntry>
  /** Ids of ended runs, refused when used again: the latest, and as many before them. */
  endedLately: Set<string>
  endedBefore: Set<string>
  /** Ids given up without knowing whether the server has them, with the time until which they matter. */
  readonly tombstones: Map<string, number>
  /** Frames of prompts that nobody knows yet, while a POST is under way whose answer may name them. */
  unclaimed: Array<ServerMessage>
}

export const make = (): Runs => ({
  byPrompt: new Map(),
  byRun: new Map(),
  endedLately: new Set(),
  endedBefore: new Set(),
  tombstones: new Map(),
  unclaimed: []
})

/** Whether a run id was used before in this client. */
export const isTaken = (runs: Runs, id: RunId): boolean =>
  runs.byRun.has(id) || runs.endedLately.has(id) || runs.endedBefore.has(id)

export const add = (runs: Runs, entry: RunEntry): void => {
  runs.byRun.set(entry.state.subject.runId, entry)
  runs.byPrompt.set(entry.state.promptId, entry)
}

/** The server has its own name for this run: frames under it, early ones too, are the run's from now on. */
export const rename = (runs: Runs, entry: RunEntry, promptId: string, time: Time): void => {
  if (promptId === entry.state.subject.runId) return
  runs.byPrompt.delete(entry.state.subject.runId)
  runs.byPrompt.set(promptId, entry)
  const early = runs.unclaimed.filter((message) => promptIdOf(message) === promptId)
  if (early.length > 0) publish(entry, Run.step(entry.state, { _tag: "Frames", messages: early }, time))
}

/** Two sets in turn: one that gives up its oldest id for each new one takes twice the room and ever longer. */
const rememberEnded = (runs: Runs, id: RunId): void => {
  if (runs.endedLately.size >= Defaults.limits.endedRuns / 2) {
    runs.endedBefore = runs.endedLately
    runs.endedLately = new Set()
  }
  runs.endedLately.add(id)
}

const bury = (runs: Runs, promptId: string, until: number): void => {
  runs.tombstones.set(promptId, until)
  const oldest = runs.tombstones.size > Defaults.ambiguity.maxTombstones
    ? runs.tombstones.keys().next().value
    : undefined
  if (oldest !== undefined) runs.tombstones.delete(oldest)
}

/** Forgets an ended run, but not its id. `inDoubt`: the server may still have it. */
export const remove = (runs: Runs, entry: RunEntry, inDoubt: boolean, time: Time): void => {
  const { promptId, subject } = entry.state
  runs.byRun.delete(subject.runId)
  runs.byPrompt.delete(promptId)
  rememberEnded(runs, subject.runId)
  if (inDoubt) bury(runs, promptId, time.now + tombstoneMs)
  if (runs.byRun.size === 0) runs.unclaimed = []
}

const tombstoneMs = Duration.toMillis(Defaults.ambiguity.tombstone)

/** Which prompt a message is about; undefined for those that are about none. */
export const promptIdOf = (message: ServerMessage): string | undefined => {
  switch (message._tag) {
    case "Preview":
      return message.metadata?.promptId
    case "ExecutionStart":
    case "ExecutionCached":
    case "ProgressState":
    case "Executed":
    case "ExecutionSuccess":
    case "ExecutionError":
    case "ExecutionInterrupted":
      return message.promptId
    case "Executing":
    case "Progress":
    case "ProgressText":
      return message.promptId ?? undefined
    default:
      return undefined
  }
}

/** Without an id, and yet about the prompt that runs: a server runs one at a time, so if ours runs it is ours. */
const isNameless = (message: ServerMessage): boolean =>
  message._tag === "Preview" || message._tag === "ProgressText" || message._tag === "Progress" ||
  message._tag === "Executing"

/** What tells of runs, by its type on the wire. */
const ofRuns: ReadonlySet<string> = new Set([
  "execution_start",
  "execution_cached",
  "executing",
  "progress",
  "progress_state",
  "executed",
  "execution_success",
  "execution_error",
  "execution_interrupted"
])

/** It may have been about any of our runs: no message at all, or one of the server's own in another shape. */
const isUnreadable = (message: ServerMessage): boolean =>
  message._tag === "Malformed" || (message._tag === "Extension" && ofRuns.has(message.type))

const onlyRunning = (runs: Runs): RunEntry | undefined => {
  let found: RunEntry | undefined
  for (const entry of runs.byRun.values()) {
    if (!entry.state.started || entry.state.terminal !== undefined) continue
    if (found !== undefined) return undefined
    found = entry
  }
  return found
}

/** A new connection is told what runs, without its name, and only if it is of this client. */
const onlyOpen = (runs: Runs): RunEntry | undefined =>
  runs.byRun.size === 1 ? runs.byRun.values().next().value : undefined

/** What a batch was about beside our runs. */
export interface Rest {
  /** Prompts given up that the server has after all: to be cancelled. */
  readonly risen: ReadonlyArray<string>
  /** Everything that is about no prompt of ours. */
  readonly messages: ReadonlyArray<ServerMessage>
}

/**
 * Hands each message to its run, in order, a whole stretch at a time. `negotiated`: previews of ours come with their
 * prompt's id, so those without are somebody else's.
 */
export const dispatch = (
  runs: Runs,
  messages: ReadonlyArray<ServerMessage>,
  negotiated: boolean,
  time: Time
): Rest => {
  const risen: Array<string> = []
  const others: Array<ServerMessage> = []
  let from = 0
  let owner: RunEntry | undefined
  const flush = (to: number) => {
    if (owner === undefined || to <= from) return
    const stretch = from === 0 && to === messages.length ? messages : messages.slice(from, to)
    publish(owner, Run.step(owner.state, { _tag: "Frames", messages: stretch }, time))
  }
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i]
    if (message === undefined) continue
    const promptId = promptIdOf(message)
    if (promptId !== undefined && owner?.state.promptId === promptId) continue
    let next = promptId === undefined ? undefined : runs.byPrompt.get(promptId)
    if (promptId === undefined && isNameless(message) && !(negotiated && message._tag === "Preview")) {
      // Which run is running may depend on the frames just before this one.
      flush(i)
      from = i
      next = onlyRunning(runs) ?? (message._tag === "Executing" ? onlyOpen(runs) : undefined)
    }
    if (next !== owner) {
      flush(i)
      owner = next
      from = i
    }
    if (next !== undefined) continue
    from = i + 1
    if (isUnreadable(message)) broadcast(runs, { _tag: "Doubtful" }, time)
    if (promptId === undefined) others.push(message)
    else if (runs.tombstones.has(promptId)) {
      runs.tombstones.delete(promptId)
      risen.push(promptId)
    } else if (isPosting(runs)) {
      if (runs.unclaimed.length < Defaults.limits.unclaimedFrames) runs.unclaimed.push(message)
    }
  }
  flush(messages.length)
  return { risen, messages: others }
}

const isPosting = (runs: Runs): boolean => {
  for (const entry of runs.byRun.values()) if (entry.state.phase === "posting") return true
  return false
}

/** Tells every open run. */
export const broadcast = (runs: Runs, input: Run.Input, time: Time): void => {
  for (const entry of [...runs.byRun.values()]) publish(entry, Run.step(entry.state, input, time))
}
