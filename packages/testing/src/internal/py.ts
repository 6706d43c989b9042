// Python's values as the server holds them. A fake that is to be told from nothing needs them: `1` and `1.0` are two
// things in every echo, text and cache key, and a dict keeps the order in which its keys came, which a JavaScript
// object does not do for keys like "10".

/** A Python float; a bare `number` is an int that fits, a `bigint` one that does not. */
export class Float {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

/** What a node returned and JSON cannot hold (bytes, a tensor): the server dies of it, or answers 500. */
export class Opaque {
  readonly type: string
  readonly text: string
  constructor(type: string, text: string) {
    this.type = type
    this.text = text
  }
}

export type Dict = Map<string, Py>
export type Py = null | boolean | number | bigint | string | Float | Opaque | ReadonlyArray<Py> | Dict

export const isDict = (value: unknown): value is Dict => value instanceof Map
export const isList = (value: unknown): value is ReadonlyArray<Py> => Array.isArray(value)
export const isInt = (value: unknown): value is number | bigint =>
  typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value))

export const dict = (members: Readonly<Record<string, Py | undefined>>): Dict => {
  const out: Dict = new Map()
  for (const [key, value] of Object.entries(members)) if (value !== undefined) out.set(key, value)
  return out
}

/**
 * What a fake node's author wrote, as Python would hold it: whole numbers are ints, others floats, plain objects dicts.
 * `float` says that a whole number is meant as a float.
 */
export const fromJs = (value: unknown, float = false): Py => {
  switch (typeof value) {
    case "string":
    case "boolean":
    case "bigint":
      return value
    case "number":
      return float || !Number.isInteger(value) || Object.is(value, -0) ? new Float(value) : value
    case "undefined":
      return null
  }
  if (value === null || value instanceof Float || value instanceof Opaque) return value
  if (Array.isArray(value)) return value.map((item: unknown) => fromJs(item, float))
  if (value instanceof Map) {
    const out: Dict = new Map()
    for (const [key, member] of value) out.set(String(key), fromJs(member))
    return out
  }
  if (value instanceof Uint8Array) return new Opaque("bytes", "b''")
  if (typeof value !== "object") return new Opaque("function", "<function>")
  const out: Dict = new Map()
  for (const [key, member] of Object.entries(value)) if (member !== undefined) out.set(key, fromJs(member))
  return out
}

/** The reverse, for what a fake node's author reads: floats become numbers, dicts null-prototype objects. */
export const toJs = (value: Py): unknown => {
  if (value instanceof Float) return value.value
  if (isList(value)) return value.map(toJs)
  if (isDict(value)) {
    const out: Record<string, unknown> = Object.create(null)
    for (const [key, member] of value) out[key] = toJs(member)
    return out
  }
  return value
}

/** Python's name of a value's type. */
export const typeName = (value: Py): string => {
  if (value === null) return "NoneType"
  if (typeof value === "boolean") return "bool"
  if (typeof value === "string") return "str"
  if (isInt(value)) return "int"
  if (value instanceof Float || typeof value === "number") return "float"
  if (value instanceof Opaque) return value.type
  return isDict(value) ? "dict" : "list"
}

export const truthy = (value: Py | undefined): boolean => {
  if (value === undefined || value === null || value === false || value === "") return false
  if (value instanceof Float) return value.value !== 0
  if (typeof value === "bigint") return value !== 0n
  if (typeof value === "number") return value !== 0
  if (isList(value)) return value.length > 0
  return !isDict(value) || value.size > 0
}

/** The number in an int, float or bool; undefined for everything else. */
export const numeric = (value: unknown): number | bigint | undefined => {
  if (typeof value === "number" || typeof value === "bigint") return value
  if (value instanceof Float) return value.value
  return typeof value === "boolean" ? Number(value) : undefined
}

/** `==` of Python, as far as scalars go: `1 == 1.0 == True`. */
export const equal = (a: Py, b: Py): boolean => {
  const x = numeric(a)
  const y = numeric(b)
  if (x !== undefined && y !== undefined) return x == y
  if (isList(a) && isList(b)) return a.length === b.length && a.every((item, i) => equal(item, b[i] ?? null))
  return a === b
}
