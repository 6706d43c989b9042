import type { JobEnding } from "@effect-comfyui/execution/JobEvent"
import type { Json } from "@effect-comfyui/workflow/Json"
import type { JobHead, OpenRun } from "../JobHead.ts"
import type { JobPayload, JobState } from "../JobQueue.ts"

/** What is kept of a job beyond its waiting: made at its first claim, so that a waiting job stays small. */
interface Held {
  state: JobState
  /** 0: nobody holds it. */
  token: number
  attempt: number
  expiresAt: number
  cancelRequested: boolean
  /** Its place among those that are claimed; -1: none. */
  place: number
  ledger: Json
  /** Of the present claim, or left by the last. */
  run: OpenRun | null
  ending: JobEnding | null
  endedAt: number | null
}

/** A job of the queue in memory. */
export interface Entry {
  head: JobHead
  /** Gone with the job's ending, unless a person may want it to run again; its options stay. */
  payload: JobPayload | undefined
  readonly options: Json
  readonly fingerprint: string
  /** Milliseconds since the queue was opened: a small number takes no space of its own. */
  queuedAfter: number
  held: Held | undefined
}

export const held = (entry: Entry): Held =>
  entry.held ??= {
    state: "waiting",
    token: 0,
    attempt: 0,
    expiresAt: 0,
    cancelRequested: false,
    place: -1,
    ledger: null,
    run: null,
    ending: null,
    endedAt: null
  }

export const stateOf = (entry: Entry): JobState => entry.held?.state ?? "waiting"

/** Whether this token holds this job now: not settled, not taken over, not run out. */
export const holds = (entry: Entry | undefined, token: number, at: number): entry is Entry & { held: Held } =>
  entry?.held !== undefined && entry.held.state === "claimed" && entry.held.token === token && entry.held.expiresAt > at

export const hasEnded = (state: JobState): boolean =>
  state === "succeeded" || state === "failed" || state === "cancelled" || state === "dead"

/** The jobs that are claimed, in no order: no map, whose tables a busy queue would make anew all the time. */
export type Claimed = Array<Entry>

export const hold = (claimed: Claimed, entry: Entry): void => {
  const of = held(entry)
  if (of.place < 0) of.place = claimed.push(entry) - 1
}

export const letGo = (claimed: Claimed, entry: Entry): void => {
  const of = held(entry)
  const last = of.place < 0 ? undefined : claimed.pop()
  if (last !== undefined && last !== entry) {
    claimed[of.place] = last
    held(last).place = of.place
  }
  of.place = -1
}

/** Those whose claim has run out. */
export const expired = (claimed: Claimed, at: number): ReadonlyArray<Entry> =>
  claimed.filter((entry) => (entry.held?.expiresAt ?? 0) <= at)

/** When the next claim runs out; infinity without one. */
export const earliest = (claimed: Claimed): number => {
  let at = Number.POSITIVE_INFINITY
  for (const entry of claimed) at = Math.min(at, entry.held?.expiresAt ?? at)
  return at
}
