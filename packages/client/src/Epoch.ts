/**
 * Which process answers at an address. Servers have no boot id: that one was replaced is inferred, from a counter that
 * began anew or a finished prompt that nobody knows any more. A proxy's error page is no such sign.
 */

/** Owned and updated in place by its client. */
export interface State {
  /** Counts the processes seen, from 0. */
  epoch: number
  /** The highest number that the server's own counter gave a prompt of ours. */
  lastNumber: number
  /** A finished prompt of ours: its history entry lives as long as the process. */
  sentinel: string | undefined
}

export const init = (): State => ({ epoch: 0, lastNumber: -1, sentinel: undefined })

const next = (state: State): true => {
  state.epoch++
  state.lastNumber = -1
  state.sentinel = undefined
  return true
}

/** A receipt with a number of the server's counter, which only ever grows within one process. */
export const counted = (state: State, number: number): boolean => {
  const restarted = number >= 0 && number <= state.lastNumber && next(state)
  if (number > state.lastNumber) state.lastNumber = number
  return restarted
}

/** A prompt of ours has an entry in the history. */
export const finished = (state: State, promptId: string): void => {
  state.sentinel = promptId
}

/** The server answered in its own shape that it does not know the sentinel. */
export const forgotten = (state: State, promptId: string): boolean => state.sentinel === promptId && next(state)
