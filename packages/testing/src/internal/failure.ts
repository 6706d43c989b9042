// How a failed node is described: its inputs as Python prints them, a traceback, and the tips for lack of memory.
import type { NodeClass } from "../NodeClass.ts"
import { Picture } from "../Picture.ts"
import { type Dict, Float, fromJs, isDict, isInt, type Py } from "./py.ts"
import { type PyError, repr, str } from "./pyText.ts"
import type { Item } from "./state.ts"

/** Values at each end that torch prints of a long row. */
const edge = 3

/** A picture as torch prints its tensor, long rows shortened. */
const tensorText = (picture: Picture): string => {
  const shape = picture.channels === 1
    ? [picture.batch, picture.height, picture.width]
    : [picture.batch, picture.height, picture.width, picture.channels]
  const total = shape.reduce((size, length) => size * length, 1)
  const samples = picture.samples()
  const shorten = total > 1000
  const shown: Array<number> = []
  const pick = (length: number): ReadonlyArray<number> =>
    shorten && length > 2 * edge
      ? [...Array.from({ length: edge }, (_, i) => i), -1, ...Array.from({ length: edge }, (_, i) => length - edge + i)]
      : Array.from({ length }, (_, i) => i)
  const visit = (level: number, offset: number, act: (value: number) => void): void => {
    const length = shape[level] ?? 1
    const below = shape.slice(level + 1).reduce((size, next) => size * next, 1)
    for (const index of pick(length)) {
      if (index < 0) continue
      if (level === shape.length - 1) act((samples[offset + index] ?? 0) / 255)
      else visit(level + 1, offset + index * below, act)
    }
  }
  visit(0, 0, (value) => shown.push(value))
  const whole = shown.every((value) => Number.isInteger(value))
  let at = 0
  const render = (level: number): string => {
    const indent = " ".repeat(7 + level + 1)
    const parts: Array<string> = []
    for (const index of pick(shape[level] ?? 1)) {
      if (index < 0) parts.push("...")
      else if (level === shape.length - 1) {
        const value = shown[at++] ?? 0
        parts.push(whole ? `${value}.` : value.toFixed(4))
      } else parts.push(render(level + 1))
    }
    const last = level === shape.length - 1
    const gap = last ? ", " : `,${"\n".repeat(shape.length - 1 - level)}${indent}`
    return `[${parts.join(gap)}]`
  }
  return `tensor(${render(0)})`
}

/** `str()` of whatever went over a link. */
export const valueText = (value: unknown): string => value instanceof Picture ? tensorText(value) : str(fromJs(value))

const describe = (value: unknown): Py => {
  if (value === null || value === undefined) return null
  if (typeof value === "string" || typeof value === "boolean" || value instanceof Float || isInt(value)) return value
  return valueText(value)
}

/** The inputs of a failed node, hidden ones too: numbers and texts as they are, everything else as printed. */
export const describeInputs = (
  { item }: { readonly item: Item },
  id: string,
  node: NodeClass,
  inputs: ReadonlyMap<string, ReadonlyArray<unknown>>
): Dict => {
  const out: Dict = new Map()
  if (node.async) return out
  for (const [name, values] of inputs) out.set(name, values.map(describe))
  if (node.info.style === "V3") return out
  for (const [name, hidden] of Object.entries(node.hidden)) {
    if (hidden === "UNIQUE_ID") out.set(name, [id])
    else if (hidden === "DYNPROMPT") out.set(name, ["<comfy_execution.graph.DynamicPrompt object at 0x7f0000000000>"])
    else if (hidden === "PROMPT") out.set(name, [repr(item.prompt)])
    else {
      const info = isDict(item.extraData) ? item.extraData.get("extra_pnginfo") : undefined
      out.set(name, [info === undefined ? null : describe(info)])
    }
  }
  return out
}

export const outOfMemory = "torch.OutOfMemoryError"

/** What the server adds to the text of an error that names the lack of memory by its type. */
export const memoryTip = (error: PyError): string =>
  error.type === outOfMemory
    ? "This error means you ran out of memory on your GPU.\n\nTIPS: If the workflow worked before you might have " +
      "accidentally set the batch_size to a large number."
    : ""

/** Lines in the form of a Python traceback that ends in the node. */
export const failureTrace = (source: string, classType: string, error: PyError): ReadonlyArray<string> => [
  `  File "${source}/execution.py", line 545, in execute\n    output_data, output_ui, has_subgraph, ` +
  `has_pending_tasks = await get_output_data(prompt_id, unique_id, obj, input_data_all)\n`,
  `  File "${source}/execution.py", line 344, in get_output_data\n    return_values = await ` +
  `_async_map_node_over_list(prompt_id, unique_id, obj, input_data_all, obj.FUNCTION)\n`,
  `  File "${source}/execution.py", line 318, in _async_map_node_over_list\n    await process_inputs(input_dict, i)\n`,
  `  File "${source}/execution.py", line 306, in process_inputs\n    result = f(**inputs)\n             ^^^^^^^^^^^\n`,
  `  File "${source}/nodes.py", line 1, in ${classType}\n    raise ${error.type}(${repr(error.message)})\n`
]
