/** The events of a run as lines that are the same at every run: for snapshots, and for people. */
import {
  type Ending,
  type ExecutionEvent,
  isTransient,
  type NodeProgress,
  type NodeText,
  type Preview
} from "@effect-comfyui/execution/ExecutionEvent"
import type { NodeOutput, OutputFile } from "@effect-comfyui/execution/Outputs"

type Transient = NodeProgress | NodeText | Preview

const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** The letters of temporary files and the numbers of all files differ at every run. */
const fileName = (name: string): string =>
  name.replace(/_temp_[a-z]{5}_/, "_temp_*_").replace(/_\d{5,}_(?=\.|$)/, "_#_")

const place = ({ filename, subfolder, type }: OutputFile): string =>
  `${type === "output" ? "" : `${type}:`}${subfolder === "" ? "" : `${subfolder}/`}${fileName(filename)}`

const outputText = (output: NodeOutput | null): string =>
  output === null
    ? "nothing"
    : [...output.files.map(place), ...output.texts.map((text) => JSON.stringify(text))].join(", ")

const joined = (...parts: ReadonlyArray<string>): string => parts.filter((part) => part !== "").join(" ")

const nodeName = (nodeId: string | null, displayId: string | null): string =>
  nodeId === null ? "?" : displayId === null || displayId === nodeId ? nodeId : `${nodeId} (under ${displayId})`

const endingText = (ending: Ending): string => {
  switch (ending._tag) {
    case "Completed": {
      const outputs = Object.entries(ending.outputs).map(([nodeId, output]) => joined(nodeId, outputText(output)))
      const { atLeast, atMost } = ending.executions
      const times = atLeast === 1 && atMost === 1 ? "" : ` executions ${atLeast} to ${atMost}`
      return `via ${ending.via}${times}${outputs.length === 0 ? "" : `: ${outputs.join("; ")}`}`
    }
    case "Failed":
      return `via ${ending.via}: ${ending.error.reason._tag}: ${ending.error.message.split("\n")[0] ?? ""}`
    case "Cancelled":
      return `via ${ending.via} by ${ending.by}`
  }
}

const lifecycleText = (event: Exclude<ExecutionEvent, Transient>): string => {
  switch (event._tag) {
    case "Submitted":
      return joined(
        event.promptId === event.runId ? "" : "under an id of the server",
        event.seeds.length === 0 ? "" : `seeds ${event.seeds.map((one) => `${one.nodeId}.${one.inputName}`).join(", ")}`
      )
    case "Started":
      return ""
    case "NodesCached":
      return event.nodeIds.length === 0 ? "none" : event.nodeIds.toSorted().join(", ")
    case "NodeStarted":
      return joined(nodeName(event.nodeId, event.displayId), event.classType ?? "")
    case "NodeOutput":
      return joined(nodeName(event.nodeId, event.displayId), event.cached ? "cached" : "", outputText(event.output))
    case "NodeFinished":
      return nodeName(event.nodeId, event.displayId)
    case "Warning":
      return joined(event.code, event.nodeIds.join(", "), event.message)
    case "Gap":
      return event.cause === "consumer"
        ? `consumer: ${event.lifecycle} lifecycle, ${event.progress} progress, ${event.previews} previews`
        : event.cause
    default:
      return endingText(event)
  }
}

const transientText = (event: Transient): string => {
  switch (event._tag) {
    case "NodeProgress":
      return `${nodeName(event.nodeId, event.displayId)} ${event.value} of ${event.max}`
    case "NodeText":
      return `${event.nodeId} ${event.kind} ${JSON.stringify(event.text)}`
    case "Preview":
      return `${nodeName(event.nodeId, event.displayId)} ${event.format}`
  }
}

/** Ids in the order in which they occur: `id-1`, `id-2`. */
const levelled = (): (text: string) => string => {
  const names = new Map<string, string>()
  return (text) =>
    text.replace(uuid, (id) => {
      const name = names.get(id) ?? `id-${names.size + 1}`
      names.set(id, name)
      return name
    })
}

/**
 * One line per lifecycle event, after its sequence. Ids are levelled to `id-1`, `id-2`, names of files to `poster_#_.png`;
 * times are left out. Of progress, texts and previews between two lifecycle events, of which a slow reader sees fewer,
 * the last of each node is kept, indented.
 *
 * ```
 * 0 Submitted
 * 1 Started
 * 2 NodesCached none
 * 3 NodeStarted 1 FakeSteps
 *   NodeProgress 1 10 of 10
 * 4 NodeOutput 1 "counted"
 * ```
 */
export const trace = (events: Iterable<ExecutionEvent>): ReadonlyArray<string> => {
  const level = levelled()
  const lines: Array<string> = []
  const last = new Map<string, Transient>()
  const flush = () => {
    for (const event of last.values()) lines.push(level(`  ${event._tag} ${transientText(event)}`))
    last.clear()
  }
  for (const event of events) {
    if (isTransient(event)) {
      last.set(`${event._tag} ${event.nodeId ?? ""}`, event)
      continue
    }
    flush()
    lines.push(level(joined(String(event.sequence), event._tag, lifecycleText(event))))
  }
  flush()
  return lines
}
