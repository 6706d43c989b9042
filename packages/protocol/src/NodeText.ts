/**
 * The text of binary type 3 frames. Nodes write what they like; those that call remote services
 * write two lines that programs want: how long they have waited, and where the result is.
 */

/** `seconds` since the node's remote task began; `text` is always the whole text as it came. */
export type NodeText =
  | { readonly kind: "progress"; readonly seconds: number; readonly text: string }
  | { readonly kind: "result"; readonly url: string; readonly text: string }
  | { readonly kind: "message"; readonly text: string }

// Whole lines, in any case, perhaps behind other lines (status, price) or a prefix in brackets. Bounded quantifiers keep
// hostile text linear.
const result = /^[ \t]{0,40}(?:\[[^\]\n]{0,100}\][ \t]{0,40})?result url:[ \t]{0,40}([a-z][a-z0-9+.-]{0,20}:\/\/\S+)/im
const progress =
  /^[ \t]{0,40}(?:\[[^\]\n]{0,100}\][ \t]{0,40})?task in progress:[ \t]{0,40}(\d{1,15}(?:\.\d{1,9})?)[ \t]{0,4}s\b/im

/**
 * What a node's text says: a line `Result URL: …` wins over a line `Task in progress: 12s`, and anything else is a
 * message. A URL is any absolute one, not checked further: treat it as text of a stranger.
 */
export const normalise = (text: string): NodeText => {
  const url = result.exec(text)?.[1]
  if (url !== undefined) return { kind: "result", url, text }
  const seconds = progress.exec(text)?.[1]
  return seconds === undefined ? { kind: "message", text } : { kind: "progress", seconds: Number(seconds), text }
}
