/**
 * The values of metrics' labels, which others choose: each label has at most so many, and whatever comes after them is
 * `other`, or a user with a million tenants fills the memory of everybody who reads. A fold without clock.
 */

/** What comes after the last value that a label has room for. */
export const other = "other"

/** Distinct values of one label; a series per value is kept for as long as the process lives. */
export const maxValues = 200

/** Characters of a value; the rest is cut off. */
const maxLength = 200

/** Owned and updated in place by its driver: values by label, first come, never forgotten. */
export interface State {
  readonly cap: number
  readonly values: Map<string, Set<string>>
}

export const init = (cap: number = maxValues): State => ({ cap, values: new Map() })

/** The value to write for this one: the same for ever, once it was given. */
export const of = (state: State, label: string, value: string): string => {
  const cut = value.slice(0, maxLength)
  let known = state.values.get(label)
  if (known === undefined) state.values.set(label, known = new Set())
  if (known.has(cut)) return cut
  if (known.size >= state.cap) return other
  known.add(cut)
  return cut
}

/** For people: how many values each label has. */
export const snapshot = (state: State): Readonly<Record<string, number>> =>
  Object.fromEntries(Array.from(state.values, ([label, { size }]) => [label, size]))
