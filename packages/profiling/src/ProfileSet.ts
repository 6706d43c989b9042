/**
 * Many runs in one: how long they and their nodes take, how much is cached and how often they fail, by class type, node,
 * workflow, server and tenant. Sets of several processes or days merge into one as if it had seen everything itself.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Document from "./internal/document.ts"
import * as Table from "./internal/table.ts"
import type { NodeProfile } from "./NodeProfile.ts"
import type { Profile } from "./Profile.ts"
import { ProfilingError } from "./ProfilingError.ts"
import * as Sketch from "./Sketch.ts"

/** What rows are about: classes of nodes, nodes of one workflow, workflows, servers, tenants. */
export const dimensions = ["classes", "nodes", "workflows", "servers", "tenants"] as const
/** One of them. */
export type Dimension = typeof dimensions[number]

/** Rows per dimension, unless the set was made with another cap. */
export const maxRows = 10_000

/**
 * Owned by its driver; `step` updates it in place. A dimension with more keys than the cap keeps those whose hashes are
 * lowest, a sample that depends on nothing but the keys; all others share one row, `other`. So the result depends on neither
 * order nor grouping: `merge` is associative and commutative at the cap as below it, every row that is kept is complete,
 * and rows and `other` together count everything once.
 */
export interface State extends Readonly<Record<Dimension, Table.Table>> {
  readonly cap: number
}

/** A finished run, and the names it goes under: its workflow's key, and its tenant if there are tenants. */
export interface Observation {
  readonly profile: Profile
  readonly workflow: string
  readonly tenant: string | null
}

/**
 * One row. `observed`: runs, or nodes of runs; `failed` of them. `timed`: durations behind the times in milliseconds, which
 * are null without any: executions that succeeded and whose times were seen. Quantiles are within 2 %. `cacheRate` is the
 * share of nodes that were cached, null where there were none.
 */
export interface Row {
  readonly observed: number
  readonly timed: number
  readonly meanMs: number | null
  readonly p50Ms: number | null
  readonly p90Ms: number | null
  readonly p99Ms: number | null
  readonly cacheRate: number | null
  readonly failureRate: number | null
}

/** A set without a run, and the identity of `merge`. `cap`: rows per dimension, whole and from 0. */
export const init = (cap = maxRows): State => ({
  cap: Math.min(Math.max(0, Math.floor(cap)) || 0, Number.MAX_SAFE_INTEGER),
  classes: Table.make(),
  nodes: Table.make(),
  workflows: Table.make(),
  servers: Table.make(),
  tenants: Table.make()
})

const addNode = (row: Table.Row, node: NodeProfile): void => {
  row.observed++
  row.nodes++
  if (node.state === "cached") row.cached++
  if (node.state === "failed") row.failed++
  if (node.state === "executed" && !node.inferred && node.durationMs !== null) Sketch.add(row.sketch, node.durationMs)
}

const addRun = (row: Table.Row, { executionInferred, executionMs, nodes, state }: Profile): void => {
  row.observed++
  for (const node of nodes) if (node.state !== "skipped") row.nodes++
  for (const node of nodes) if (node.state === "cached") row.cached++
  if (state === "failed") row.failed++
  if (state === "completed" && !executionInferred && executionMs !== null) Sketch.add(row.sketch, executionMs)
}

/**
 * Takes a finished run; one that is not over changes nothing. Nodes that a server expanded count for their class alone, and
 * skipped ones not at all.
 */
export const step = (state: State, { profile, tenant, workflow }: Observation): State => {
  if (profile.state === "waiting" || profile.state === "running") return state
  const { cap } = state
  for (const node of profile.nodes) {
    if (node.state === "skipped") continue
    if (node.classType !== null) addNode(Table.rowOf(state.classes, node.classType, cap), node)
    if (node.displayId === node.nodeId) addNode(Table.rowOf(state.nodes, `${workflow} ${node.nodeId}`, cap), node)
  }
  addRun(Table.rowOf(state.workflows, workflow, cap), profile)
  if (profile.backend !== null) addRun(Table.rowOf(state.servers, profile.backend, cap), profile)
  if (tenant !== null) addRun(Table.rowOf(state.tenants, tenant, cap), profile)
  return state
}

/** A new set of both, under the smaller cap; the given ones stay as they are. */
export const merge = (one: State, other: State): State => {
  const merged = init(Math.min(one.cap, other.cap))
  for (const dimension of dimensions) {
    Table.addTable(merged[dimension], one[dimension], merged.cap)
    Table.addTable(merged[dimension], other[dimension], merged.cap)
  }
  return merged
}

const read = ({ cached, failed, nodes, observed, sketch }: Table.Row): Row => ({
  observed,
  timed: sketch.count,
  meanMs: Sketch.meanMs(sketch),
  p50Ms: Sketch.quantileMs(sketch, 0.5),
  p90Ms: Sketch.quantileMs(sketch, 0.9),
  p99Ms: Sketch.quantileMs(sketch, 0.99),
  cacheRate: nodes === 0 ? null : cached / nodes,
  failureRate: observed === 0 ? null : failed / observed
})

/** One row; undefined for a key that has none of its own. The key of a node is `<workflow key> <node id>`. */
export const get = (state: State, dimension: Dimension, key: string): Row | undefined => {
  const row = state[dimension].rows.get(key)
  return row === undefined ? undefined : read(row)
}

/** All rows of a dimension by key, and the one of all other keys. */
export const rows = (
  state: State,
  dimension: Dimension
): { readonly rows: ReadonlyMap<string, Row>; readonly other: Row } => ({
  rows: new Map([...state[dimension].rows].map(([key, row]) => [key, read(row)])),
  other: read(state[dimension].other)
})

/** The version of documents that this release writes and reads. */
export const version = 1

/** A set as JSON. */
export const Stored = Schema.Struct({
  version: Schema.Literal(version),
  cap: Schema.Int,
  classes: Table.StoredTable,
  nodes: Table.StoredTable,
  workflows: Table.StoredTable,
  servers: Table.StoredTable,
  tenants: Table.StoredTable
})
export type Stored = typeof Stored.Type

/** The set as plain data: equal for equal sets, however they came about. */
export const snapshot = (state: State): Stored => ({
  version,
  cap: state.cap,
  classes: Table.toStored(state.classes),
  nodes: Table.toStored(state.nodes),
  workflows: Table.toStored(state.workflows),
  servers: Table.toStored(state.servers),
  tenants: Table.toStored(state.tenants)
})

/** The text of a set, for files and other processes. */
export const toJson = (state: State): string => JSON.stringify(snapshot(state))

/** The set of such data; where figures contradict each other, a typed error. */
export const fromStored = (stored: Stored): Result.Result<State, ProfilingError> => {
  const made = init(stored.cap)
  for (const dimension of dimensions) {
    const table = Table.fromStored(stored[dimension], made.cap)
    if (table === undefined) {
      const reason = { _tag: "InvalidDocument", problem: `figures of ${dimension} contradict each other` } as const
      return Result.fail(new ProfilingError({ reason }))
    }
    Table.addTable(made[dimension], table, made.cap)
  }
  return Result.succeed(made)
}

/** The set of a text; another version, and what is no set, is a typed error. */
export const fromJson = (text: string): Result.Result<State, ProfilingError> =>
  Result.flatMap(Document.read(Stored, version, text), fromStored)
