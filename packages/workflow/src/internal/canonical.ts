// RFC 8785 of the nodes of a workflow, written as UTF-8 bytes: to build a text and have it hashed takes 1.5 times as long
// (measured). The writer's buffer is the module's; nothing here waits, so no call meets another.
import { isObject } from "../Json.ts"
import type { Nodes } from "../Workflow.ts"
import type { Json, JsonObject, JsonPath } from "./jsonTypes.ts"

/** What Python reads ends at about this depth, too. */
const maxDepth = 1_000
const firstSize = 64 * 1024
/** What a huge workflow made of the buffer is let go. */
const keptSize = 1024 * 1024
/** Each key and each value leaves this much room, for the marks around it. */
const spare = 8

let bytes = new Uint8Array(firstSize)
let length = 0

const encoder = new TextEncoder()

const reserve = (count: number): void => {
  const needed = length + count + spare
  if (needed <= bytes.length) return
  const larger = new Uint8Array(Math.max(2 * bytes.length, needed))
  larger.set(bytes.subarray(0, length))
  bytes = larger
}

const copy = (part: Uint8Array): void => {
  reserve(part.length)
  const into = bytes
  let end = length
  for (let i = 0; i < part.length; i++) into[end++] = part[i] ?? 0
  length = end
}

const ascii = (text: string): void => {
  reserve(text.length)
  const into = bytes
  let end = length
  for (let i = 0; i < text.length; i++) into[end++] = text.charCodeAt(i)
  length = end
}

/** By ASCII code: 0 as it is, 1 by {@link escaped}, else what follows the backslash. */
const escapes = Uint8Array.from({ length: 128 }, (_, code) => code < 0x20 ? 1 : 0)
for (const [code, letter] of [[0x22, "\""], [0x5c, "\\"], [0x0a, "n"], [0x0d, "r"], [0x09, "t"]] as const) {
  escapes[code] = letter.charCodeAt(0)
}

/** A literal; false for a lone surrogate, which has no UTF-8. */
const literal = (text: string): boolean => {
  reserve(2 * text.length)
  const into = bytes
  let end = length
  into[end++] = 0x22
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    const escape = unit > 0x7f ? 1 : escapes[unit] ?? 1
    if (escape === 1) return escaped(text)
    if (escape === 0) into[end++] = unit
    else {
      into[end++] = 0x5c
      into[end++] = escape
    }
  }
  into[end++] = 0x22
  length = end
  return true
}

/** JSON.stringify escapes what RFC 8785 escapes, and in its way. */
const escaped = (text: string): boolean => {
  if (!text.isWellFormed()) return false
  const json = JSON.stringify(text)
  reserve(3 * json.length)
  length += encoder.encodeInto(json, bytes.subarray(length)).written
  return true
}

/** Sorts by UTF-16 code units, in place where it can: graphs have few nodes, and nodes few inputs. */
const sort = (names: Array<string>): ReadonlyArray<string> => {
  if (names.length > 64) return names.toSorted()
  for (let i = 1; i < names.length; i++) {
    const name = names[i] ?? ""
    let j = i
    for (; j > 0; j--) {
      const before = names[j - 1] ?? ""
      if (before <= name) break
      names[j] = before
    }
    names[j] = name
  }
  return names
}

const isDigit = (value: number): boolean => value >= 0 && value < 10 && Number.isInteger(value)

const object = (value: JsonObject, depth: number): boolean => {
  const names = sort(Object.keys(value))
  let mark = 0x7b
  for (let i = 0; i < names.length; i++) {
    const name = names[i] ?? ""
    const member = value[name]
    if (member === undefined) continue
    bytes[length++] = mark
    mark = 0x2c
    if (!literal(name)) return false
    bytes[length++] = 0x3a
    if (!write(member, depth + 1)) return false
  }
  reserve(2)
  if (mark === 0x7b) bytes[length++] = mark
  bytes[length++] = 0x7d
  return true
}

const array = (value: ReadonlyArray<Json>, depth: number): boolean => {
  reserve(2)
  bytes[length++] = 0x5b
  const nodeId = value[0]
  const slot = value[1]
  if (value.length === 2 && typeof nodeId === "string" && typeof slot === "number" && isDigit(slot)) {
    // A link, as nearly every array is.
    if (!literal(nodeId)) return false
    bytes[length++] = 0x2c
    bytes[length++] = 0x30 + slot
    bytes[length++] = 0x5d
    return true
  }
  for (let i = 0; i < value.length; i++) {
    if (i > 0) bytes[length++] = 0x2c
    if (!write(value[i] ?? null, depth + 1)) return false
  }
  reserve(1)
  bytes[length++] = 0x5d
  return true
}

/** Whether the value has a canonical text; then it is written. A bigint is its decimal digits. */
const write = (value: Json, depth: number): boolean => {
  switch (typeof value) {
    case "string":
      return literal(value)
    case "number":
      if (!Number.isFinite(value)) return false
      if (isDigit(value)) {
        reserve(1)
        bytes[length++] = 0x30 + value
      } else ascii(String(value))
      return true
    case "bigint":
    case "boolean":
      ascii(String(value))
      return true
  }
  if (value === null) {
    ascii("null")
    return true
  }
  if (depth >= maxDepth) return false
  return isObject(value) ? object(value, depth) : array(value, depth)
}

/** How nodes of a class with these inputs in this order are written: everything but the values. */
interface Plan {
  readonly keys: ReadonlyArray<string>
  readonly sorted: ReadonlyArray<string>
  readonly head: Uint8Array
  readonly labels: ReadonlyArray<Uint8Array>
}

/** By class, as last seen. Full, it starts anew; of what is too large for it nothing is kept. */
const plans = new Map<string, Plan>()
const maxPlans = 500
const maxPlanSize = 4_096

const isOf = (plan: Plan, keys: ReadonlyArray<string>): boolean => {
  if (plan.keys.length !== keys.length) return false
  for (let i = 0; i < keys.length; i++) if (plan.keys[i] !== keys[i]) return false
  return true
}

const planOf = (classType: string, inputs: JsonObject): Plan | undefined => {
  const keys = Object.keys(inputs)
  const known = plans.get(classType)
  if (known !== undefined && isOf(known, keys)) return known
  const head = `:{"class_type":${JSON.stringify(classType)},"inputs":{`
  const sorted = keys.toSorted()
  const names = sorted.map((name, index) => `${index === 0 ? "" : ","}${JSON.stringify(name)}:`)
  const whole = classType + keys.join("")
  if (whole.length > maxPlanSize || !whole.isWellFormed()) return undefined
  if (plans.size >= maxPlans) plans.clear()
  const plan = { keys, sorted, head: encoder.encode(head), labels: names.map((name) => encoder.encode(name)) }
  plans.set(classType, plan)
  return plan
}

const nodeWithoutPlan = (classType: string, inputs: JsonObject): boolean => {
  ascii(":{\"class_type\":")
  if (!literal(classType)) return false
  ascii(",\"inputs\":")
  if (!write(inputs, 0)) return false
  ascii("}")
  return true
}

const node = (classType: string, inputs: JsonObject): boolean => {
  const plan = planOf(classType, inputs)
  if (plan === undefined) return nodeWithoutPlan(classType, inputs)
  const { head, labels, sorted } = plan
  const start = length
  copy(head)
  for (let i = 0; i < sorted.length; i++) {
    const member = inputs[sorted[i] ?? ""]
    const label = labels[i]
    if (member === undefined || label === undefined) {
      length = start
      return nodeWithoutPlan(classType, inputs)
    }
    copy(label)
    if (!write(member, 1)) return false
  }
  ascii("}}")
  return true
}

/** The text of `{id: {class_type, inputs}}`, valid until the next call; or the way to what has none. */
export const canonical = (nodes: Nodes): Uint8Array | JsonPath => {
  if (bytes.length > keptSize) bytes = new Uint8Array(firstSize)
  length = 0
  let mark = "{"
  for (const nodeId of sort(Object.keys(nodes))) {
    const { class_type, inputs } = nodes[nodeId] ?? { class_type: "", inputs: {} }
    ascii(mark)
    mark = ","
    if (!literal(nodeId)) return [nodeId]
    if (!node(class_type, inputs)) return [nodeId, ...problemOf({ class_type, inputs }, -1) ?? []]
  }
  ascii(mark === "{" ? "{}" : "}")
  return bytes.subarray(0, length)
}

/** The way to the first member without a canonical text. */
const problemOf = (value: Json, depth: number): JsonPath | undefined => {
  if (typeof value === "number") return Number.isFinite(value) ? undefined : []
  if (typeof value === "string") return value.isWellFormed() ? undefined : []
  if (typeof value !== "object" || value === null) return undefined
  if (depth >= maxDepth) return []
  for (const [key, member] of Object.entries(value)) {
    if (!key.isWellFormed()) return [key]
    const path = problemOf(member, depth + 1)
    if (path !== undefined) return [Array.isArray(value) ? Number(key) : key, ...path]
  }
  return undefined
}
