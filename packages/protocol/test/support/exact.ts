// A second, independent reading of JSON text, for comparing what went in with what came out: integers by value, other
// numbers by their IEEE bits, NaN and infinities kept, key order ignored, of duplicate keys the last one.
const token =
  /[ \t\n\r]*(?:([{}[\]:,])|("(?:[^"\\\u0000-\u001f]|\\.)*")|(-?Infinity|NaN|true|false|null)|(-?\d[\d.eE+-]*))/y

const bits = new DataView(new ArrayBuffer(8))

const numberText = (text: string): string => {
  if (/^-?\d+$/.test(text)) return `i${BigInt(text)}`
  const value = Number(text)
  // What Python writes as 1.0 may be written as 1: both are the integer here.
  if (Number.isSafeInteger(value)) return `i${value}`
  if (Number.isInteger(value)) return `i${BigInt(value)}`
  bits.setFloat64(0, value)
  return `f${bits.getBigUint64(0).toString(16)}`
}

/** A text that is equal for equal JSON, and for nothing else; undefined for text that is no JSON. */
export const canonical = (text: string): string | undefined => {
  let position = 0
  let failed = false
  const next = (): RegExpExecArray | undefined => {
    token.lastIndex = position
    const match = token.exec(text)
    if (match === null) {
      failed = true
      return undefined
    }
    position = token.lastIndex
    return match
  }
  const value = (match: RegExpExecArray | undefined): string => {
    if (match === undefined || failed) return ""
    const [, mark, string, word, number] = match
    if (string !== undefined) return JSON.stringify(JSON.parse(string))
    if (word !== undefined) return word
    if (number !== undefined) return numberText(number)
    const parts: Array<string> = []
    if (mark === "[") {
      let item = next()
      if (item?.[1] === "]") return "[]"
      for (;;) {
        parts.push(value(item))
        const after = next()?.[1]
        if (after === "]" || failed) break
        if (after !== ",") failed = true
        item = next()
      }
      return `[${parts.join(",")}]`
    }
    if (mark !== "{") {
      failed = true
      return ""
    }
    const members = new Map<string, string>()
    let key = next()
    if (key?.[1] === "}") return "{}"
    for (;;) {
      const name = key?.[2]
      if (name === undefined || next()?.[1] !== ":") failed = true
      if (failed) break
      members.set(JSON.stringify(JSON.parse(name ?? "\"\"")), value(next()))
      const after = next()?.[1]
      if (after === "}" || failed) break
      if (after !== ",") failed = true
      key = next()
    }
    return `{${
      [...members].toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, member]) => `${name}:${member}`).join(",")
    }}`
  }
  const result = value(next())
  return failed || text.slice(position).trim() !== "" ? undefined : result
}
