// An entry of object_info as Python would hold it. JSON in JavaScript has lost two things that are known again: which
// numbers are floats, and the last digits of the largest integers.
import { type Dict, dict, fromJs, isDict, isList, type Py } from "./py.ts"

const floatOptions: ReadonlySet<string> = new Set(["default", "min", "max", "step", "round"])

/** `sys.maxsize`, its negative, and the largest seed: what JSON.parse makes of them, and what they were. */
const rounded: ReadonlyMap<number, bigint> = new Map([
  [2 ** 64, 18_446_744_073_709_551_615n],
  [2 ** 63, 9_223_372_036_854_775_807n],
  [-(2 ** 63), -9_223_372_036_854_775_807n]
])

/** A number of another server's object_info with the digits that it had. */
export const exact = (value: unknown): unknown => typeof value === "number" ? rounded.get(value) ?? value : value

const restore = (value: Py): Py => {
  if (typeof value === "number") return rounded.get(value) ?? value
  if (isDict(value)) return new Map([...value].map(([key, member]) => [key, restore(member)]))
  if (!isList(value)) return value
  const [type, options] = value
  if (type !== "FLOAT" || !isDict(options)) return value.map(restore)
  const floats = [...options].map(([key, member]): [string, Py] => [
    key,
    floatOptions.has(key) ? fromJs(member, true) : restore(member)
  ])
  return [type, new Map(floats), ...value.slice(2)]
}

const known = new WeakMap<object, Dict>()

/** Made once per entry. */
export const signatureDict = (signature: object): Dict => {
  const made = known.get(signature)
  if (made !== undefined) return made
  const held = restore(fromJs(signature))
  const out = isDict(held) ? held : dict({})
  known.set(signature, out)
  return out
}
