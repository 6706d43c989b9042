// The one module that may catch: JSON.parse has no other way to say no.
import type { Json } from "./jsonTypes.ts"

const native: (text: string) => Json = JSON.parse

/** V8's parser: undefined if it refuses the text. */
export const parseNative = (text: string): Json | undefined => {
  try {
    return native(text)
  } catch {
    return undefined
  }
}

/** A JSON string literal to its value: undefined if an escape or a control character is not allowed. */
export const unquote = (literal: string): string | undefined => {
  const value = parseNative(literal)
  return typeof value === "string" ? value : undefined
}
