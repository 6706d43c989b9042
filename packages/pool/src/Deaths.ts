/**
 * What was running when server processes ended: a content that ended two is given to no third, and a workflow that ended
 * two goes on one server at a time. A fold: times are monotonic milliseconds.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import type { PoolReason } from "@effect-comfyui/execution/PoolError"
import type { AffinityKey } from "@effect-comfyui/workflow/WorkflowKey"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"

/** A process ended in the middle of a run. */
export interface Death {
  readonly server: BackendId
  readonly key: AffinityKey
  readonly content: string
}

/** Owned and updated in place by its driver. */
export interface State {
  /** When processes ended, by what they ran; the one that did so longest ago is forgotten beyond the cap. */
  readonly contents: Map<string, ReadonlyArray<number>>
  readonly keys: Map<AffinityKey, ReadonlyArray<number>>
  last: (Death & { readonly at: number }) | undefined
}

export const init = (): State => ({ contents: new Map(), keys: new Map(), last: undefined })

const { deathTogether, deathWindow, poisonAge, poisonDeaths, suspects } = Defaults.deaths
const ms = Duration.toMillis

const add = <K>(deaths: Map<K, ReadonlyArray<number>>, of: K, now: number, ageMs: number): void => {
  const before = deaths.get(of) ?? []
  deaths.delete(of)
  deaths.set(of, [...before, now].filter((at) => now - at < ageMs).slice(-poisonDeaths))
  const oldest = deaths.size > suspects ? deaths.keys().next().value : undefined
  if (oldest !== undefined) deaths.delete(oldest)
}

const undo = <K>(deaths: Map<K, ReadonlyArray<number>>, of: K, at: number): void => {
  const rest = deaths.get(of)?.filter((one) => one !== at) ?? []
  if (rest.length === 0) deaths.delete(of)
  else deaths.set(of, rest)
}

/**
 * Takes a death. Two servers that end within moments of each other under different contents were ended by something else,
 * such as the power: neither counts.
 */
export const step = (state: State, death: Death, now: number): State => {
  const { contents, keys, last } = state
  const { content, key, server } = death
  state.last = { ...death, at: now }
  if (last !== undefined && last.server !== server && last.content !== content && now - last.at < ms(deathTogether)) {
    undo(contents, last.content, last.at)
    undo(keys, last.key, last.at)
    return state
  }
  add(contents, content, now, ms(poisonAge))
  add(keys, key, now, ms(deathWindow))
  return state
}

/** A person wants it run again: it is tried, and set aside again by one more death. Twice is no more than once. */
export const forgive = ({ contents }: State, content: string): void => {
  const deaths = contents.get(content)
  if (deaths !== undefined) contents.set(content, deaths.slice(1 - poisonDeaths))
}

const recent = (deaths: ReadonlyArray<number> | undefined, now: number, ageMs: number): number =>
  deaths?.filter((at) => now - at < ageMs).length ?? 0

/** Processes that ended under this content lately. */
export const ofContent = (state: State, content: string, now: number): number =>
  state.contents.size === 0 ? 0 : recent(state.contents.get(content), now, ms(poisonAge))

/** Whether jobs of this content are to be set aside. */
export const isPoison = (state: State, content: string, now: number): boolean =>
  ofContent(state, content, now) >= poisonDeaths

/** Why they are. */
export const poison = (
  state: State,
  content: string,
  now: number
): Extract<PoolReason, { readonly _tag: "PoisonJob" }> => ({
  _tag: "PoisonJob",
  deaths: ofContent(state, content, now)
})

/** Whether jobs of this key go one at a time. */
export const isSuspect = (state: State, key: AffinityKey, now: number): boolean =>
  state.keys.size > 0 && recent(state.keys.get(key), now, ms(deathWindow)) >= poisonDeaths

/** For people: what is suspected, and how many processes ended under it. */
export const snapshot = (
  state: State,
  now: number
): ReadonlyArray<{ readonly content: string; readonly deaths: number }> =>
  [...state.contents.keys()].map((content) => ({ content, deaths: ofContent(state, content, now) }))
