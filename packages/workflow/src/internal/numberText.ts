// Python reads `8.0` as a float and `8` as an integer; JavaScript has one number for both and writes `8`. The text is
// kept beside the value, not in it, so that a reader of an input finds a number and not a wrapper. Weakly held: it goes
// with the object or array that holds the number.

const texts = new WeakMap<object, Map<string, { readonly text: string; readonly value: number }>>()

export const rememberNumberText = (holder: object, key: string, text: string): void => {
  const known = texts.get(holder)
  const entry = { text, value: Number(text) }
  if (known === undefined) texts.set(holder, new Map([[key, entry]]))
  else known.set(key, entry)
}

/** The text that this member had when it was read, if the member still has that value. */
export const numberText = (holder: object, key: string, value: number): string | undefined => {
  const entry = texts.get(holder)?.get(key)
  return entry !== undefined && Object.is(entry.value, value) ? entry.text : undefined
}

/** Carries the texts over to a copy of their holder; members that were changed there lose theirs by their value. */
export const keepNumberTexts = <A extends object>(from: object, to: A): A => {
  const known = texts.get(from)
  if (known !== undefined) texts.set(to, known)
  return to
}
