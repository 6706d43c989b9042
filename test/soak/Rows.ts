/** Lines of the tables that soaks print. */

/** A name and its figure, the names padded to so many characters. */
export const row = (width: number) => (name: string, value: number | string): string =>
  `${name.padEnd(width)}${String(value).padStart(10)}`

/** How often what was counted, by name, a row each. */
export const counted = (
  counts: ReadonlyMap<string, number>,
  row: (name: string, value: number) => string
): ReadonlyArray<string> =>
  [...counts].toSorted(([one], [other]) => one < other ? -1 : 1).map(([name, times]) => row(`  ${name}`, times))
