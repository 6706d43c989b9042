// Bytes as text of as many characters, and back: to search them.
export const fromBytes = (bytes: Uint8Array): string => {
  const parts: Array<string> = []
  for (let at = 0; at < bytes.length; at += 8_192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8_192)))
  return parts.join("")
}

export const toBytes = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length: text.length }, (_, index) => text.charCodeAt(index) & 0xff)
