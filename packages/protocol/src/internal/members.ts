const quote = 34
const backslash = 92
const comma = 44
const colon = 58
const openBrace = 123
const closeBrace = 125
const openBracket = 91
const closeBracket = 93

const isSpace = (code: number): boolean => code === 32 || code === 10 || code === 13 || code === 9

/** The quote that ends the string which began at `begin` and goes on at `from`; -1: not in this text. */
const endOfString = (text: string, begin: number, from: number): number => {
  for (let end = text.indexOf("\"", from); end >= 0; end = text.indexOf("\"", end + 1)) {
    let slashes = 0
    while (end - 1 - slashes >= begin && text.charCodeAt(end - 1 - slashes) === backslash) slashes++
    if (slashes % 2 === 0) return end
  }
  return -1
}

/** Reads the members of one JSON object out of text that comes in pieces; keeps no more of it than the member at hand. */
interface Splitter {
  /** False: this is no object, or `take` wants no more. */
  readonly feed: (piece: string) => boolean
  /** Whether the object was whole, and nothing came behind it. */
  readonly isWhole: () => boolean
}

/** `take` gets the text of each key, quotes included, and of its value. */
export const splitter = (take: (key: string, value: string) => boolean): Splitter => {
  let state: "open" | "first" | "next" | "key" | "colon" | "start" | "value" | "done" | "broken" = "open"
  let text = ""
  let at = 0
  let begin = 0
  let key = ""
  let depth = 0
  /** Where the string began that the text ended in; -1: in none. */
  let string = -1

  /** Goes on behind the end of the string that began at `from`; its end may not have come yet. */
  const passString = (from: number): void => {
    const end = endOfString(text, from, at)
    string = end < 0 ? from : -1
    at = end < 0 ? text.length : end + 1
  }
  const closed = (code: number) => {
    const value = text.slice(begin, at)
    text = text.slice(at + 1)
    at = 0
    state = !take(key, value) ? "broken" : code === comma ? "next" : "done"
  }
  /** One step at this character. */
  const step = (code: number): void => {
    switch (state) {
      case "open":
        state = code === openBrace ? "first" : "broken"
        at++
        return
      case "first":
      case "next":
        if (code === closeBrace && state === "first") state = "done"
        else state = code === quote ? "key" : "broken"
        begin = at
        at++
        return
      case "colon":
        state = code === colon ? "start" : "broken"
        at++
        return
      case "start":
        begin = at
        depth = 0
        state = "value"
        return
      default:
        state = "broken"
    }
  }
  const stepValue = (code: number): void => {
    if (depth === 0 && (code === comma || code === closeBrace)) return closed(code)
    at++
    if (code === quote) passString(at)
    else if (code === openBrace || code === openBracket) depth++
    else if (code === closeBrace || code === closeBracket) depth--
  }
  return {
    feed: (piece) => {
      text += piece
      if (string >= 0) passString(string)
      while (at < text.length && state !== "broken") {
        const code = text.charCodeAt(at)
        if (state === "value") stepValue(code)
        else if (state === "key") {
          const end = endOfString(text, begin + 1, begin + 1)
          if (end < 0) return true
          at = end + 1
          key = text.slice(begin, at)
          state = "colon"
        } else if (isSpace(code)) at++
        else step(code)
      }
      return state !== "broken"
    },
    isWhole: () => state === "done"
  }
}
