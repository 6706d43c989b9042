/** Numbers from 0 to 1 that a seed decides: the only randomness of what goes wrong. */
export const dice = (seed: number): () => number => {
  let state = seed | 1
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 0) / 4294967296
  }
}
