/**
 * Which servers are restarted, and when: one whose worker is stuck, whose card is broken or whose memory leaks, never more
 * than a tenth of the fleet at once, none more often than each ten minutes, and none under a run that is well. A fold:
 * times are monotonic milliseconds, what is to be done comes out.
 */
import type { BackendId } from "@effect-comfyui/execution/Ids"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"

/** The bounds. Times in milliseconds. */
export interface Options {
  /** Between two restarts of one server. */
  readonly every: number
  /** Of the servers of the fleet at once; one always may. */
  readonly share: number
  /** From the call of the hook until the server is back; later it has failed. */
  readonly within: number
  /** Free memory that fell at so many readings in a row, and is below this share of the whole, is a leak. */
  readonly readings: number
  readonly lowMemory: number
}

const { every, lowMemory, readings, share, within } = Defaults.restarts

export const defaults: Options = {
  every: Duration.toMillis(every),
  share,
  within: Duration.toMillis(within),
  readings,
  lowMemory
}

/** Why a server is restarted. */
export type Cause = "WorkerStuck" | "GpuPoisoned" | "memory"

export type Input =
  | { readonly _tag: "Wanted"; readonly server: BackendId; readonly cause: Cause }
  /** Memory that is free there now, while nothing runs. */
  | { readonly _tag: "Memory"; readonly server: BackendId; readonly freeBytes: number; readonly totalBytes: number }
  /** The hook has done its part: a server that answers anew, before or after, is back. */
  | { readonly _tag: "Called"; readonly server: BackendId }
  | { readonly _tag: "Failed"; readonly server: BackendId; readonly cause: string }
  /** It answers anew. `isNew`: as another process, whoever started that. */
  | { readonly _tag: "Answers"; readonly server: BackendId; readonly isNew: boolean }
  /** Somebody says that it is well, and takes the matter into their own hands. */
  | { readonly _tag: "Reset"; readonly server: BackendId }
  | { readonly _tag: "Removed"; readonly server: BackendId }
  | {
    readonly _tag: "Tick"
    /** Of the fleet. */
    readonly servers: number
    /** A run of ours goes on there that is not given up. */
    readonly isBusy: (server: BackendId) => boolean
    /** The fault that it was to be restarted for is over: a job has succeeded there. */
    readonly isWell: (server: BackendId) => boolean
  }

/** What is to be done. */
export type Decision =
  /** It gets nothing more, and what runs there ends. */
  | { readonly _tag: "Hold"; readonly server: BackendId }
  /** Its hook is called now. */
  | { readonly _tag: "Restart"; readonly server: BackendId; readonly cause: Cause }
  /** It gets nothing more until somebody says so, or it is a new process. */
  | { readonly _tag: "Eject"; readonly server: BackendId; readonly cause: string }
  /** It gets jobs again. */
  | { readonly _tag: "Admit"; readonly server: BackendId }

interface One {
  stage: "working" | "held" | "called" | "ejected"
  wanted: Cause | undefined
  hookDone: boolean
  /** It was connected to since the hook was called. */
  answered: boolean
  calledAt: number
  /** Readings of free memory, each lower than the one before. */
  free: Array<number>
}

/** Owned and updated in place by its driver; bounded by the servers. */
export interface State {
  readonly options: Options
  readonly servers: Map<BackendId, One>
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  servers: new Map()
})

const of = ({ servers }: State, server: BackendId): One => {
  const known = servers.get(server)
  if (known !== undefined) return known
  const one: One = {
    stage: "working",
    wanted: undefined,
    hookDone: false,
    answered: false,
    calledAt: Number.NEGATIVE_INFINITY,
    free: []
  }
  servers.set(server, one)
  return one
}

const isOut = ({ stage }: One): boolean => stage === "held" || stage === "called"

const outNow = ({ servers }: State): number => [...servers.values()].filter(isOut).length

const eject = (one: One, server: BackendId, cause: string): Decision => {
  one.stage = "ejected"
  one.wanted = undefined
  return { _tag: "Eject", server, cause }
}

const admit = (one: One, server: BackendId): ReadonlyArray<Decision> => {
  one.wanted = undefined
  one.free = []
  if (one.stage === "working") return []
  one.stage = "working"
  return [{ _tag: "Admit", server }]
}

const onMemory = (
  state: State,
  { freeBytes, server, totalBytes }: Extract<Input, { readonly _tag: "Memory" }>
): void => {
  const one = of(state, server)
  const before = one.free.at(-1)
  const kept = before !== undefined && freeBytes < before ? one.free : []
  one.free = [...kept, freeBytes].slice(-state.options.readings)
  const { lowMemory, readings } = state.options
  if (one.free.length >= readings && freeBytes < lowMemory * totalBytes && one.stage === "working") {
    one.wanted ??= "memory"
  }
}

const onTick = (
  state: State,
  { isBusy, isWell, servers }: Extract<Input, { readonly _tag: "Tick" }>,
  now: number
): ReadonlyArray<Decision> => {
  const { every, share, within } = state.options
  const out: Array<Decision> = []
  for (const [server, one] of state.servers) {
    if (one.stage === "called" && now - one.calledAt >= within) {
      out.push(eject(one, server, `was not back ${within / 60_000} minutes after its restart`))
    }
    if (one.wanted !== undefined && one.wanted !== "memory" && one.stage !== "called" && isWell(server)) {
      out.push(...admit(one, server))
    }
  }
  let free = Math.max(1, Math.floor(share * servers)) - outNow(state)
  for (const [server, one] of state.servers) {
    if (free > 0 && one.wanted !== undefined && one.stage === "working" && now - one.calledAt >= every) {
      free--
      one.stage = "held"
      out.push({ _tag: "Hold", server })
    }
    if (one.stage === "held" && one.wanted !== undefined && !isBusy(server)) {
      out.push({ _tag: "Restart", server, cause: one.wanted })
      Object.assign(one, { stage: "called", wanted: undefined, hookDone: false, answered: false, calledAt: now })
    }
  }
  return out
}

/** Takes what happened; gives what is to be done, in order. A `Tick` after every other input decides of new restarts. */
export const step = (state: State, input: Input, now: number): ReadonlyArray<Decision> => {
  switch (input._tag) {
    case "Wanted": {
      const one = of(state, input.server)
      if (one.stage === "working") one.wanted = input.cause
      return []
    }
    case "Memory":
      onMemory(state, input)
      return []
    case "Called": {
      const one = state.servers.get(input.server)
      if (one?.stage !== "called") return []
      one.hookDone = true
      return one.answered ? admit(one, input.server) : []
    }
    case "Failed": {
      const one = state.servers.get(input.server)
      return one?.stage === "called" ? [eject(one, input.server, input.cause)] : []
    }
    case "Answers": {
      const one = state.servers.get(input.server)
      if (one === undefined) return []
      one.answered = true
      return input.isNew || (one.stage === "called" && one.hookDone) ? admit(one, input.server) : []
    }
    case "Reset": {
      const one = state.servers.get(input.server)
      return one === undefined ? [] : admit(one, input.server)
    }
    case "Removed":
      state.servers.delete(input.server)
      return []
    case "Tick":
      return onTick(state, input, now)
  }
}

/**
 * When to tick next, monotonic milliseconds; infinity while nothing is due by time. `soon`: how long a server that is to be
 * idle is given until it is looked at again.
 */
export const nextDue = (state: State, soon: number, now: number): number => {
  const { every, within } = state.options
  let at = Number.POSITIVE_INFINITY
  for (const one of state.servers.values()) {
    if (one.stage === "called") at = Math.min(at, one.calledAt + within)
    else if (one.stage === "held") at = Math.min(at, now + soon)
    else if (one.wanted !== undefined) at = Math.min(at, Math.max(one.calledAt + every, now + soon))
  }
  return at
}

/** For people: what is under way, and what is wanted. */
export const snapshot = (
  { servers }: State
): ReadonlyArray<{ readonly server: BackendId; readonly stage: One["stage"]; readonly wanted: Cause | null }> =>
  [...servers].map(([server, { stage, wanted }]) => ({ server, stage, wanted: wanted ?? null }))
