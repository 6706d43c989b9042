// What decoding costs beside JSON.parse of the same frames, in interleaved rounds: the median of the ratios.
// npm run node -- packages/protocol/bench/decode.ts
import * as ServerMessage from "@effect-comfyui/protocol/ServerMessage"
import * as Json from "@effect-comfyui/workflow/Json"

const id = crypto.randomUUID()
const frame = (type: string, data: string): string => Buffer.from(`{"type": "${type}", "data": {${data}}}`).toString()

const node = (name: string, value: string, state: string): string =>
  `"${name}": {"value": ${value}, "max": 20.0, "state": "${state}", "node_id": "${name}", "prompt_id": "${id}", ` +
  `"display_node_id": "${name}", "parent_node_id": null, "real_node_id": "${name}"}`

/** The states of a run of `count` nodes in its last `frames` frames: all before are finished, the last one proceeds. */
const states = (count: number, frames: number, name: (index: number) => string): ReadonlyArray<string> => {
  const done = Array.from({ length: count - 1 }, (_, index) => node(name(index), "20.0", "finished")).join(", ")
  return Array.from(
    { length: frames },
    (_, step) =>
      frame("progress_state", `"prompt_id": "${id}", "nodes": {${done}, ${node(name(count), `${step}.0`, "running")}}`)
  )
}

const each = (frames: ReadonlyArray<string>) => (): number => {
  let count = 0
  for (const text of frames) if (JSON.parse(text) !== null) count++
  return count
}
const tolerant = (frames: ReadonlyArray<string>) => (): number => {
  let count = 0
  for (const text of frames) if (Json.parse(text) !== null) count++
  return count
}
const batch = (frames: ReadonlyArray<string>) => (): number => ServerMessage.decodeBatch(frames).length
const oneByOne = (frames: ReadonlyArray<string>) => (): number => {
  let count = 0
  for (const text of frames) count += ServerMessage.decodeBatch([text]).length
  return count
}
const connection = (frames: ReadonlyArray<string>) => (): number => {
  const decoder = ServerMessage.makeDecoder()
  let count = 0
  for (const text of frames) count += decoder.decodeBatch([text]).length
  return count
}

const nanoseconds = (run: () => number, repeat: number): number => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < repeat; i++) run()
  return Number(process.hrtime.bigint() - start) / repeat
}

const median = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? NaN

const compare = (name: string, parse: () => number, decode: () => number, repeat: number): void => {
  for (let i = 0; i < 3; i++) {
    nanoseconds(parse, repeat)
    nanoseconds(decode, repeat)
  }
  const ratios = Array.from({ length: 21 }, (_, round) => {
    const first = round % 2 === 0 ? nanoseconds(parse, repeat) : 0
    const decoded = nanoseconds(decode, repeat)
    const parsed = first === 0 ? nanoseconds(parse, repeat) : first
    return decoded / parsed
  })
  process.stdout.write(`${name.padEnd(58)} ${median(ratios).toFixed(3)} × JSON.parse\n`)
}

const progress = Array.from(
  { length: 500 },
  (_, step) => frame("progress", `"value": ${step}, "max": 500, "prompt_id": "${id}", "node": "12"`)
)
const executing = Array.from(
  { length: 500 },
  (_, step) => frame("executing", `"node": "${step}", "display_node": "${step}", "prompt_id": "${id}"`)
)
const status = Array.from(
  { length: 500 },
  (_, left) => frame("status", `"status": {"exec_info": {"queue_remaining": ${left}}}`)
)
const executed = Array.from({ length: 500 }, (_, step) =>
  frame(
    "executed",
    `"node": "${step}", "display_node": "${step}", "output": {"images": [{"filename": "ComfyUI_${step}_.png", ` +
      `"subfolder": "", "type": "output"}]}, "prompt_id": "${id}"`
  ))

compare("500 progress, one batch (goal 0.6)", each(progress), batch(progress), 40)
compare("500 executing, one batch", each(executing), batch(executing), 40)
compare("500 status, one batch", each(status), batch(status), 40)
compare("500 executed, one batch", each(executed), batch(executed), 20)
compare("500 executed, Json.parse alone", each(executed), tolerant(executed), 20)

for (const [title, name] of [["ids 1…", String], ["ids 5:1…", (index: number) => `5:${index}`]] as const) {
  const large = states(1000, 50, name)
  compare(`50 progress_state of 1,000 nodes (${title}), one batch`, each(large), batch(large), 1)
  compare(`  the same one by one, makeDecoder (goal 1.02)`, each(large), connection(large), 1)
  compare(`  the same one by one, no memory`, each(large), oneByOne(large), 1)
  compare(`  the same, Json.parse alone`, each(large), tolerant(large), 1)
}
