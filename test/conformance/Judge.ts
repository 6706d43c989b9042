/** Whether the events of a run are those that a recording demands. */
import type { ExecutionError, Reason } from "@effect-comfyui/execution/ExecutionError"
import { type Ending, type ExecutionEvent, isEnding, isTransient } from "@effect-comfyui/execution/ExecutionEvent"
import type { Outputs } from "@effect-comfyui/execution/Outputs"
import * as Json from "@effect-comfyui/workflow/Json"
import { canonical } from "./Exact.ts"
import type { Expectation, Records } from "./Expectation.ts"

/** What is wrong with the order of a run's events: one ending, last, and lifecycle events numbered from 0 without holes. */
export const disorder = (events: ReadonlyArray<ExecutionEvent>): string | undefined => {
  const endings = events.filter(isEnding).length
  const last = events.at(-1)
  if (endings !== 1) return `${endings} endings${last === undefined ? "" : `, the last event is ${last._tag}`}`
  if (last === undefined || !isEnding(last)) return `${last?._tag} after the ending`
  let sequence = -1
  for (const event of events) {
    if (!isTransient(event)) sequence++
    if (event.sequence !== sequence) return `${event._tag} has sequence ${event.sequence}, not ${sequence}`
  }
  return undefined
}

/** An ending in a few words. */
export const describe = (ending: Ending): string => {
  switch (ending._tag) {
    case "Completed":
      return `Completed via ${ending.via}, outputs of ${Object.keys(ending.outputs).length} nodes`
    case "Failed":
      return `Failed(${ending.error.reason._tag}) via ${ending.via}`
    case "Cancelled":
      return `Cancelled by ${ending.by} via ${ending.via}`
  }
}

const difference = (outputs: Outputs, records: Records): string | undefined => {
  const found = new Map(Object.entries(outputs).map(([id, { raw }]) => [id, canonical(Json.stringify(raw))]))
  const ids = new Set([...found.keys(), ...Object.keys(records)])
  const other = [...ids].filter((id) => found.get(id) !== records[id])
  return other.length === 0 ? undefined : `other outputs of nodes ${other.join(", ")}`
}

const raised = (reason: Reason) => {
  switch (reason._tag) {
    case "NodeFailed":
    case "OutOfMemory":
    case "GpuPoisoned":
    case "DiskFull":
    case "StorageFailed":
      return reason
    default:
      return undefined
  }
}

const same = (a: Iterable<string>, b: Iterable<string>): boolean => [...a].join("\n") === [...b].join("\n")

const refusalDifference = (
  { reason }: ExecutionError,
  { classes, nodeIds, type }: Extract<Expectation, { readonly _tag: "Refused" }>
): string | undefined => {
  if (classes.length > 0) {
    return reason._tag === "MissingCapability" && same(reason.classes, classes) ? undefined : reason._tag
  }
  // Nothing but absent files: a fact about the server, not about the graph.
  if (reason._tag === "MissingCapability") return reason.models.length > 0 ? undefined : reason._tag
  if (reason._tag !== "Rejected" || reason.by !== "server") return reason._tag
  if (type !== undefined && reason.type !== type) return `Rejected as ${reason.type}`
  const complained = new Set(reason.complaints.map(({ nodeId }) => nodeId))
  return same([...complained].toSorted(), nodeIds) ? undefined : `Rejected for nodes ${[...complained].join(", ")}`
}

const mismatch = (expectation: Expectation, ending: Ending): string | undefined => {
  const other = describe(ending)
  switch (expectation._tag) {
    case "Completed":
      if (ending._tag !== "Completed") return other
      return expectation.outputs === undefined ? undefined : difference(ending.outputs, expectation.outputs)
    case "NodeFailed": {
      const reason = ending._tag === "Failed" ? raised(ending.error.reason) : undefined
      if (reason === undefined) return other
      return reason.nodeId === expectation.nodeId && reason.exceptionType === expectation.exceptionType
        ? undefined
        : `node ${reason.nodeId} raised ${reason.exceptionType}`
    }
    case "Cancelled":
      return ending._tag === "Cancelled" && ending.by === "elsewhere" ? undefined : other
    case "Refused":
      return ending._tag === "Failed" ? refusalDifference(ending.error, expectation) : other
    case "NotSent":
      return ending._tag === "Failed" && ending.error.reason._tag === "Rejected" &&
          ending.error.reason.by === "client" && ending.error.reason.type === expectation.type
        ? undefined
        : other
    default:
      return ending._tag === "Failed" && ending.error.reason._tag === expectation._tag ? undefined : other
  }
}

const expected = (expectation: Expectation): string =>
  expectation._tag === "NodeFailed"
    ? `node ${expectation.nodeId} to raise ${expectation.exceptionType}`
    : expectation._tag

/** What is wrong with a run; undefined if nothing is. */
export const judge = (expectation: Expectation, events: ReadonlyArray<ExecutionEvent>): string | undefined => {
  const order = disorder(events)
  if (order !== undefined) return order
  const ending = events.find(isEnding)
  const other = ending === undefined ? "no ending" : mismatch(expectation, ending)
  return other === undefined ? undefined : `expected ${expected(expectation)}, got ${other}`
}
