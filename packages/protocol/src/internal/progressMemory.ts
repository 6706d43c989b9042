// `progress_state` repeats every finished node of the prompt in every frame. Nodes stand in the order in which they
// began, so that the text up to the first running one is, byte for byte, that of the frame before: it is compared, and
// only what follows is parsed.
import * as Json from "@effect-comfyui/workflow/Json"
import * as Result from "effect/Result"
import * as MessageData from "../MessageData.ts"
import type { ProgressNode, ProgressState } from "../ServerMessage.ts"

type Nodes = Readonly<Record<string, ProgressNode>>

/** The frame up to and with the last node of the finished run at its start, and those nodes. */
interface Known {
  readonly promptId: string
  readonly prefix: string
  readonly nodes: Nodes
}

export interface Memory {
  /** Replaced, never changed: messages share its nodes. */
  known: Known | null
  /** A head whose frames are not of the exact shape (a member behind the nodes): not tried again. */
  refused: string | null
}

/** UTF-16 units. */
const maxPrefix = 4 * 1024 * 1024

const open = `{"type": "progress_state", "data": {"prompt_id": "`
const middle = `", "nodes": {`
const close = "}}}"
const running = `"state": "running"`

const underscore = open.indexOf("_")

/** One character first: most frames are of another type, and `startsWith` costs more than reading them. */
export const isProgressState = (frame: string): boolean => frame.charCodeAt(underscore) === 95 && frame.startsWith(open)

/** Everything before the first node, for frames that end as a whole one does; two with one head are of one prompt. */
export const headOf = (frame: string): string | undefined => {
  if (!frame.startsWith(open) || !frame.endsWith(close)) return undefined
  const quote = frame.indexOf(`"`, open.length)
  if (!frame.startsWith(middle, quote)) return undefined
  const head = frame.slice(0, quote + middle.length)
  return head.includes("\\") ? undefined : head
}

const isEmpty = (nodes: Nodes): boolean => {
  for (const _ in nodes) return false
  return true
}

/** At least one node: nothing at all behind a comma is no JSON. */
const nodesOf = (text: string): Nodes | undefined => {
  const json = Json.parse(text)
  return Result.isSuccess(json) && MessageData.ProgressNodes.is(json.success) && !isEmpty(json.success)
    ? json.success
    : undefined
}

/** The prompt with nothing known of it; its id is a copy, as a slice would keep the whole frame alive. */
const begin = (head: string): Known | undefined => {
  const id = Json.parse(head.slice(open.length - 1, 1 - middle.length))
  return Result.isSuccess(id) && typeof id.success === "string"
    ? { promptId: id.success, prefix: head, nodes: {} }
    : undefined
}

const continues = (frame: string, prefix: string): boolean => frame.slice(0, prefix.length) === prefix

/**
 * What `frame` says beyond what is known: the finished nodes at its start and the rest, each parsed once. That both
 * parts are whole objects proves that the frame holds the head, nodes and nothing else, and that the next frame stands
 * at the same place of the grammar where it has the same prefix.
 */
const advance = (known: Known, frame: string): { readonly known: Known; readonly rest: Nodes } | undefined => {
  const end = frame.length - close.length
  const fresh = known.prefix.endsWith("{")
  if (end === known.prefix.length) return { known, rest: {} }
  if (!fresh && !frame.startsWith(", ", known.prefix.length)) return undefined
  const start = known.prefix.length + (fresh ? 0 : 2)
  if (start === end) return undefined
  const unfinished = frame.indexOf(running, start)
  const cut = unfinished === -1 ? end : frame.lastIndexOf(`}, "`, unfinished) + 1
  const finished = cut > start ? nodesOf(`{${frame.slice(start, cut)}}`) : {}
  const rest = cut === end ? {} : nodesOf(`{${frame.slice(cut > start ? cut + 2 : start, end)}}`)
  if (finished === undefined || rest === undefined) return undefined
  return {
    known: cut > start
      ? { promptId: known.promptId, prefix: frame.slice(0, cut), nodes: { ...known.nodes, ...finished } }
      : known,
    rest
  }
}

/** The state of a frame of the exact shape, with `memory` brought up to date; undefined for any other frame. */
export const recall = (memory: Memory, frame: string): ProgressState | undefined => {
  if (!frame.endsWith(close)) return undefined
  const kept = memory.known !== null && continues(frame, memory.known.prefix) ? memory.known : undefined
  const head = kept === undefined ? headOf(frame) : undefined
  if (head !== undefined && head === memory.refused) return undefined
  const known = kept ?? (head === undefined ? undefined : begin(head))
  const step = known === undefined ? undefined : advance(known, frame)
  if (step === undefined) {
    memory.known = null
    memory.refused = headOf(frame) ?? null
    return undefined
  }
  memory.known = step.known.prefix.length > maxPrefix ? null : step.known
  const { nodes, promptId } = step.known
  return { _tag: "ProgressState", promptId, nodes: isEmpty(step.rest) ? nodes : { ...nodes, ...step.rest }, raw: null }
}
