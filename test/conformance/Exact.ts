/**
 * A second reading of JSON text, independent of the library's, to compare what went in with what came out: integers by
 * exact value, other numbers by their IEEE value, NaN and infinities kept, key order ignored, of duplicate keys the last.
 */
const token =
  /[ \t\n\r]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")|(-?Infinity|NaN|true|false|null)|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?))/y

interface Token {
  readonly kind: "mark" | "string" | "word" | "number"
  readonly text: string
  readonly start: number
  readonly end: number
}

const bits = new DataView(new ArrayBuffer(8))

/** A whole number is an integer however it is written: Python's `1.0` may come back as `1`. */
const numberText = (text: string): string => {
  if (/^-?\d+$/.test(text)) return `i${BigInt(text)}`
  const value = Number(text)
  if (!Number.isFinite(value)) return String(value)
  if (Number.isInteger(value)) return `i${BigInt(value)}`
  bits.setFloat64(0, value)
  return `f${bits.getBigUint64(0).toString(16)}`
}

const unquote = (text: string): string => JSON.parse(text)

/** What stands at a place: the canonical text of a value, or the members of an object as they were written. */
class Reader {
  readonly #text: string
  #position = 0

  constructor(text: string) {
    this.#text = text
  }

  #next(): Token | undefined {
    token.lastIndex = this.#position
    const match = token.exec(this.#text)
    if (match === null) return undefined
    this.#position = token.lastIndex
    const [whole, mark, string, word, number] = match
    const text = mark ?? string ?? word ?? number ?? ""
    const kind = mark === undefined
      ? string === undefined ? word === undefined ? "number" : "word" : "string"
      : "mark"
    return { kind, text, start: match.index + whole.length - text.length, end: token.lastIndex }
  }

  /** Items up to a closing mark, each read by `item` from its first token. */
  #items(close: string, item: (first: Token) => boolean): boolean {
    let first = this.#next()
    if (first?.text === close && first.kind === "mark") return true
    for (;;) {
      if (first === undefined || !item(first)) return false
      const after = this.#next()
      if (after?.kind !== "mark") return false
      if (after.text === close) return true
      if (after.text !== ",") return false
      first = this.#next()
    }
  }

  #value(first: Token | undefined): string | undefined {
    if (first === undefined) return undefined
    if (first.kind === "string") return JSON.stringify(unquote(first.text))
    if (first.kind === "word") return first.text
    if (first.kind === "number") return numberText(first.text)
    if (first.text === "[") {
      const parts: Array<string> = []
      const whole = this.#items("]", (item) => {
        const part = this.#value(item)
        if (part !== undefined) parts.push(part)
        return part !== undefined
      })
      return whole ? `[${parts.join(",")}]` : undefined
    }
    if (first.text !== "{") return undefined
    const members = new Map<string, string>()
    const whole = this.#members((name) => {
      const part = this.#value(this.#next())
      if (part !== undefined) members.set(JSON.stringify(name), part)
      return part !== undefined
    })
    const sorted = [...members].toSorted(([a], [b]) => a < b ? -1 : 1)
    return whole ? `{${sorted.map(([name, part]) => `${name}:${part}`).join(",")}}` : undefined
  }

  #members(member: (name: string) => boolean): boolean {
    return this.#items("}", (key) => {
      if (key.kind !== "string") return false
      const colon = this.#next()
      return colon?.text === ":" && colon.kind === "mark" && member(unquote(key.text))
    })
  }

  whole(): string | undefined {
    const value = this.#value(this.#next())
    return this.#text.slice(this.#position).trim() === "" ? value : undefined
  }

  members(): ReadonlyMap<string, string> | undefined {
    const first = this.#next()
    if (first?.kind !== "mark" || first.text !== "{") return undefined
    const found = new Map<string, string>()
    const whole = this.#members((name) => {
      const start = this.#next()
      const value = this.#value(start)
      if (start === undefined || value === undefined) return false
      found.set(name, this.#text.slice(start.start, this.#position))
      return true
    })
    return whole ? found : undefined
  }
}

/** A text that is equal for equal JSON and for nothing else; undefined for text that is no JSON. */
export const canonical = (text: string): string | undefined => new Reader(text).whole()

/** Whether both texts are JSON, and the same. */
export const equal = (a: string, b: string): boolean => {
  const one = canonical(a)
  return one !== undefined && one === canonical(b)
}

/** The members of the object that a text holds, each as it was written. */
export const membersOf = (text: string): ReadonlyMap<string, string> | undefined => new Reader(text).members()

/** Every number of a text that is an integer no double can be trusted with, as it was written. */
export const bigIntegers = (text: string): ReadonlyArray<string> => {
  const strings = /"(?:[^"\\]|\\.)*"/g
  const numbers = text.replaceAll(strings, "\"\"").match(/-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g) ?? []
  return numbers.filter((number) => /^-?\d{16,}$/.test(number) && !Number.isSafeInteger(Number(number)))
}
