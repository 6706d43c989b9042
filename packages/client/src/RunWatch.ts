/**
 * The clocks of one run: when silence is answered by asking over HTTP, and what the answers prove. It ends no run for
 * being slow; what it can conclude is that a run is gone, that a server cannot be reached, or that a worker is dead.
 */
import type { Reason } from "@effect-comfyui/execution/ExecutionError"
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"
import type { Answer, Doubt } from "./RunAnswer.ts"

/** All in milliseconds. */
export interface Options {
  readonly silence: ReadonlyArray<number>
  readonly silenceRepeat: number
  readonly pollFloor: number
  readonly pollCap: number
  readonly deafAfter: number
  readonly settleGrace: number
  readonly frameGrace: number
  readonly lostApart: number
  readonly unreachableFloor: number
  readonly unreachableCap: number
  readonly stuckStart: number
  readonly stuckNode: number
  readonly silentRedial: number
  readonly stepRedial: number
  readonly stuckAhead: number
  readonly cancelStuck: number
  readonly doubtAsk: ReadonlyArray<number>
  readonly doubtRepeat: number
  readonly absentAnswers: number
  readonly absentAfterClose: number
  readonly absentAfterProxy: number
  readonly doubtGiveUp: number
}

const { ambiguity, cancel, watch } = Defaults
const ms = Duration.toMillis

export const defaults: Options = {
  silence: watch.silence.map(ms),
  silenceRepeat: ms(watch.silenceRepeat),
  pollFloor: ms(watch.pollFloor),
  pollCap: ms(watch.pollCap),
  deafAfter: ms(watch.deafAfter),
  settleGrace: ms(watch.settleGrace),
  frameGrace: ms(watch.frameGrace),
  lostApart: ms(watch.lostApart),
  unreachableFloor: ms(watch.unreachableFloor),
  unreachableCap: ms(watch.unreachableCap),
  stuckStart: ms(watch.stuckStart),
  stuckNode: ms(watch.stuckNode),
  silentRedial: ms(watch.silentRedial),
  stepRedial: ms(watch.stepRedial),
  stuckAhead: ms(watch.stuckAhead),
  cancelStuck: ms(cancel.stuck),
  doubtAsk: ambiguity.ask.map(ms),
  doubtRepeat: ms(ambiguity.askRepeat),
  absentAnswers: ambiguity.absentAnswers,
  absentAfterClose: ms(ambiguity.absentAfterClose),
  absentAfterProxy: ms(ambiguity.absentAfterProxy),
  doubtGiveUp: ms(ambiguity.giveUp)
}

/** Owned and updated in place by its run; times are monotonic milliseconds. */
export interface State {
  readonly options: Options
  readonly startedAt: number
  /** The last frame of this run, or the moment from which frames could come. */
  heardAt: number
  /** As `heardAt`, but not moved by a new connection. */
  signAt: number
  /** The last sign was a step of a node with more to come, and so long behind the step before. */
  stepAt: number | undefined
  stepMs: number
  /** A silent connection was replaced, to be sure that it is the server that is silent. */
  redialled: boolean
  /** A connection now delivers this run's frames, as far as we know. */
  hearing: boolean
  askedAt: number
  /** Asks since the last frame, or since the doubt. */
  asks: number
  /** Something needs an answer at once. */
  urgent: boolean
  doubtedAt: number | undefined
  doubtedBy: Doubt["by"]
  absentAnswers: number
  unknownAt: number | undefined
  unreachableAt: number | undefined
  idleAt: number | undefined
  /** The prompt that runs while this one waits, and since when it was seen to. */
  behind: string | null
  behindAt: number
  /** HTTP said first that the run is running, while no frame had. */
  runningAt: number | undefined
  cachedAt: number | undefined
  nodeSeen: boolean
  terminalAt: number | undefined
  settledAt: number | undefined
  cancelAt: number | undefined
}

export const init = (options: Options, now: number): State => ({
  options,
  startedAt: now,
  heardAt: now,
  signAt: now,
  stepAt: undefined,
  stepMs: 0,
  redialled: false,
  hearing: false,
  askedAt: now,
  asks: 0,
  urgent: false,
  doubtedAt: undefined,
  doubtedBy: "network",
  absentAnswers: 0,
  unknownAt: undefined,
  unreachableAt: undefined,
  idleAt: undefined,
  behind: null,
  behindAt: now,
  runningAt: undefined,
  cachedAt: undefined,
  nodeSeen: false,
  terminalAt: undefined,
  settledAt: undefined,
  cancelAt: undefined
})

/** What an answer proves beyond what it says. */
export type Verdict =
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Ambiguous" }
  | { readonly _tag: "Gone"; readonly evidence: string }
  | { readonly _tag: "Stuck"; readonly evidence: string }
  | { readonly _tag: "Unreachable"; readonly reason: Reason }

const wait: Verdict = { _tag: "Wait" }

// ── What happened ───────────────────────────────────────────────────────────────────────────────────────────────────

export const posting = (state: State, hearing: boolean, now: number): void => {
  state.hearing = hearing
  state.heardAt = now
}

export const doubted = (state: State, by: Doubt["by"], now: number): void => {
  state.doubtedAt = now
  state.doubtedBy = by
  state.asks = 0
}

/** The server took the prompt: from now on silence means something. */
export const accepted = (state: State, now: number): void => {
  state.doubtedAt = undefined
  state.heardAt = now
  state.askedAt = now
  state.asks = 0
}

/** A frame of this run came; `step`: it counts, and is not the last of its node. */
export const heard = (state: State, step: boolean, now: number): void => {
  if (step && state.stepAt !== undefined) state.stepMs = now - state.stepAt
  state.stepAt = step ? now : undefined
  state.heardAt = now
  state.signAt = now
  state.redialled = false
  state.hearing = true
  state.asks = 0
  state.unknownAt = undefined
  state.unreachableAt = undefined
  state.idleAt = undefined
}

export const linkLost = (state: State): void => {
  state.hearing = false
  state.asks = 0
}

/** A new connection said, without naming a run, that a prompt of this client is running. */
export const hearsAgain = (state: State, now: number): void => {
  state.hearing = true
  state.heardAt = now
  // The prompt that it spoke of may be another one of ours: silence is counted from here.
  state.asks = 0
}

/** The event loop stood still for so long: what the server sent meanwhile has not been read yet. */
export const stalled = (state: State, late: number): void => {
  state.heardAt += late
  state.signAt += late
  if (state.terminalAt !== undefined) state.terminalAt += late
  if (state.settledAt !== undefined) state.settledAt += late
  if (state.unknownAt !== undefined) state.unknownAt += late
  if (state.unreachableAt !== undefined) state.unreachableAt += late
}

export const askNow = (state: State): void => {
  state.urgent = true
}

/** Takes an answer; `phase` is the run's. */
export const answered = (state: State, answer: Answer, doubt: boolean, now: number): Verdict => {
  state.askedAt = now
  state.asks++
  state.urgent = false
  if (answer._tag !== "NoAnswer") state.unreachableAt = undefined
  if (answer._tag !== "Unknown") state.unknownAt = undefined
  if (answer._tag !== "Waiting") state.idleAt = undefined
  switch (answer._tag) {
    case "Finished":
      return wait
    case "Running":
      state.runningAt ??= now
      return stuckRunning(state, now)
    case "Waiting":
      return stuckWaiting(state, answer, now)
    case "Unknown":
      return doubt ? absent(state, answer.authoritative, now) : gone(state, now)
    case "NoAnswer":
      return doubt ? ambiguous(state, now) : unreachable(state, answer.reason, now)
  }
}

const ambiguous = (state: State, now: number): Verdict =>
  now - (state.doubtedAt ?? now) >= state.options.doubtGiveUp ? { _tag: "Ambiguous" } : wait

const absent = (state: State, authoritative: boolean, now: number): Verdict => {
  state.absentAnswers++
  const { absentAfterClose, absentAfterProxy, absentAnswers } = state.options
  const enough = state.doubtedBy === "network" ? absentAfterClose : absentAfterProxy
  if (state.absentAnswers < absentAnswers || now - (state.doubtedAt ?? now) < enough) return wait
  return { _tag: authoritative ? "Absent" : "Ambiguous" }
}

const gone = (state: State, now: number): Verdict => {
  state.unknownAt ??= now
  // The same sum as in the agenda: a difference can round to less, and the question that is due be asked for ever.
  return now >= state.unknownAt + state.options.lostApart
    ? { _tag: "Gone", evidence: `two answers "unknown", ${now - state.unknownAt} ms apart` }
    : wait
}

const unreachable = (state: State, reason: Reason, now: number): Verdict => {
  state.unreachableAt ??= now
  const { unreachableCap, unreachableFloor } = state.options
  const held = Math.min(Math.max(unreachableFloor, (state.unreachableAt - state.startedAt) / 2), unreachableCap)
  return now - state.unreachableAt >= held ? { _tag: "Unreachable", reason } : wait
}

const stuckWaiting = (
  state: State,
  { behind, serverIdle }: Extract<Answer, { readonly _tag: "Waiting" }>,
  now: number
): Verdict => {
  const { stuckAhead, stuckStart } = state.options
  if (serverIdle !== null) state.idleAt = serverIdle ? state.idleAt ?? now : undefined
  if (serverIdle !== null && behind !== state.behind) {
    state.behind = behind
    state.behindAt = now
  }
  if (state.idleAt !== undefined && now - state.idleAt >= stuckStart) {
    return { _tag: "Stuck", evidence: `waiting for ${now - state.idleAt} ms with nothing running and nothing ahead` }
  }
  return state.behind !== null && now - state.behindAt >= stuckAhead
    ? { _tag: "Stuck", evidence: `waiting for ${now - state.behindAt} ms while prompt ${state.behind} runs` }
    : wait
}

const stuckRunning = (state: State, now: number): Verdict => {
  const silent = now - state.signAt
  if (state.hearing && state.cachedAt !== undefined && !state.nodeSeen && silent >= state.options.stuckStart) {
    return { _tag: "Stuck", evidence: `started, and no node began for ${silent} ms while the server answers` }
  }
  return state.redialled && silent >= state.options.stuckNode
    ? { _tag: "Stuck", evidence: `in progress without a frame for ${silent} ms while the server answers` }
    : wait
}

// ── When to look again ──────────────────────────────────────────────────────────────────────────────────────────────

/** When the run wants to be woken, and whether the server is to be asked then. */
export interface Agenda {
  readonly at: number
  readonly ask: boolean
}

const between = (value: number, floor: number, cap: number): number => Math.min(Math.max(value, floor), cap)

/** The `index`-th of a schedule of offsets that repeats its last interval. */
const offset = (schedule: ReadonlyArray<number>, repeat: number, index: number): number =>
  schedule[index] ?? (schedule.at(-1) ?? 0) + repeat * (index - schedule.length + 1)

const poll = (state: State): number => {
  const { pollCap, pollFloor } = state.options
  return state.askedAt + between((state.askedAt - state.startedAt) / 10, pollFloor, pollCap)
}

const nextAsk = (state: State): number => {
  const { options } = state
  if (state.urgent) return state.askedAt
  if (state.doubtedAt !== undefined) {
    return state.doubtedAt + offset(options.doubtAsk, options.doubtRepeat, state.asks)
  }
  if (state.unknownAt !== undefined) return state.unknownAt + options.lostApart
  if (state.unreachableAt !== undefined) return poll(state)
  if (state.terminalAt !== undefined) {
    return state.asks === 0 ? state.terminalAt + options.settleGrace : state.askedAt + options.pollFloor
  }
  if (!state.hearing) return poll(state)
  return state.heardAt + offset(options.silence, options.silenceRepeat, state.asks)
}

export const agenda = (state: State): Agenda => {
  if (state.settledAt !== undefined) return { at: state.settledAt + state.options.frameGrace, ask: false }
  const at = nextAsk(state)
  const warnAt = state.cancelAt === undefined ? Number.POSITIVE_INFINITY : state.cancelAt + state.options.cancelStuck
  return warnAt < at ? { at: warnAt, ask: false } : { at, ask: true }
}

/**
 * Whether the connection should be replaced: HTTP says that the run is running and the frame that says so is overdue, or
 * a node has been silent for so long that a dead worker and a deaf socket must be told apart.
 */
export const wantsRedial = (state: State, started: boolean, now: number): boolean => {
  if (!state.hearing || state.runningAt === undefined) return false
  if (!started) return now - state.runningAt >= state.options.deafAfter
  const { silentRedial, stepRedial, stuckNode } = state.options
  const silent = state.stepAt === undefined ? silentRedial : Math.max(stepRedial, stepsMissed * state.stepMs)
  return !state.redialled && now - state.signAt >= Math.min(silent, stuckNode / 2)
}

/** So many steps late, a node that was counting is not only slow. */
const stepsMissed = 10

export const redialled = (state: State): void => {
  state.redialled = true
}
