// What pictures are made of, as texts: equal texts are equal pictures, and nothing has to be drawn to know it.

/** A 32-bit hash of a text: what decides how an imagined picture looks. */
export const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return (h ^ (h >>> 13)) >>> 0
}

/** What became of pictures: none if one of them is not known; long ones are cut to two hashes. */
export const after = (
  name: string,
  ...from: ReadonlyArray<{ readonly key: string | undefined }>
): string | undefined => {
  let out = name
  for (const { key } of from) {
    if (key === undefined) return undefined
    out += `(${key})`
  }
  return out.length <= 200 ? out : `${hash(out).toString(16)}.${hash(`${out}.`).toString(16)}`
}

/** Of samples that are there. */
export const ofSamples = (samples: Iterable<number>): string => {
  let one = 0x811c9dc5
  let other = 0x01234567
  for (const sample of samples) {
    one = Math.imul(one ^ sample, 0x01000193)
    other = Math.imul(other + sample, 0x2c1b3c6d) ^ (other >>> 15)
  }
  return `samples.${one >>> 0}.${other >>> 0}`
}
