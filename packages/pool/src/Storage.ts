/**
 * Storage that fails under the servers, most of all when they share it: a server whose storage failed gets nothing until
 * one of those has run a job well, and only now and then a job is sent to find out. Once it failed for two of them, those
 * that have shown nothing since are taken to share it. So an outage costs what was under way and a few runs besides, and
 * is over for all with the first success of one that failed. A fold: times are monotonic milliseconds.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as Duration from "effect/Duration"
import type { Notice, Permit } from "./Breakers.ts"
import * as Defaults from "./Defaults.ts"

/** How an outage is watched. Times in milliseconds. */
export interface Options {
  /** Between two jobs that try: at least so long … */
  readonly probe: number
  /** … and this share of the outage so far. */
  readonly probeShare: number
  /** So many different contents that failed make it an outage: fewer may be a fault of theirs. */
  readonly contents: number
}

const { contents, probe, probeShare, remembered } = Defaults.storage

export const defaults: Options = { probe: Duration.toMillis(probe), probeShare, contents }

export type Input =
  /** A run ended in `StorageFailed`. `content`: the content key. */
  | { readonly _tag: "Failed"; readonly server: BackendId; readonly content: string }
  | { readonly _tag: "Succeeded"; readonly server: BackendId }
  /** A job is placed there: on a server that is avoided it is the one that tries. */
  | { readonly _tag: "Probing"; readonly server: BackendId }
  /** A new process at its address, it left the fleet, or somebody says that it is well; null: all of them. */
  | { readonly _tag: "Forget"; readonly server: BackendId | null; readonly by: "restart" | "removed" | "reset" }

/** Owned and updated in place by its driver; bounded by the servers. */
export interface State {
  readonly options: Options
  readonly failing: Set<BackendId>
  /** Servers on which a job succeeded since the first failure: their storage is another one. */
  readonly well: Set<BackendId>
  /** Contents that failed since the last success, at most {@link Defaults.storage.remembered}. */
  readonly contents: Set<string>
  since: number
  /** When the next job may try; infinity while all is well. */
  probeAt: number
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  failing: new Set(),
  well: new Set(),
  contents: new Set(),
  since: 0,
  probeAt: Number.POSITIVE_INFINITY
})

const later = (state: State, now: number): void => {
  const { probe, probeShare } = state.options
  state.probeAt = now + Math.max(probe, (now - state.since) * probeShare)
}

const over = (state: State, by: "success" | "restart" | "removed" | "reset"): ReadonlyArray<Notice> => {
  const notices = [...state.failing].map((server): Notice => ({ _tag: "Unblocked", server, key: null, by }))
  state.failing.clear()
  state.well.clear()
  state.contents.clear()
  state.probeAt = Number.POSITIVE_INFINITY
  return notices
}

/** Takes what happened; gives what is to be told of it. */
export const step = (state: State, input: Input, now: number): ReadonlyArray<Notice> => {
  const { failing } = state
  switch (input._tag) {
    case "Failed": {
      const { content, server } = input
      if (failing.size === 0) {
        state.since = now
        later(state, now)
      }
      if (state.contents.size < remembered) state.contents.add(content)
      if (failing.has(server)) return []
      failing.add(server)
      state.well.delete(server)
      const cause = "StorageFailed"
      return [{ _tag: "Blocked", server, key: null, until: state.probeAt, cause, failures: 1 }]
    }
    case "Succeeded":
      if (failing.has(input.server)) return over(state, "success")
      if (failing.size > 0) state.well.add(input.server)
      return []
    case "Probing":
      if (isAvoided(state, input.server)) later(state, now)
      return []
    case "Forget": {
      const { by, server } = input
      if (server === null) return over(state, by)
      state.well.delete(server)
      if (!failing.delete(server)) return []
      return [{ _tag: "Unblocked", server, key: null, by }, ...failing.size === 0 ? over(state, by) : []]
    }
  }
}

/** Its storage failed, or is thought to be the one that fails for others. */
const isAvoided = (state: State, server: BackendId): boolean =>
  state.failing.has(server) || (state.failing.size > 1 && isOut(state) && !state.well.has(server))

/** Whether a job may go there; `probe`: it would be the one that tries. Changes nothing. */
export const permit = (state: State, server: BackendId, now: number): Permit =>
  !isAvoided(state, server) ? "allowed" : now >= state.probeAt ? "probe" : "blocked"

/** Whether it is the storage and not the workflow: what fails by it now is tried again, without end. */
export const isOut = ({ contents, options }: State): boolean => contents.size >= options.contents

/** When the next job may try, monotonic milliseconds; infinity while all is well. */
export const earliest = ({ probeAt }: State): number => probeAt

/** For people. */
export const snapshot = (
  state: State
): { readonly failing: ReadonlyArray<BackendId>; readonly isOut: boolean; readonly probeAt: number } => ({
  failing: [...state.failing],
  isOut: isOut(state),
  probeAt: state.probeAt
})
