/** Rows by key under a cap that keeps the same keys whatever the order in which they came. */
import * as Schema from "effect/Schema"
import * as Sketch from "../Sketch.ts"

/** Sums of one row: whole numbers, so that merges are exact. */
export interface Row {
  observed: number
  failed: number
  nodes: number
  cached: number
  readonly sketch: Sketch.Sketch
}

/** A row as JSON. */
const StoredRow = Schema.Struct({
  observed: Schema.Int,
  failed: Schema.Int,
  nodes: Schema.Int,
  cached: Schema.Int,
  sketch: Sketch.Stored
})

/** A table as JSON. */
export const StoredTable = Schema.Struct({
  rows: Schema.Array(Schema.Struct({ key: Schema.String, row: StoredRow })),
  other: StoredRow
})

interface Ranked {
  readonly rank: number
  readonly key: string
}

/** Owned and updated in place. `ranked`: the keys in order, the first to go last. */
export interface Table {
  readonly rows: Map<string, Row>
  readonly ranked: Array<Ranked>
  readonly other: Row
}

const empty = (): Row => ({ observed: 0, failed: 0, nodes: 0, cached: 0, sketch: Sketch.init() })

/** A table without a row. */
export const make = (): Table => ({ rows: new Map(), ranked: [], other: empty() })

/** FNV-1a: the same number everywhere, and no order that a caller's keys have. */
const rankOf = (key: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

const isBefore = (a: Ranked, b: Ranked): boolean => a.rank === b.rank ? a.key < b.key : a.rank < b.rank

const placeOf = (ranked: ReadonlyArray<Ranked>, one: Ranked): number => {
  let low = 0
  let high = ranked.length
  while (low < high) {
    const middle = (low + high) >> 1
    const at = ranked[middle]
    if (at !== undefined && isBefore(at, one)) low = middle + 1
    else high = middle
  }
  return low
}

const addRow = (into: Row, row: Row): void => {
  into.observed += row.observed
  into.failed += row.failed
  into.nodes += row.nodes
  into.cached += row.cached
  Sketch.merge(into.sketch, row.sketch)
}

/**
 * The row to add to. A table keeps the `cap` keys of lowest rank among all that it ever saw: one that is pushed out has that
 * many before it for ever, so the rows that are kept have missed nothing, and `other` holds exactly the rest.
 */
export const rowOf = (table: Table, key: string, cap: number): Row => {
  const { other, ranked, rows } = table
  const known = rows.get(key)
  if (known !== undefined) return known
  const one = { rank: rankOf(key), key }
  const place = placeOf(ranked, one)
  if (place >= cap) return other
  const row = empty()
  rows.set(key, row)
  ranked.splice(place, 0, one)
  const last = ranked.length > cap ? ranked.pop() : undefined
  const pushed = last === undefined ? undefined : rows.get(last.key)
  if (last !== undefined && pushed !== undefined) {
    addRow(other, pushed)
    rows.delete(last.key)
  }
  return row
}

/** Adds all rows of `table`, which stays as it is. */
export const addTable = (into: Table, table: Table, cap: number): void => {
  for (const [key, row] of table.rows) addRow(rowOf(into, key, cap), row)
  addRow(into.other, table.other)
}

const rowToStored = ({ sketch, ...counts }: Row): typeof StoredRow.Type => ({
  ...counts,
  sketch: Sketch.toStored(sketch)
})

const rowFromStored = ({ sketch, ...counts }: typeof StoredRow.Type): Row | undefined => {
  const known = Sketch.fromStored(sketch)
  return known === undefined || Object.values(counts).some((count) => count < 0)
    ? undefined
    : { ...counts, sketch: known }
}

/** The table as JSON: equal for equal tables. */
export const toStored = ({ other, ranked, rows }: Table): typeof StoredTable.Type => ({
  rows: ranked.flatMap(({ key }) => {
    const row = rows.get(key)
    return row === undefined ? [] : [{ key, row: rowToStored(row) }]
  }),
  other: rowToStored(other)
})

/** Undefined where figures of a row contradict each other. */
export const fromStored = (stored: typeof StoredTable.Type, cap: number): Table | undefined => {
  const table = make()
  const other = rowFromStored(stored.other)
  if (other === undefined) return undefined
  addRow(table.other, other)
  for (const { key, row } of stored.rows) {
    const known = rowFromStored(row)
    if (known === undefined) return undefined
    addRow(rowOf(table, key, cap), known)
  }
  return table
}
