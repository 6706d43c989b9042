// str(), repr(), int(), float() of Python, with the texts of their errors: they are seen in node errors and outputs.
import { Float, isDict, isInt, isList, Opaque, type Py, typeName } from "./py.ts"

export interface PyError {
  readonly type: string
  readonly message: string
}

/** repr() of a finite float; `nan` and `inf` otherwise. */
export const floatText = (value: number): string => {
  if (Number.isNaN(value)) return "nan"
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf"
  if (Object.is(value, -0)) return "-0.0"
  const magnitude = Math.abs(value)
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [mantissa = "", exponent = "0"] = value.toExponential().split("e")
    const digits = exponent.slice(1)
    return `${mantissa}e${exponent.charAt(0)}${digits.length < 2 ? `0${digits}` : digits}`
  }
  const text = String(value)
  return text.includes(".") ? text : `${text}.0`
}

const escapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" }
const unprintable = /[\\\u0000-\u001f\u007f-\u00a0\u00ad\u2028\u2029\ud800-\udfff]/gu

const reprString = (text: string): string => {
  const mark = text.includes("'") && !text.includes("\"") ? "\"" : "'"
  const body = text.replace(unprintable, (unit) => {
    const known = escapes[unit]
    if (known !== undefined) return known
    const code = unit.charCodeAt(0)
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`
  })
  return mark + (mark === "'" ? body.replaceAll("'", "\\'") : body) + mark
}

export const repr = (value: Py): string => {
  if (value === null) return "None"
  if (typeof value === "boolean") return value ? "True" : "False"
  if (typeof value === "string") return reprString(value)
  if (isInt(value)) return String(value)
  if (typeof value === "number") return floatText(value)
  if (value instanceof Float) return floatText(value.value)
  if (value instanceof Opaque) return value.text
  if (isList(value)) return `[${value.map(repr).join(", ")}]`
  if (isDict(value)) return `{${[...value].map(([key, member]) => `${repr(key)}: ${repr(member)}`).join(", ")}}`
  return String(value)
}

export const str = (value: Py): string => (typeof value === "string" ? value : repr(value))

const intLiteral = /^[+-]?[0-9]+(?:_[0-9]+)*$/
const floatLiteral = /^[+-]?(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][+-]?[0-9]+)?$/
const floatWord = /^([+-]?)(nan|inf|infinity)$/i

/** Python's int is exact at any size; a `number` is used where it can be. */
const narrow = (value: bigint): number | bigint =>
  value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value

export const toInt = (value: Py): number | bigint | PyError => {
  if (typeof value === "boolean") return Number(value)
  if (isInt(value)) return value
  const float = value instanceof Float ? value.value : value
  if (typeof float === "number") {
    if (Number.isNaN(float)) return { type: "ValueError", message: "cannot convert float NaN to integer" }
    if (!Number.isFinite(float)) return { type: "OverflowError", message: "cannot convert float infinity to integer" }
    const whole = Math.trunc(float)
    return Number.isSafeInteger(whole) ? (whole === 0 ? 0 : whole) : BigInt(whole)
  }
  if (typeof value === "string") {
    const text = value.trim()
    if (intLiteral.test(text) && text.length <= 4300) return narrow(BigInt(text.replaceAll("_", "").replace(/^\+/, "")))
    return { type: "ValueError", message: `invalid literal for int() with base 10: ${repr(value)}` }
  }
  return {
    type: "TypeError",
    message: `int() argument must be a string, a bytes-like object or a real number, not '${typeName(value)}'`
  }
}

export const toFloat = (value: Py): Float | PyError => {
  if (value instanceof Float) return value
  if (typeof value === "boolean" || typeof value === "number") return new Float(Number(value))
  if (typeof value === "bigint") {
    const float = Number(value)
    return Number.isFinite(float)
      ? new Float(float)
      : { type: "OverflowError", message: "int too large to convert to float" }
  }
  if (typeof value === "string") {
    const text = value.trim()
    if (floatLiteral.test(text)) return new Float(Number(text.replaceAll("_", "")))
    const word = floatWord.exec(text)
    if (word !== null) {
      if (word[2]?.toLowerCase() === "nan") return new Float(Number.NaN)
      return new Float(word[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY)
    }
    return { type: "ValueError", message: `could not convert string to float: ${repr(value)}` }
  }
  return { type: "TypeError", message: `float() argument must be a string or a real number, not '${typeName(value)}'` }
}

export const isPyError = (value: unknown): value is PyError =>
  typeof value === "object" && value !== null && "message" in value && "type" in value && !(value instanceof Opaque)
