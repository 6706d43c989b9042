// A recording as lines, and values as texts that are equal exactly if nothing that counts differs.
export type Line =
  | { kind: "case"; case: string; version: string; title: string; args: Array<string> }
  | { kind: "note"; text: string; data?: unknown }
  | {
    kind: "request"
    t: number
    id: number
    method: string
    path: string
    headers: Record<string, string>
    body?: string
    base64?: string
  }
  | {
    kind: "response"
    id: number
    status: number
    headers: Record<string, string>
    body?: string
    base64?: string
    aborted?: boolean
  }
  | { kind: "request-error"; id: number; code: string }
  | { kind: "ws-dial"; conn: string; path: string; headers: Record<string, string> }
  | { kind: "ws-open"; conn: string }
  | { kind: "ws-text"; conn: string; dir: "in" | "out"; data: string }
  | { kind: "ws-binary"; conn: string; dir: "in" | "out"; base64: string }
  | { kind: "ws-close"; conn: string; code: number; reason: string }
  | { kind: "ws-refused"; conn: string; status: number; headers: Record<string, string> }
  | { kind: "ws-error"; conn: string; code: string }

export const parseLines = (text: string): Array<Line> =>
  text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))

const decoder = new TextDecoder()

type Json = string | boolean | null | ReadonlyArray<Json> | { readonly [key: string]: Json }

const token = /"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|NaN|-?Infinity/g

/** JSON as Python writes it; numbers stay the text that they are, so that 1 and 1.0 differ and no digit is lost. */
const read = (text: string): Json | undefined => {
  try {
    return JSON.parse(text.replace(token, (found) => (found.startsWith("\"") ? found : `"#${found}"`)))
  } catch {
    return undefined
  }
}

const isObject = (value: Json | undefined): value is { readonly [key: string]: Json } =>
  typeof value === "object" && value !== null && !Array.isArray(value)
const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

const times = new Set([
  "timestamp",
  "create_time",
  "execution_start_time",
  "execution_end_time",
  "created_at",
  "updated_at",
  "last_access_time",
  "t"
])
const unordered = new Set(["executed", "current_outputs", "dependent_outputs"])
const figures = new Set([
  "ram_total",
  "ram_free",
  "vram_total",
  "vram_free",
  "torch_vram_total",
  "torch_vram_free",
  "argv",
  "installed_templates_version",
  "comfy_package_versions",
  "required_frontend_version",
  "required_templates_version",
  "modified",
  "created",
  "elapsed",
  "next_cursor"
])

const time = /^(?:#-?[0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+)$/

/** Pictures as printed, and in lines of the log tracebacks and how long a prompt took. */
const levelText = (text: string): string => {
  if (text.startsWith("tensor(")) return "<tensor>"
  const traceback = text.indexOf("Traceback (most recent call last):")
  return (traceback < 0 ? text : `${text.slice(0, traceback)}<traceback>`).replace(/in [0-9.]+ seconds/, "in <time>")
}

/** A value with times, figures and tracebacks levelled, sets sorted and keys in one order. */
const level = (value: Json, key: string): Json => {
  if (times.has(key)) return typeof value === "string" && time.test(value) ? "<time>" : value
  if (figures.has(key)) return "<figure>"
  if (key === "traceback") return isList(value) && value.length > 0 ? "<traceback>" : value
  if (typeof value === "string") return levelText(value)
  if (isList(value)) {
    const items = value.map((item) => level(item, ""))
    const [, , , , outputs] = items
    // The fifth member of an entry of queue and history, and lists that come from sets.
    if (key === "prompt" && items.length === 5 && isList(outputs)) return [...items.slice(0, 4), sorted(outputs)]
    if (key === "queue_running" || key === "queue_pending") return value.map((item) => level(item, "prompt"))
    return unordered.has(key) || key === "errors" ? sorted(items) : items
  }
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.keys(value).toSorted().map((name) => [name, level(value[name] ?? null, name)])
  )
}

const sorted = (items: ReadonlyArray<Json>): ReadonlyArray<Json> =>
  items.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))

/** How many jobs a server knows: also those of earlier cases, where these were not cleared. */
const withoutTotals = (value: Json): Json => {
  const pages = isObject(value) ? value["pagination"] : undefined
  return isObject(value) && isObject(pages)
    ? { ...value, pagination: { ...pages, total: "<total>", has_more: "<more>" } }
    : value
}

/** A text that two bodies or frames share exactly if nothing that counts differs. */
export const canonical = (text: string, shared = false): string => {
  const value = read(text)
  if (value === undefined) return text
  return JSON.stringify(level(shared ? withoutTotals(value) : value, ""))
}

/** A frame of the queue or of the log: sent beside those of a run, by other threads. */
export const isAside = (frame: string): boolean =>
  /^\{"data":(?:\{(?:"sid":"[^"]*",)?"status":|.*"type":"logs"\}$)/.test(frame)

/** Progress of a node that counts seconds: how often and how far is the clock's matter, until it ends. */
export const isFraction = (frame: string): boolean =>
  frame.startsWith("{\"type\": \"progress_state\"")
    ? /"max": [0-9]*\.[0-9]*[1-9], "state": "running"/.test(frame)
    : /^\{"type": "progress".*"max": [0-9]*\.[0-9]*[1-9]\b/.test(frame)

/** A binary frame as text: its layout and kind of picture, not its pixels. */
export const describeBinary = (bytes: Uint8Array): string => {
  if (bytes.length < 4) return `binary ${Buffer.from(bytes).toString("hex")}`
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const kind = view.getUint32(0)
  const image = (at: number): string => {
    const head = Buffer.from(bytes.subarray(at, at + 3)).toString("hex")
    return head === "ffd8ff" ? "<jpeg>" : head === "89504e" ? "<png>" : `<${bytes.length - at} bytes>`
  }
  if (kind === 1 && bytes.length >= 8) return `preview ${view.getUint32(4)} ${image(8)}`
  if (kind === 4 && bytes.length >= 8) {
    const length = view.getUint32(4)
    return `preview ${canonical(decoder.decode(bytes.subarray(8, 8 + length)))} ${image(8 + length)}`
  }
  if (kind === 3 && bytes.length >= 8) return `text ${decoder.decode(bytes.subarray(4))}`
  return `binary ${Buffer.from(bytes).toString("hex")}`
}
