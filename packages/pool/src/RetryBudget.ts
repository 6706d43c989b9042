/**
 * How many repeated executions the whole fleet may spend: a share of the jobs of the last minutes and a few besides. A
 * storm on shared storage must not run every job three times. A fold: times are monotonic milliseconds.
 */
import * as Duration from "effect/Duration"
import * as Defaults from "./Defaults.ts"

/** Share of the jobs of `window` milliseconds, plus `fixed`. */
export interface Options {
  readonly share: number
  readonly fixed: number
  readonly window: number
}

const { budgetFixed, budgetShare, budgetWindow } = Defaults.failover

export const defaults: Options = { share: budgetShare, fixed: budgetFixed, window: Duration.toMillis(budgetWindow) }

const slots = 60

/** Counts of the last window in sixty slots, whatever happens. */
export interface State {
  readonly options: Options
  readonly jobs: Array<number>
  readonly retries: Array<number>
  slot: number
}

export const init = (options: Partial<Options> = {}): State => ({
  options: { ...defaults, ...options },
  jobs: Array.from({ length: slots }, () => 0),
  retries: Array.from({ length: slots }, () => 0),
  slot: Number.NEGATIVE_INFINITY
})

const width = ({ options }: State): number => options.window / slots

const advance = (state: State, now: number): number => {
  const slot = Math.floor(now / width(state))
  if (slot > state.slot) {
    const from = Math.max(state.slot + 1, slot - slots + 1)
    for (let i = from; i <= slot; i++) state.jobs[place(i)] = state.retries[place(i)] = 0
    state.slot = slot
  }
  return place(state.slot)
}

const place = (slot: number): number => ((slot % slots) + slots) % slots

const sum = (counts: ReadonlyArray<number>): number => counts.reduce((total, one) => total + one, 0)

/** A job was given to a server for the first time. */
export const job = (state: State, now: number): State => {
  const at = advance(state, now)
  state.jobs[at] = (state.jobs[at] ?? 0) + 1
  return state
}

/** Retries that may be spent now. */
export const left = (state: State, now: number): number => {
  advance(state, now)
  return Math.max(0, Math.floor(state.options.share * sum(state.jobs) + state.options.fixed) - sum(state.retries))
}

/**
 * Spends one retry and gives 0, or gives the milliseconds until the oldest spent one falls out of the window: nothing is
 * given up for the budget, it waits.
 */
export const spend = (state: State, now: number): number => {
  const at = advance(state, now)
  if (left(state, now) > 0) {
    state.retries[at] = (state.retries[at] ?? 0) + 1
    return 0
  }
  for (let i = state.slot - slots + 1; i <= state.slot; i++) {
    if ((state.retries[place(i)] ?? 0) > 0) return Math.max(1, (i + slots) * width(state) - now)
  }
  return width(state)
}

/** For people. */
export const snapshot = (
  state: State,
  now: number
): { readonly jobs: number; readonly retries: number; readonly left: number } => ({
  left: left(state, now),
  jobs: sum(state.jobs),
  retries: sum(state.retries)
})
