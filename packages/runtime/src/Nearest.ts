/** Which key somebody meant who wrote another. */

/** Steps from one text to the other: letters put in, left out, changed, or swapped with their neighbour. */
export const distance = (one: string, other: string): number => {
  let before: ReadonlyArray<number> = []
  let row = Array.from({ length: other.length + 1 }, (_, i) => i)
  for (let i = 1; i <= one.length; i++) {
    const next = [i]
    for (let j = 1; j <= other.length; j++) {
      const same = one[i - 1] === other[j - 1]
      const swapped = i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]
      next.push(Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY
      ))
    }
    before = row
    row = next
  }
  return row[other.length] ?? 0
}

/** The one that the word was meant to be; null where more than half of its letters would have to change. */
export const nearest = (word: string, valid: ReadonlyArray<string>): string | null => {
  const plain = word.toLowerCase().replaceAll(/[-_ ]/g, "")
  let best: string | null = null
  let least = Number.POSITIVE_INFINITY
  for (const key of valid) {
    const steps = distance(plain, key.toLowerCase())
    if (steps < least && steps <= Math.max(plain.length, key.length) / 2) {
      least = steps
      best = key
    }
  }
  return best
}
